//! The page for people, in a real browser.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use eventhubs_amqp::{EventHubClient, PartitionReceiver};
use serde_json::json;

use crate::browser::Browser;
use crate::program::{Program, output, within};

#[tokio::test]
async fn the_page_shows_who_reads_what() {
    let program = Program::start(&["--hub", "orders:4:billing"]).await;
    let browser = Browser::open(program.page()).await;
    let facts = "document.querySelector('[data-hub=orders] .facts').textContent";
    browser.until(&format!("{facts} == '4 partitions · 0 events · 0 B · 0 readers'")).await;
    let client = EventHubClient::builder(program.connection_string(0, 0).parse().unwrap()).build().unwrap();
    let receiver = client.partition_receiver("billing".parse().unwrap(), "2".parse().unwrap());
    let _receiver = within(receiver.owner_level(7).open()).await.unwrap();
    browser.until(&format!("{facts}.endsWith('1 reader')")).await;
    let row = "[...document.querySelectorAll('[data-hub=orders] .partitions tbody tr')]\
               .find(row => row.querySelector('.reader'))";
    assert_eq!(browser.value(&format!("{row}.querySelector('th').textContent")).await, "2");
    assert_eq!(browser.value(&format!("{row}.querySelector('.level').textContent")).await, "level 7");
    let owner = "[...document.querySelectorAll('.owners td')].map(cell => cell.textContent)";
    let owner = browser.value(owner).await;
    assert_eq!((&owner[0], &owner[3], &owner[4]), (&json!("billing"), &json!("2"), &json!("7")));
    assert_eq!(browser.value("document.querySelectorAll('.connections tbody tr').length").await, 1);
}

#[tokio::test]
async fn a_test_event_is_published_and_comes_in_the_live_tail() {
    let program = Program::start(&["--hub", "orders:2"]).await;
    let browser = Browser::open(program.page()).await;
    browser.click("#tail-toggle").await;
    browser.fill("#publish-partition", "1").await;
    browser.fill("#publish-key", "tea").await;
    browser.fill("#publish-body", "a cup of tea").await;
    browser.click("#publish button").await;
    browser.until("document.getElementById('publish-result').textContent == 'Published.'").await;
    browser.until("document.getElementById('tail-events').rows.length == 1").await;
    let cells = "[...document.getElementById('tail-events').rows[0].cells].map(cell => cell.textContent)";
    let cells = browser.value(cells).await;
    assert_eq!(
        (&cells[0], &cells[1], &cells[3], &cells[4]),
        (&json!("1"), &json!("0"), &json!("tea"), &json!("a cup of tea"))
    );
    let kept = program.get("/namespaces/emulatorNs1/event-hubs/orders/events?partition_id=1").await;
    assert_eq!((&kept[0]["body"], &kept[0]["partition_key"]), (&json!("a cup of tea"), &json!("tea")));
    browser.fill("#publish-partition", "9").await;
    browser.click("#publish button").await;
    browser.until("document.getElementById('publish-result').textContent.includes('partition \"9\"')").await;
}

#[tokio::test]
async fn the_live_tail_continues_after_a_hub_was_recreated() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let hub = "/namespaces/emulatorNs1/event-hubs/orders";
    let publish = async |body: &str| {
        let event = json!({ "body": body, "partition_id": "0" }).to_string();
        assert_eq!(program.http("POST", &format!("{hub}/events"), &event).await.0, "HTTP/1.1 201 Created");
    };
    let browser = Browser::open(program.page()).await;
    browser.click("#tail-toggle").await;
    for body in ["a", "b", "c"] {
        publish(body).await;
    }
    browser.until("document.getElementById('tail-events').rows.length == 3").await;
    let (status, _) = program.http("PUT", hub, r#"{"partitions": 1}"#).await;
    assert!(status.starts_with("HTTP/1.1 20"), "{status}");
    publish("after").await;
    browser.until("document.getElementById('tail-events').textContent.includes('after')").await;
}

#[tokio::test]
async fn names_and_events_with_markup_stay_text() {
    let hub = "<img src=x onerror=document.title='hit'>";
    let program = Program::start(&["--hub", &format!("{hub}:1:<b>group")]).await;
    let browser = Browser::open(program.page()).await;
    browser.click("#tail-toggle").await;
    let body = "<script>document.title='hit'</script><img src=x onerror=document.title='hit'>";
    browser.fill("#publish-body", body).await;
    browser.click("#publish button").await;
    browser.until("document.getElementById('tail-events').rows.length == 1").await;
    browser.until("document.getElementById('state').className == 'live'").await;
    let shown = browser.value("document.getElementById('tail-events').rows[0].cells[4].textContent").await;
    assert_eq!(shown, body);
    assert_eq!(browser.value("document.querySelector('.hub h3').textContent").await, hub);
    assert_eq!(browser.value("document.querySelectorAll('img, b').length").await, 0);
    assert_eq!(browser.value("document.title").await, "Event Hubs emulator");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let browser = Browser::open(program.page()).await;
    browser.until("document.getElementById('state').className == 'live'").await;
    let resources = browser.value("performance.getEntriesByType('resource').map(entry => entry.name)").await;
    let names: Vec<_> = resources.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with(program.page())), "{names:?}");
    for file in ["page.js", "page.css", "live"] {
        assert!(names.iter().any(|name| name.ends_with(file)), "{file} in {names:?}");
    }
    // the policy forbids scripts within the page
    let inject = "(() => { const script = document.createElement('script'); script.textContent = 'document.title = 1'; \
                  document.body.append(script); return document.title })()";
    assert_eq!(browser.value(inject).await, "Event Hubs emulator");
}

/// A hub with two groups, readers with long names that are behind, and a binary event.
async fn busy(program: &Program) -> Vec<PartitionReceiver> {
    let connection_string = program.connection_string(0, 0);
    let mut receivers = Vec::new();
    for group in ["$Default", "billing"] {
        let id = "c7d5b0a1f2e34c5d8a9b0c1d2e3f4a5b";
        let client =
            EventHubClient::builder(connection_string.parse().unwrap()).identifier(id).build().unwrap();
        for partition in ["0", "1", "2", "3"] {
            let receiver = client.partition_receiver(group.parse().unwrap(), partition.parse().unwrap());
            receivers.push(within(receiver.owner_level(0).prefetch(1).open()).await.unwrap());
        }
    }
    let load = ["--size", "200", "--count", "400", "--json"];
    let sent = output(&[&["send", "--connection-string", connection_string][..], &load].concat()).await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    receivers
}

#[tokio::test]
async fn the_page_can_be_used_on_a_phone_a_laptop_and_a_wide_screen() {
    let program = Program::start(&["--hub", "orders:4:billing"]).await;
    let _receivers = busy(&program).await;
    let browser = Browser::open(program.page()).await;
    browser.click("#tail-toggle").await;
    browser.until("document.getElementById('tail-events').rows.length > 0").await;
    for (width, height) in [(390, 844), (1280, 800), (1920, 1080)] {
        browser.resize(width, height).await;
        browser.until(&format!("innerWidth == {width}")).await;
        browser.until("document.querySelectorAll('.reader .lag').length == 8").await;
        if let Some(folder) = std::env::var_os("EVENTHUBS_SCREENSHOTS") {
            let picture = BASE64.decode(browser.screenshot().await).unwrap();
            std::fs::write(Path::new(&folder).join(format!("{width}.png")), picture).unwrap();
        }
        let is_contained = browser.value("document.documentElement.scrollWidth <= innerWidth").await;
        assert_eq!(is_contained, true, "nothing sticks out at {width}");
        let cut = "[...document.querySelectorAll('.reader .lag, input, select, textarea, button')].filter(shown => {
                       const frame = shown.closest('.scroll') ?? document.documentElement;
                       return shown.getBoundingClientRect().right > frame.getBoundingClientRect().right + 1;
                   }).length";
        assert_eq!(browser.value(cut).await, 0, "readers, lag and forms are in sight at {width}");
        let tallest =
            "Math.max(...[...document.getElementById('tail-events').rows].map(row => row.offsetHeight))";
        let tallest = browser.value(tallest).await.as_f64().unwrap();
        assert!(tallest < 40.0, "{tallest} px: a binary body is one line");
    }
}

#[tokio::test]
async fn a_connection_string_is_copied_with_its_hub() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let browser = Browser::open(program.page()).await;
    // In one step: the tables are replaced again and again.
    let press = "(document.querySelector('[data-copy]').click(), getSelection().toString())";
    let selected = browser.value(press).await;
    assert_eq!(selected, program.connection_string(0, 0), "a key copies it where the page may not");
    let copied = browser.value("document.querySelector('[data-copy]').dataset.copy").await;
    assert_eq!(copied, program.connection_string(0, 0));
    assert!(copied.as_str().unwrap().ends_with(";EntityPath=orders"), "{copied}");
}

#[tokio::test]
async fn a_fault_is_started_and_stopped_on_the_page() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let client = EventHubClient::builder(program.connection_string(0, 0).parse().unwrap()).build().unwrap();
    let receiver = client.partition_receiver("$Default".parse().unwrap(), "0".parse().unwrap());
    let mut receiver = within(receiver.open()).await.unwrap();
    let browser = Browser::open(program.page()).await;
    let delivered = "document.querySelector('[data-hub=orders]').dataset.out";
    browser.value("document.getElementById('fault').value = 'pause_deliveries'").await;
    browser.click("#fault-start").await;
    browser.until("document.getElementById('fault-result').textContent == 'Done.'").await;
    let event = r#"{"body": "tea", "partition_id": "0"}"#;
    program.http("POST", "/namespaces/emulatorNs1/event-hubs/orders/events", event).await;
    browser.until("document.querySelector('[data-hub=orders]').dataset.in == 1").await;
    assert_eq!(browser.value(delivered).await, "0");
    browser.click("#fault-stop").await;
    let events = within(receiver.receive_batch(1, None)).await.unwrap();
    assert_eq!(events[0].body_as_str().unwrap(), "tea");
    browser.until(&format!("{delivered} == 1")).await;
}

#[tokio::test]
async fn a_hub_grows_on_the_page() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let browser = Browser::open(program.page()).await;
    browser.fill("#change-partitions", "3").await;
    browser.click("#hub-form button").await;
    browser.until("document.getElementById('change-result').textContent == 'Done.'").await;
    browser.until("document.querySelectorAll('[data-hub=orders] .partitions tbody tr').length == 3").await;
    browser.fill("#change-partitions", "2").await;
    browser.click("#hub-form button").await;
    browser.until("document.getElementById('change-result').className == 'bad'").await;
}
