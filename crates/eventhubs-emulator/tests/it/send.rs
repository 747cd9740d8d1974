use fe2o3_amqp::Sendable;
use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::messaging::annotations::OwnedKey;
use fe2o3_amqp::types::messaging::message::__private::Serializable;
use fe2o3_amqp::types::messaging::{
    AmqpSequence, AmqpValue, Batch, Body, Data, Header, Message, MessageAnnotations, Outcome, Properties,
};
use fe2o3_amqp::types::primitives::Value;

use eventhubs_emulator::Emulator;

use crate::client::{Client, Reading, annotation, next, orders, send, text, within};
use crate::raw;

const BATCH_FORMAT: u32 = 0x8001_3700;

fn message(body: &str) -> Message<Body<Value>> {
    Message::builder().body(Body::Data(Batch::new(vec![Data::from(body.as_bytes())]))).build()
}

fn keyed(body: &str, key: &str) -> Message<Body<Value>> {
    let mut message = message(body);
    let mut annotations = MessageAnnotations::default();
    annotations.insert(OwnedKey::from("x-opt-partition-key"), Value::from(key));
    message.message_annotations = Some(annotations);
    message
}

fn batch(messages: impl IntoIterator<Item = Message<Body<Value>>>) -> Sendable<Body<Value>> {
    let encode = |message| Data::from(serde_amqp::to_vec(&Serializable(message)).unwrap());
    let sections: Vec<Data> = messages.into_iter().map(encode).collect();
    let envelope = Message::builder().body(Body::Data(Batch::new(sections))).build();
    Sendable { message: envelope, message_format: BATCH_FORMAT, settled: None }
}

fn counts(emulator: &Emulator) -> Vec<usize> {
    ["0", "1", "2", "3"].map(|id| emulator.partition("orders", id).unwrap().event_count).to_vec()
}

#[tokio::test]
async fn a_message_is_accepted_and_read_back() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("amqps://127.0.0.1/orders/Partitions/2").await.unwrap();
    for n in 0..3 {
        let outcome = send(&mut sender, message(&format!("event {n}"))).await.unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    assert_eq!(counts(&emulator), [0, 0, 3, 0]);
    let mut receiver = client.read("2", Reading::default()).await.unwrap();
    for n in 0..3 {
        assert_eq!(text(&next(&mut receiver).await), format!("event {n}"));
    }
}

#[tokio::test]
async fn events_without_a_key_go_round() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    for _ in 0..8 {
        send(&mut sender, message("event")).await.unwrap();
    }
    assert_eq!(counts(&emulator), [2, 2, 2, 2]);
}

#[tokio::test]
async fn events_with_one_key_go_to_one_partition_however_they_come() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    for _ in 0..3 {
        send(&mut sender, keyed("event", "a key")).await.unwrap();
    }
    let event = eventhubs_types::EventData::new("event").partition_key("a key");
    emulator.publish("orders", [event]).unwrap();
    let mut sendable = batch([keyed("event", "a key")]);
    sendable.message.message_annotations = keyed("", "a key").message_annotations;
    within(sender.send(sendable)).await.unwrap();
    let counts = counts(&emulator);
    assert_eq!((counts.iter().max(), counts.iter().sum::<usize>()), (Some(&5), 5), "{counts:?}");
}

#[tokio::test]
async fn a_batch_becomes_its_events_in_order_in_one_partition() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    let events = (0..100).map(|n| keyed(&format!("event {n}"), "kept"));
    let outcome = within(sender.send(batch(events))).await.unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(counts(&emulator), [100, 0, 0, 0]);
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    for n in 0..100 {
        let event = next(&mut receiver).await;
        assert_eq!(text(&event), format!("event {n}"));
        assert_eq!(annotation(&event, "x-opt-partition-key"), Some(&Value::from("kept")));
    }
}

#[tokio::test]
async fn every_section_that_a_producer_sends_is_kept() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await.unwrap();
    let bodies = [
        Body::Data(Batch::new(vec![Data::from(b"one".as_slice()), Data::from(b"two".as_slice())])),
        Body::Value(AmqpValue(Value::List(vec![Value::Int(1), Value::Null]))),
        Body::Sequence(Batch::new(vec![AmqpSequence(vec![Value::Int(1)]), AmqpSequence(vec![])])),
    ];
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    for body in bodies {
        let mut sent = keyed("", "k");
        sent.body = body;
        sent.header = Some(Header { durable: true, ..Header::default() });
        let properties = Properties::builder().subject("subject").group_id(String::from("group")).build();
        sent.properties = Some(properties);
        send(&mut sender, sent.clone()).await.unwrap();
        let got = next(&mut receiver).await.into_message();
        assert_eq!((got.header, got.properties, got.body), (sent.header, sent.properties, sent.body));
    }
}

#[tokio::test]
async fn a_batch_that_is_none_is_rejected_and_the_link_lives_on() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await.unwrap();
    let mut garbage = batch([]);
    garbage.message.body = Body::Data(Batch::new(vec![Data::from(b"\xff\xff".as_slice())]));
    let outcome = within(sender.send(garbage)).await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
    let mut value = batch([]);
    value.message.body = Body::Value(AmqpValue(Value::Null));
    let outcome = within(sender.send(value)).await.unwrap();
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
    send(&mut sender, message("good")).await.unwrap();
    assert_eq!(counts(&emulator), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_producer_for_what_does_not_exist_is_refused() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    for (address, condition) in [
        ("unknown", "amqp:not-found"),
        ("orders/Partitions/9", "com.microsoft:argument-out-of-range"),
        ("orders/ConsumerGroups/$Default/Partitions/0", "amqp:not-allowed"),
    ] {
        let refusal = client.sender(address).await.unwrap_err();
        assert_eq!(refusal.condition, condition, "{address}: {}", refusal.description);
    }
}

#[tokio::test]
async fn a_transaction_is_refused_and_the_connection_lives_on() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let refusal = client.begin_transactions().await;
    assert_eq!(refusal.condition, "amqp:not-implemented", "{}", refusal.description);
    let mut sender = client.sender("orders").await.unwrap();
    send(&mut sender, message("without")).await.unwrap();
}

#[tokio::test]
async fn the_largest_message_is_announced_and_no_larger_one_is_taken() {
    let builder = Emulator::builder().event_hub("orders", 1).max_message_size(1000);
    let emulator = builder.start().await.unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await.unwrap();
    assert_eq!(sender.max_message_size(), Some(1000));
    let message = |size| message(&"a".repeat(size));
    // the AMQP library keeps to the limit by itself
    assert!(within(sender.send(message(1001))).await.is_err());
    within(sender.send(message(900))).await.unwrap();
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 1);
}

#[tokio::test]
async fn a_message_may_be_as_large_as_announced_in_however_many_frames() {
    let limit = 2_500_000;
    let builder = Emulator::builder().event_hub("orders", 1).max_message_size(limit);
    let emulator = builder.start().await.unwrap();
    let message = |size: u64| {
        let body = vec![b'a'; usize::try_from(size - 8).unwrap()];
        [[0, 0x53, 0x75, 0xb0].as_slice(), &raw::length(body.len()), &body].concat()
    };
    let mut link = raw::Link::attach(&emulator, Role::Sender, "orders").await;
    assert!(link.send(&message(limit)).await);
    assert!(!link.send(&message(limit + 1)).await);
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 1);
}
