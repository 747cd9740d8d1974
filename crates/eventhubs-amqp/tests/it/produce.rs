//! Sending to an emulator over real sockets.

use std::time::{Duration, UNIX_EPOCH};

use eventhubs_amqp::{ErrorKind, EventHubClient, Producer};
use eventhubs_emulator::Emulator;
use eventhubs_types::{EventBody, EventData, StartingPosition, Value};

use crate::support::{client, emulator, open, partition, receive, texts, within};

async fn send(producer: &Producer, events: impl IntoIterator<Item = impl Into<EventData>>) {
    within(producer.send(events)).await.unwrap();
}

fn counts(emulator: &Emulator) -> Vec<usize> {
    ["0", "1", "2", "3"].map(|id| emulator.partition("orders", id).unwrap().event_count).to_vec()
}

async fn bodies(client: &EventHubClient, count: usize) -> Vec<String> {
    let mut receiver = open(client, StartingPosition::Earliest).await;
    let events = receive(&mut receiver, count).await;
    events.iter().map(|event| event.body_as_str().unwrap().into_owned()).collect()
}

#[tokio::test]
async fn what_is_sent_is_what_is_received() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sent = [
        EventData::new("plain"),
        EventData::with_body(EventBody::Data(vec!["one".into(), "two".into()])),
        EventData::new("with everything")
            .message_id("id")
            .correlation_id("other id")
            .content_type("text/plain")
            .property("null", Value::Null)
            .property("flag", true)
            .property("number", -7_i64)
            .property("float", 0.5_f64)
            .property("text", "grün")
            .property("symbol", Value::Symbol("s".into()))
            .property("char", Value::Char('ü'))
            .property("bytes", Value::Binary(vec![0, 255].into()))
            .property("uuid", Value::Uuid([7; 16]))
            .property("time", Value::Timestamp(UNIX_EPOCH - Duration::from_millis(1500))),
    ];
    send(&client.partition_producer(partition("0")), sent.clone()).await;
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    for (event, sent) in receive(&mut receiver, 3).await.iter().zip(&sent) {
        assert_eq!(event.body(), &sent.body);
        assert_eq!(event.properties(), &sent.properties);
        assert_eq!(event.message_id(), sent.message_id.as_deref());
        assert_eq!(event.correlation_id(), sent.correlation_id.as_deref());
        assert_eq!(event.content_type(), sent.content_type.as_deref());
    }
}

#[tokio::test]
async fn events_with_a_key_go_where_the_emulator_publishes_them() {
    let emulator = emulator().await;
    let keyed = || (0..20).map(|n| EventData::new("e").partition_key(format!("key {}", n % 5)));
    emulator.publish("orders", keyed()).unwrap();
    let expected: Vec<usize> = counts(&emulator).iter().map(|count| 2 * count).collect();
    send(&client(&emulator).producer(), keyed()).await;
    assert_eq!(counts(&emulator), expected);
}

#[tokio::test]
async fn more_than_fits_into_one_message_goes_out_in_order() {
    let builder = Emulator::builder().event_hub("orders", 1).max_message_size(10_000);
    let emulator = builder.start().await.unwrap();
    let client = client(&emulator);
    let producer = client.producer();
    assert_eq!(producer.max_message_size().await.unwrap(), 10_000);
    send(&producer, texts(0..2000)).await;
    assert_eq!(bodies(&client, 2000).await, texts(0..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_sent_leaves_nothing_behind() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let list = EventData::new("e").property("list", Value::List(vec![]));
    let value = EventData::with_body(EventBody::Value(Value::Null));
    for (event, why) in [
        (EventData::new(vec![0; 1 << 20]), "event 1: has 1048584 bytes"),
        (list, "event 1: property \"list\" is no simple value"),
        (value, "event 1: has another body than bytes"),
    ] {
        let error = client.producer().send([EventData::new("good"), event]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(counts(&emulator), [0; 4]);
}

#[tokio::test]
async fn a_producer_goes_on_after_each_loss() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let producer = client.partition_producer(partition("0"));
    let faults: [&dyn Fn(); 6] = [
        &|| {},
        &|| assert_eq!(emulator.detach_links("orders", "amqp:link:detach-forced", "moved"), 1),
        &|| assert_eq!(emulator.end_sessions("orders", "amqp:internal-error", "gone"), 1),
        &|| assert_eq!(emulator.drop_connections(), 1),
        &|| emulator.refuse_sends("orders", 2, "amqp:internal-error", "not now").unwrap(),
        &|| assert_eq!(emulator.expire_tokens(), 1),
    ];
    for (n, fault) in (0..).zip(faults) {
        fault();
        send(&producer, texts(n..n + 1)).await;
    }
    let kept = emulator.partition("orders", "0").unwrap().event_count;
    let mut bodies = bodies(&client, kept).await;
    // what was taken and not acknowledged came again
    bodies.dedup();
    assert_eq!(bodies, texts(0..6).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_does_not_exist_is_final() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let error = client.partition_producer(partition("9")).send(["e"]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::InvalidArgument, false), "{error}");
    emulator.delete_event_hub("orders").unwrap();
    let error = client.producer().send(["e"]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::NotFound, false), "{error}");
}

#[tokio::test]
async fn a_service_that_refuses_again_and_again_is_reported() {
    let emulator = emulator().await;
    let producer = client(&emulator).producer();
    emulator.refuse_sends("orders", 4, "amqp:internal-error", "not now").unwrap();
    let error = within(producer.send(["lost"])).await.unwrap_err();
    assert_eq!(error.condition(), Some("amqp:internal-error"));
    assert!(error.is_transient());
    send(&producer, ["kept"]).await;
    assert_eq!(counts(&emulator).iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn a_closed_producer_leaves_no_link() {
    let emulator = emulator().await;
    let producer = client(&emulator).producer();
    send(&producer, ["e"]).await;
    producer.close().await;
    assert_eq!(emulator.detach_links("orders", "amqp:link:detach-forced", ""), 0);
    send(&producer, ["e"]).await;
}
