//! Messages that were received and are sent once more.

use std::collections::BTreeMap;

use eventhubs_amqp::{ErrorKind, RawMessage, ReceivedEvent};
use eventhubs_emulator::Emulator;
use eventhubs_types::{EventBody, EventData, StartingPosition, Value};

use crate::support::{client, client_builder, emulator, open, partition, receive, within};

fn property(name: &str, value: impl Into<Value>) -> BTreeMap<String, Value> {
    BTreeMap::from([(name.to_owned(), value.into())])
}

/// Has these events received, sends them once more to partition 0 of the same hub, and receives them again.
async fn forwarded(events: Vec<EventData>) -> Vec<(ReceivedEvent, ReceivedEvent)> {
    let emulator = emulator().await;
    let (client, count) = (client(&emulator), events.len());
    emulator.publish_to("orders", "0", events).unwrap();
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    let first = receive(&mut receiver, count).await;
    let producer = client.partition_producer(partition("0"));
    for event in &first {
        let why = property("why", "refused");
        within(producer.send_raw(&event.raw_message().unwrap(), &[why])).await.unwrap();
    }
    let second = receive(&mut receiver, count).await;
    first.into_iter().zip(second).collect()
}

#[tokio::test]
async fn bodies_of_all_kinds_are_sent_once_more_as_they_were() {
    let deep = (0..40).fold(Value::String("poison".into()), |value, _| Value::List(vec![value]));
    let bodies = [
        EventBody::Data(vec!["one section".into()]),
        EventBody::Data(vec!["two ".into(), "sections".into()]),
        EventBody::Data(vec!["".into()]),
        EventBody::Value(Value::Null),
        EventBody::Value(Value::Map(vec![("a".into(), Value::Array(vec![Value::I32(1)]))])),
        EventBody::Sequence(vec![vec![Value::I64(1), "x".into()], vec![Value::Uuid([7; 16])]]),
        EventBody::Value(deep),
    ];
    let event = |body| {
        let event = EventData::with_body(body).message_id("id").correlation_id("other");
        event.content_type("text/plain").property("colour", "red")
    };
    let events = forwarded(bodies.map(event).to_vec()).await;
    for (sent, again) in &events {
        let mut expected = sent.properties().clone();
        expected.extend(property("why", "refused"));
        assert_eq!(again.properties(), &expected);
        assert_eq!(again.message_id(), Some("id"));
        assert_eq!((again.correlation_id(), again.content_type()), (Some("other"), Some("text/plain")));
        assert_eq!(again.undecodable_parts(), sent.undecodable_parts());
        assert!(again.sequence_number() > sent.sequence_number(), "it has a position of its own");
        assert!(again.enqueued_time() >= sent.enqueued_time());
    }
    for (sent, again) in &events[..6] {
        assert_eq!(again.body(), sent.body());
    }
    let EventBody::Undecodable(raw) = events[6].1.body() else { panic!("{:?}", events[6].1.body()) };
    assert!(raw.windows(6).any(|bytes| bytes == b"poison"));
}

#[tokio::test]
async fn a_message_that_is_sent_once_more_goes_to_the_partition_of_its_key() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let keyed = || (0..8).map(|n| EventData::new("e").partition_key(format!("key {n}")));
    emulator.publish("orders", keyed()).unwrap();
    let count = |id| emulator.partition("orders", id).unwrap().event_count;
    let expected = ["0", "1", "2", "3"].map(|id| 2 * count(id));
    for event in keyed() {
        let message = RawMessage::try_from(&event).unwrap();
        within(client.producer().send_raw(&message, &[BTreeMap::new()])).await.unwrap();
    }
    assert_eq!(["0", "1", "2", "3"].map(count), expected);
}

#[tokio::test]
async fn the_first_properties_that_fit_are_sent() {
    let emulator = Emulator::builder().event_hub("orders", 1).max_message_size(1_000).start().await.unwrap();
    let client = client_builder(&emulator.connection_string("orders")).build().unwrap();
    let producer = client.partition_producer(partition("0"));
    let message = RawMessage::try_from(&EventData::new(vec![0; 800])).unwrap();
    let sets = [property("long", "x".repeat(300)), property("short", "x"), property("shorter", "")];
    producer.send_raw(&message, &sets).await.unwrap();
    let sent = receive(&mut open(&client, StartingPosition::Earliest).await, 1).await;
    assert_eq!(sent[0].properties(), &sets[1]);
    let error = producer.send_raw(&message, &sets[..1]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::InvalidArgument, false));
    assert!(error.to_string().ends_with("bytes; the limit is 1000"), "{error}");
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_as_it_is_is_refused() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let good = RawMessage::try_from(&EventData::new("e")).unwrap();
    let keyed = RawMessage::try_from(&EventData::new("e").partition_key("k")).unwrap();
    let bad = RawMessage::from(bytes::Bytes::from_static(b"\xff"));
    let (any, one) = (client.producer(), client.partition_producer(partition("0")));
    for (producer, message, properties, why) in [
        (&any, &bad, BTreeMap::new(), "no sections"),
        (&one, &keyed, BTreeMap::new(), "has a partition key"),
        (&any, &good, property("list", Value::List(vec![])), "property \"list\" is no simple value"),
    ] {
        let error = producer.send_raw(message, &[properties]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(why), "{error}");
    }
    RawMessage::try_from(&EventData::with_body(EventBody::Value(Value::Null))).unwrap_err();
}
