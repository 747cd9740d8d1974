use std::collections::BTreeMap;
use std::time::Duration;

use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{seeing, until};
use eventhubs_types::{EventBody, EventData, Value as EventValue};
use fe2o3_amqp::types::messaging::annotations::AnnotationKey;
use fe2o3_amqp::types::messaging::{AmqpValue, Body};
use fe2o3_amqp::types::primitives::{SimpleValue, Symbol, Value};

use crate::client::{Client, Reading, annotation, end_of, next, orders, sequence_number, text, within};

fn from(filter: &'static str) -> Reading {
    Reading { filter: Some(filter), ..Reading::default() }
}

fn numbered(emulator: &Emulator, partition: &str, count: usize) {
    emulator.publish_to("orders", partition, (0..count).map(|n| format!("event {n}"))).unwrap();
}

#[tokio::test]
async fn events_arrive_in_order_with_their_annotations() {
    let emulator = orders().await;
    numbered(&emulator, "1", 3);
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("1", from("amqp.annotation.x-opt-offset > '-1'")).await.unwrap();
    for n in 0..3 {
        let event = next(&mut receiver).await;
        assert_eq!(text(&event), format!("event {n}"));
        assert_eq!(sequence_number(&event), n);
        assert_eq!(annotation(&event, "x-opt-offset"), Some(&Value::from((n * 71).to_string())));
        assert!(matches!(annotation(&event, "x-opt-enqueued-time"), Some(Value::Timestamp(_))));
        assert_eq!(annotation(&event, "x-opt-partition-key"), None);
    }
}

#[tokio::test]
async fn all_three_forms_of_an_address_and_both_descriptors_attach() {
    let emulator = orders().await;
    numbered(&emulator, "0", 1);
    let mut client = Client::connect(&emulator).await;
    for address in [
        "amqps://127.0.0.1:5671/orders/ConsumerGroups/$Default/Partitions/0",
        "/orders/consumergroups/$default/partitions/0",
        "Orders/ConsumerGroups/BILLING/Partitions/0",
    ] {
        for numeric_descriptor in [false, true] {
            let reading = Reading { numeric_descriptor, ..from("amqp.annotation.x-opt-offset > '-1'") };
            let mut receiver = client.receiver(address, reading).await.unwrap();
            assert_eq!(text(&next(&mut receiver).await), "event 0");
            within(receiver.close()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_filter_says_where_to_start() {
    let emulator = orders().await;
    numbered(&emulator, "0", 5);
    let mut client = Client::connect(&emulator).await;
    for (filter, expected) in [
        ("amqp.annotation.x-opt-offset > '142'", 3),
        ("amqp.annotation.x-opt-offset >= '142'", 2),
        ("amqp.annotation.x-opt-offset >'142'", 3),
        ("amqp.annotation.x-opt-sequence-number > '2'", 3),
        ("amqp.annotation.x-opt-sequence-number >= 2", 2),
        ("amqp.annotation.x-opt-enqueued-time > '0'", 0),
    ] {
        let mut receiver = client.read("0", from(filter)).await.unwrap();
        assert_eq!(sequence_number(&next(&mut receiver).await), expected, "{filter}");
        within(receiver.close()).await.unwrap();
    }
}

#[tokio::test]
async fn latest_waits_for_the_next_event() {
    let emulator = orders().await;
    numbered(&emulator, "0", 5);
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", from("amqp.annotation.x-opt-offset > '@latest'")).await.unwrap();
    emulator.publish_to("orders", "0", ["new"]).unwrap();
    let event = next(&mut receiver).await;
    assert_eq!((text(&event).as_str(), sequence_number(&event)), ("new", 5));
}

#[tokio::test]
async fn waiting_receivers_of_every_group_are_woken() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut first = client.read("0", Reading::default()).await.unwrap();
    let address = "orders/ConsumerGroups/billing/Partitions/0";
    let mut second = client.receiver(address, Reading::default()).await.unwrap();
    for n in 0..3 {
        emulator.publish_to("orders", "0", [format!("event {n}")]).unwrap();
        assert_eq!(sequence_number(&next(&mut first).await), n);
        assert_eq!(sequence_number(&next(&mut second).await), n);
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_is_refused_with_the_text_of_the_service() {
    let emulator = orders().await;
    numbered(&emulator, "0", 5);
    let mut client = Client::connect(&emulator).await;
    for (filter, condition, text) in [
        (
            "amqp.annotation.x-opt-offset > '999999'",
            "com.microsoft:argument-error",
            "The supplied offset '999999' is invalid. The last offset in the system is '284'",
        ),
        (
            "amqp.annotation.x-opt-sequence-number > '99'",
            "com.microsoft:argument-error",
            "The supplied sequence number '99' is invalid. The last sequence number in the system is '4'",
        ),
        (
            "x-opt-offset > 5",
            "com.microsoft:argument-error",
            "The filter 'x-opt-offset > 5' is not a valid amqp filter for EventHub entities",
        ),
    ] {
        let refusal = client.read("0", from(filter)).await.unwrap_err();
        assert_eq!((refusal.condition.as_str(), refusal.description.as_str()), (condition, text));
    }
}

#[tokio::test]
async fn what_does_not_exist_is_refused() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    for (address, condition) in [
        ("unknown/ConsumerGroups/$Default/Partitions/0", "amqp:not-found"),
        ("orders/ConsumerGroups/unknown/Partitions/0", "amqp:not-found"),
        ("orders/ConsumerGroups/$Default/Partitions/4", "com.microsoft:argument-out-of-range"),
        ("orders/ConsumerGroups/$Default/Partitions/x", "com.microsoft:argument-out-of-range"),
        ("orders/$Default/0", "amqp:not-found"),
        ("orders", "amqp:not-allowed"),
    ] {
        let refusal = client.receiver(address, Reading::default()).await.unwrap_err();
        assert_eq!(refusal.condition, condition, "{address}: {}", refusal.description);
    }
    let read = client.read("0", Reading::default()).await;
    assert!(read.is_ok(), "the session survives refusals: {read:?}");
}

#[tokio::test]
async fn no_more_events_come_than_credit_was_given() {
    let emulator = orders().await;
    numbered(&emulator, "0", 100);
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.manual("orders/ConsumerGroups/$Default/Partitions/0").await;
    for (credit, events) in [(7, 0..7), (1, 7..8)] {
        receiver.set_credit(credit).await.unwrap();
        for n in events {
            assert_eq!(sequence_number(&next(&mut receiver).await), n);
        }
    }
    // an event beyond the credit would stand before the detach
    emulator.detach_links("orders", "amqp:link:detach-forced", "on demand");
    assert_eq!(end_of(&mut receiver).await.condition, "amqp:link:detach-forced");
}

#[tokio::test]
async fn everything_that_was_published_arrives() {
    let emulator = orders().await;
    let value = EventValue::Map(vec![("key".into(), EventValue::List(vec![1.into(), EventValue::Null]))]);
    let event = EventData::with_body(EventBody::Value(value))
        .property("text", "t")
        .property("number", 7_i64)
        .message_id("m")
        .correlation_id("c")
        .content_type("text/plain")
        .partition_key("k");
    emulator.publish_to("orders", "0", [event]).unwrap();
    let lists = EventBody::Sequence(vec![vec![1_i64.into()], vec!["two".into()]]);
    emulator.publish_to("orders", "0", [EventData::with_body(lists)]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();

    let event = next(&mut receiver).await;
    assert_eq!(annotation(&event, "x-opt-partition-key"), Some(&Value::from("k")));
    let message = event.message();
    let properties = message.properties.as_ref().unwrap();
    assert_eq!(properties.message_id, Some("m".to_owned().into()));
    assert_eq!(properties.correlation_id, Some("c".to_owned().into()));
    assert_eq!(properties.content_type.as_ref().map(Symbol::as_str), Some("text/plain"));
    let application: BTreeMap<_, _> =
        message.application_properties.clone().unwrap().0.into_inner().into_iter().collect();
    let expected = [("number", SimpleValue::Long(7)), ("text", SimpleValue::String("t".into()))];
    assert_eq!(application, expected.map(|(key, value)| (key.to_owned(), value)).into());
    let Body::Value(AmqpValue(Value::Map(body))) = &message.body else { panic!("{:?}", message.body) };
    assert_eq!(body.get(&Value::from("key")), Some(&Value::List(vec![Value::Int(1), Value::Null])));

    let event = next(&mut receiver).await;
    let lists: Vec<_> = event.body().try_as_sequence().unwrap().cloned().collect();
    assert_eq!(lists, [vec![Value::Long(1)], vec![Value::from("two")]]);
}

#[tokio::test]
async fn the_runtime_metric_capability_brings_the_head_with_each_event() {
    let emulator = orders().await;
    numbered(&emulator, "0", 3);
    let mut client = Client::connect(&emulator).await;
    let mut receiver =
        client.read("0", Reading { runtime_metric: true, ..Reading::default() }).await.unwrap();
    let event = next(&mut receiver).await;
    let annotations = event.message().delivery_annotations.as_ref().unwrap();
    let get = |key: &str| annotations.get(&key as &dyn AnnotationKey);
    assert_eq!(get("last_enqueued_sequence_number"), Some(&Value::Long(2)));
    assert_eq!(get("last_enqueued_offset"), Some(&Value::from("142")));
    assert!(matches!(get("last_enqueued_time_utc"), Some(Value::Timestamp(_))));
    assert!(matches!(get("runtime_info_retrieval_time_utc"), Some(Value::Timestamp(_))));
    let mut plain = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(next(&mut plain).await.message().delivery_annotations, None);
}

#[tokio::test]
async fn an_event_larger_than_a_frame_arrives_whole() {
    let emulator = orders().await;
    let body: Vec<u8> = (0..900_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    emulator.publish_to("orders", "0", [body.clone(), b"next".to_vec()]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    let event = next(&mut receiver).await;
    let sections: Vec<_> = event.body().try_as_data().unwrap().map(|bytes| bytes.to_vec()).collect();
    assert!(sections == [body], "the body differs");
    assert_eq!(text(&next(&mut receiver).await), "next");
}

#[tokio::test]
async fn a_receiver_that_leaves_is_no_longer_listed() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let reading = Reading { owner_level: Some(3), name: Some("reader"), ..Reading::default() };
    let receiver = client.read("2", reading).await.unwrap();
    let attached = emulator.receivers("orders").unwrap();
    assert_eq!(attached.len(), 1);
    assert_eq!((attached[0].consumer_group.as_str(), attached[0].partition_id.as_str()), ("$Default", "2"));
    assert_eq!((attached[0].owner_level, attached[0].name.as_deref()), (Some(3), Some("reader")));
    within(receiver.close()).await.unwrap();
    until(seeing("the reader is gone", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn retention_drops_the_oldest_events() {
    let emulator = Emulator::builder().event_hub("orders", 2).retention(20, 1 << 20).start().await.unwrap();
    numbered(&emulator, "0", 25);
    let state = emulator.partition("orders", "0").unwrap();
    assert_eq!((state.event_count, state.beginning_sequence_number.value()), (10, 15));
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", from("amqp.annotation.x-opt-offset > '0'")).await.unwrap();
    assert_eq!(sequence_number(&next(&mut receiver).await), 15);
}

#[tokio::test]
async fn retention_ends_with_time_too() {
    let time = Duration::from_secs(600);
    let builder = Emulator::builder().event_hub("orders", 1).retention_time(time);
    let emulator = builder.start().await.unwrap();
    numbered(&emulator, "0", 3);
    emulator.advance_clock(time / 2);
    numbered(&emulator, "0", 2);
    emulator.advance_clock(time / 2 + Duration::from_secs(1));
    let state = emulator.partition("orders", "0").unwrap();
    assert_eq!((state.event_count, state.beginning_sequence_number.value()), (2, 3));
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(sequence_number(&next(&mut receiver).await), 3);
}
