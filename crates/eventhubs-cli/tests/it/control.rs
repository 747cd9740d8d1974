//! Inspection, events and schedules over HTTP, and who may ask.

use eventhubs_amqp::EventHubClient;
use serde_json::{Value, json};

use crate::program::{JSON, Program, http, within};

const HUB: &str = "/namespaces/emulatorNs1/event-hubs/orders";

#[tokio::test]
async fn readers_clients_and_requests_are_seen() {
    let program = Program::start(&["--hub", "orders:2"]).await;
    let client = EventHubClient::builder(program.connection_string(0, 0).parse().unwrap()).build().unwrap();
    let receiver = client.partition_receiver("$Default".parse().unwrap(), "1".parse().unwrap());
    let _receiver = within(receiver.owner_level(3).open()).await.unwrap();
    within(client.event_hub_properties()).await.unwrap();
    let receivers = program.get(&format!("{HUB}/receivers")).await;
    assert_eq!(receivers[0]["partition_id"], "1");
    assert_eq!(receivers[0]["owner_level"], 3);
    assert_eq!(receivers[0]["next_sequence_number"], 0);
    let connections = program.get("/namespaces/emulatorNs1/connections").await;
    assert_eq!(connections[0]["id"], receivers[0]["connection_id"]);
    let requests = program.get("/namespaces/emulatorNs1/requests").await;
    let seen = |node: &str, status: u16| {
        requests
            .as_array()
            .unwrap()
            .iter()
            .any(|request| request["node"] == node && request["status"] == status)
    };
    assert!(seen("$cbs", 202) && seen("$management", 200), "{requests}");
    let namespaces = program.get("/namespaces").await;
    assert_eq!(
        namespaces[0]["event_hubs"][0],
        json!({"name": "orders", "partition_count": 2, "consumer_groups": ["$Default"]})
    );
}

#[tokio::test]
async fn events_are_published_and_read() {
    let program = Program::start(&["--hub", "orders:2"]).await;
    let event = r#"{"body": "tea", "partition_id": "1", "properties": {"cups": "two"}}"#;
    let (status, _) = program.http("POST", &format!("{HUB}/events"), event).await;
    assert_eq!(status, "HTTP/1.1 201 Created");
    let events = program.get(&format!("{HUB}/events?partition_id=1")).await;
    assert_eq!((&events[0]["body"], &events[0]["properties"]), (&json!("tea"), &json!({"cups": "two"})));
    let partitions = program.get(&format!("{HUB}/partitions")).await;
    assert_eq!((&partitions[1]["event_count"], &partitions[1]["byte_count"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn a_schedule_is_told_before_it_is_played() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let wish = r#"{"seed": 7, "milliseconds": 2000, "mean_pause_milliseconds": 100, "longest_outage_milliseconds": 200}"#;
    let mut told = Vec::new();
    for _ in 0..2 {
        let (status, body) = program.http("POST", "/namespaces/emulatorNs1/schedules", wish).await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
        told.push(serde_json::from_str::<Value>(&body).unwrap());
    }
    assert_eq!(told[0], told[1]);
    let steps = told[0]["steps"].as_array().unwrap();
    assert!(steps.len() > 5 && steps.iter().all(|step| step["at_ms"].as_u64().unwrap() <= 2000), "{steps:?}");
}

#[tokio::test]
async fn a_mistake_is_reported_with_its_field() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    for (path, body, code, why) in [
        (
            "faults",
            r#"{"fault": "corrupt_frames", "count": "two"}"#,
            "422",
            "corrupt_frames.count: invalid type",
        ),
        ("schedules", r#"{"seed": -1}"#, "422", "seed: invalid value"),
        ("schedules", r#"{"seed": 1, "event_hubs": ["other"]}"#, "404", "event hub \\\"other\\\""),
        ("schedules", r#"{"sed": 1}"#, "422", "unknown field `sed`"),
        ("event-hubs/orders/events", r#"{"body": 1}"#, "422", "body: invalid type"),
        ("event-hubs/orders/events", r#"{"body": "", "partition_id": "9"}"#, "404", "partition \\\"9\\\""),
        ("event-hubs/orders/events", "{", "422", "EOF"),
    ] {
        let (status, answer) = program.http("POST", &format!("/namespaces/emulatorNs1/{path}"), body).await;
        assert!(status.contains(code) && answer.contains(why), "{body}: {status} {answer}");
    }
}

#[tokio::test]
async fn pages_of_others_cannot_ask_for_anything() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let host = program.host();
    let path = &format!("{HUB}/events");
    let event = r#"{"body": "forged"}"#;
    for headers in [
        [("Host", "evil.example"), JSON].as_slice(),
        &[("Host", host), JSON, ("Origin", "http://evil.example")],
        &[("Host", host), JSON, ("Sec-Fetch-Site", "cross-site")],
    ] {
        let (status, _) = http(host, "POST", path, headers, event).await;
        assert!(status.contains("403"), "{headers:?}: {status}");
    }
    // what a form can send
    let (status, _) =
        http(host, "POST", path, &[("Host", host), ("Content-Type", "text/plain")], event).await;
    assert!(status.contains("415"), "{status}");
    let (status, _) = http(host, "GET", "/", &[("Host", "evil.example")], "").await;
    assert!(status.contains("403"), "{status}");
    let partitions = program.get(&format!("{HUB}/partitions")).await;
    assert_eq!(partitions[0]["event_count"], 0);
}

#[tokio::test]
async fn chaos_begins_with_the_program() {
    let program = Program::start(&["--hub", "orders:1", "--chaos", "7"]).await;
    let client = EventHubClient::builder(program.connection_string(0, 0).parse().unwrap()).build().unwrap();
    // the client tries again until it gets through
    within(client.event_hub_properties()).await.unwrap();
}
