use std::time::Duration;

use eventhubs_amqp::{ErrorKind, RetryPolicy};
use eventhubs_emulator::Emulator;
use eventhubs_types::StartingPosition;

use crate::proxy::Proxy;
use crate::support::{client, client_builder, emulator, numbers, open, partition, receive, texts, within};

const EVENTS: i64 = 4_000;

/// Reads everything that is published while a fault strikes after every few hundred events: no gap, no
/// repeat. Whether it was the same connection all the time.
async fn read_through(fault: impl Fn(&Emulator) -> usize) -> bool {
    let emulator = emulator().await;
    let mut receiver = open(&client(&emulator), StartingPosition::Earliest).await;
    let connections = || emulator.connections().iter().map(|client| client.id).collect::<Vec<_>>();
    let before = connections();
    let (mut published, mut struck) = (0, 0);
    let mut read = Vec::new();
    while read.len() < usize::try_from(EVENTS).unwrap() {
        let more = (published + 150).min(EVENTS);
        emulator.publish_to("orders", "0", texts(published..more)).unwrap();
        published = more;
        read.extend(numbers(&within(receiver.receive_batch(100, None)).await.unwrap()));
        if read.len() / 300 > struck {
            struck += fault(&emulator);
        }
    }
    assert_eq!(read, (0..EVENTS).collect::<Vec<_>>());
    assert!(struck >= 10, "{struck} faults");
    connections() == before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_when_the_service_detaches() {
    let detach = |emulator: &Emulator| emulator.detach_links("orders", "amqp:link:detach-forced", "moving");
    assert!(read_through(detach).await, "it attached again on the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_when_the_service_ends_sessions() {
    let end = |emulator: &Emulator| emulator.end_sessions("orders", "amqp:internal-error", "oops");
    assert!(read_through(end).await, "it began again on the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_when_the_service_closes_connections() {
    let close = |emulator: &Emulator| emulator.close_connections("amqp:connection:forced", "restarting");
    assert!(!read_through(close).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_when_connections_drop() {
    assert!(!read_through(Emulator::drop_connections).await);
}

/// Design §4.6: at the latest position a reconnect before the first event skips nothing.
#[tokio::test]
async fn a_receiver_at_latest_skips_nothing_while_it_is_disconnected() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..5)).unwrap();
    let mut receiver = open(&client(&emulator), StartingPosition::Latest).await;
    assert_eq!(emulator.drop_connections(), 1);
    emulator.publish_to("orders", "0", texts(5..8)).unwrap();
    assert_eq!(numbers(&receive(&mut receiver, 3).await), [5, 6, 7]);
}

#[tokio::test]
async fn an_outage_is_reported_and_the_receiver_stays_usable() {
    let emulator = Emulator::builder().event_hub("orders", 1).start().await.unwrap();
    let port = emulator.address().port();
    emulator.publish_to("orders", "0", texts(0..3)).unwrap();
    let mut receiver = open(&client(&emulator), StartingPosition::Earliest).await;
    assert_eq!(numbers(&receive(&mut receiver, 2).await), [0, 1]);
    emulator.stop().await;
    // What was prefetched comes first.
    assert_eq!(numbers(&receive(&mut receiver, 1).await), [2]);
    let error = within(receiver.receive_batch(1, None)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let emulator = Emulator::builder().event_hub("orders", 1).port(port).start().await.unwrap();
    emulator.publish_to("orders", "0", texts(0..4)).unwrap();
    let events = within(async {
        loop {
            if let Ok(events) = receiver.receive_batch(1, None).await {
                return events;
            }
        }
    });
    assert_eq!(numbers(&events.await), [3]);
}

/// Amqp-crate §4: after a time-out the connection is given up, and everything on it comes back on a new one.
#[tokio::test]
async fn a_service_that_stops_answering_is_left_for_a_new_connection() {
    let emulator = emulator().await;
    let proxy = Proxy::start(&emulator).await;
    let retry =
        RetryPolicy::fixed(Duration::from_millis(20)).max_retries(0).try_timeout(Duration::from_secs(1));
    let client = client_builder(&proxy.connection_string(&emulator)).retry(retry).build().unwrap();
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    proxy.go_silent();
    let error = client.partition_properties(&partition("0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("partition 0"), "{error}");
    proxy.serve_new_connections();
    emulator.publish_to("orders", "0", texts(0..3)).unwrap();
    // The loss is reported once, as no retries are allowed.
    assert!(within(receiver.receive_batch(9, None)).await.unwrap_err().is_transient());
    assert_eq!(numbers(&receive(&mut receiver, 3).await), [0, 1, 2]);
    assert_eq!(proxy.connections(), 2);
}

/// Contract §0.2, no. 2 and §5.4: a number from before is refused for good, a composite offset outlives
/// further fail-overs.
#[tokio::test]
async fn after_a_fail_over_only_a_composite_position_is_still_valid() {
    let emulator = emulator().await;
    let client = client(&emulator);
    emulator.publish_to("orders", "0", ["a", "b"]).unwrap();
    let mut before = open(&client, StartingPosition::Earliest).await;
    receive(&mut before, 2).await;
    emulator.fail_over("orders").unwrap();
    let error = within(before.receive_batch(1, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPosition, "{error}");
    assert_eq!(error.condition(), Some("com.microsoft:georeplication:invalid-offset"));
    assert!(!error.is_transient());

    let mut after = open(&client, StartingPosition::Earliest).await;
    assert_eq!(receive(&mut after, 2).await[1].offset().as_str(), "1:65");
    emulator.fail_over("orders").unwrap();
    emulator.publish_to("orders", "0", ["c"]).unwrap();
    assert_eq!(numbers(&receive(&mut after, 1).await), [2]);
    let end = client.partition_properties(&partition("0")).await.unwrap().last_enqueued_offset.unwrap();
    assert_eq!(end.as_str(), "2:130");
    let mut at_the_end = open(&client, StartingPosition::from_offset(end)).await;
    assert_eq!(numbers(&receive(&mut at_the_end, 1).await), [2]);
}
