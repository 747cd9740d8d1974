//! A hub that fails over to its geo-replica, and the offsets that it hands out from then on (contract §0.2, no. 2).

use eventhubs_emulator::{Emulator, Fault};
use fe2o3_amqp::types::messaging::Body;
use fe2o3_amqp::types::messaging::annotations::AnnotationKey;
use fe2o3_amqp::types::primitives::{OrderedMap, Value};
use tempfile::TempDir;

use crate::client::{
    AnyDelivery, Client, Reading, Refusal, annotation, end_of, next, orders, sequence_number, start, within,
};

fn offset(event: &AnyDelivery) -> &str {
    match annotation(event, "x-opt-offset") {
        Some(Value::String(offset)) => offset,
        other => panic!("{other:?}"),
    }
}

/// Partition 0 of `orders`, with three events of one byte, fails over.
async fn failed_over() -> Emulator {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["a", "b", "c"]).unwrap();
    emulator.fail_over("Orders").unwrap();
    emulator
}

/// The first event that a receiver with this filter gets.
async fn first(client: &mut Client, filter: &'static str) -> Result<AnyDelivery, Refusal> {
    let mut receiver = client.read("0", Reading { filter: Some(filter), ..Reading::default() }).await?;
    let event = next(&mut receiver).await;
    within(receiver.close()).await.unwrap();
    Ok(event)
}

async fn properties(client: &mut Client, kind: &str) -> OrderedMap<Value, Value> {
    let request = [("operation", "READ"), ("type", kind), ("name", "orders"), ("partition", "0")];
    match client.node("$management").await.ask(request, Body::Empty, None).await.value {
        Value::Map(properties) => properties,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn links_end_and_offsets_are_composite_from_then_on() {
    let emulator = orders().await;
    emulator.create_event_hub("other", 1, [""; 0]).unwrap();
    emulator.publish_to("other", "0", ["x"]).unwrap();
    emulator.publish_to("orders", "0", ["a", "b"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut before = client.read("0", Reading::default()).await.unwrap();
    assert_eq!(offset(&next(&mut before).await), "0");
    assert_eq!(offset(&next(&mut before).await), "65");
    let fail_over = Fault::FailOver { event_hub: "orders".into() };
    assert_eq!(emulator.inject(&fail_over).unwrap(), Some(1));
    assert_eq!(end_of(&mut before).await.condition, "amqp:link:detach-forced");

    emulator.publish_to("orders", "0", ["c"]).unwrap();
    let mut after = client.read("0", Reading { runtime_metric: true, ..Reading::default() }).await.unwrap();
    for (number, expected) in [(0, "1:0"), (1, "1:65"), (2, "1:130")] {
        let event = next(&mut after).await;
        assert_eq!((sequence_number(&event), offset(&event)), (number, expected));
        let head = event.message().delivery_annotations.as_ref().unwrap();
        let last = head.get(&"last_enqueued_offset" as &dyn AnnotationKey);
        assert_eq!(last, Some(&Value::from("1:130")));
    }
    let kept = emulator.events("orders", "0", 0.into(), 10).unwrap();
    assert_eq!(kept.iter().map(|event| event.offset.as_str()).collect::<Vec<_>>(), ["1:0", "1:65", "1:130"]);
    assert_eq!(emulator.partition("other", "0").unwrap().last_enqueued_offset.as_str(), "0");
}

/// Contract §5.4.
#[tokio::test]
async fn an_offset_that_no_era_gave_out_is_refused() {
    let emulator = failed_over().await;
    let mut client = Client::connect(&emulator).await;
    for (filter, supplied) in [
        ("amqp.annotation.x-opt-offset > '65'", "65"),
        ("amqp.annotation.x-opt-offset >= '0'", "0"),
        ("amqp.annotation.x-opt-offset > 999999", "999999"),
        ("amqp.annotation.x-opt-offset > '0:65'", "0:65"),
        ("amqp.annotation.x-opt-offset > '2:65'", "2:65"),
    ] {
        let refusal = first(&mut client, filter).await.unwrap_err();
        assert_eq!(refusal.condition, "com.microsoft:georeplication:invalid-offset", "{filter}");
        let text = format!("The supplied offset '{supplied}' is invalid");
        assert!(refusal.description.starts_with(&text), "{}", refusal.description);
    }
    let refusal = first(&mut client, "amqp.annotation.x-opt-offset > '1:131'").await.unwrap_err();
    assert_eq!(refusal.condition, "com.microsoft:argument-error");
    let text = "The supplied offset '1:131' is invalid. The last offset in the system is '1:130'";
    assert_eq!(refusal.description, text);
}

#[tokio::test]
async fn a_composite_offset_resumes_exactly_in_its_era_and_in_later_ones() {
    let emulator = failed_over().await;
    let mut client = Client::connect(&emulator).await;
    for era in [1, 2] {
        for (filter, expected) in [
            ("amqp.annotation.x-opt-offset > '1:0'", 1),
            ("amqp.annotation.x-opt-offset >= '1:0'", 0),
            ("amqp.annotation.x-opt-offset > '1:65'", 2),
            ("amqp.annotation.x-opt-offset >= '1:130'", 2),
            ("amqp.annotation.x-opt-offset > '-1'", 0),
            ("amqp.annotation.x-opt-sequence-number > '1'", 2),
            ("amqp.annotation.x-opt-enqueued-time > '0'", 0),
        ] {
            let event = first(&mut client, filter).await.unwrap();
            assert_eq!(sequence_number(&event), expected, "{filter}");
            assert_eq!(offset(&event), format!("{era}:{}", 65 * expected), "{filter}");
        }
        emulator.fail_over("orders").unwrap();
    }
}

/// Contract §4.2.
#[tokio::test]
async fn the_properties_tell_the_era() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["a"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    for (factor, era, last) in [(1, -1, "0"), (2, 1, "1:0"), (2, 2, "2:0")] {
        let hub = properties(&mut client, "com.microsoft:eventhub").await;
        assert_eq!(hub.get(&Value::from("georeplication_factor")), Some(&Value::Int(factor)));
        let partition = properties(&mut client, "com.microsoft:partition").await;
        for key in ["begin_sequence_number_epoch", "last_enqueued_sequence_number_epoch"] {
            assert_eq!(partition.get(&Value::from(key)), Some(&Value::Int(era)), "{key}");
        }
        assert_eq!(partition.get(&Value::from("last_enqueued_offset")), Some(&Value::from(last)));
        emulator.fail_over("orders").unwrap();
    }
    assert_eq!(emulator.partition("orders", "1").unwrap().last_enqueued_offset.as_str(), "-1");
}

#[tokio::test]
async fn the_era_survives_a_restart_and_ends_with_the_hub() {
    let folder = TempDir::new().unwrap();
    let on_folder = || Emulator::builder().event_hub("orders", 1).data_dir(folder.path());
    let emulator = start(on_folder()).await;
    emulator.publish_to("orders", "0", ["a"]).unwrap();
    emulator.fail_over("orders").unwrap();
    emulator.publish_to("orders", "0", ["b"]).unwrap();
    let before = emulator.partition("orders", "0").unwrap();
    within(emulator.stop()).await;

    let emulator = start(on_folder()).await;
    assert_eq!(emulator.partition("orders", "0").unwrap(), before);
    emulator.publish_to("orders", "0", ["c"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    for (filter, expected) in [
        ("amqp.annotation.x-opt-offset > '-1'", "1:0"),
        ("amqp.annotation.x-opt-offset > '1:0'", "1:65"),
        ("amqp.annotation.x-opt-offset > '1:65'", "1:130"),
    ] {
        assert_eq!(offset(&first(&mut client, filter).await.unwrap()), expected);
    }
    let refusal = first(&mut client, "amqp.annotation.x-opt-offset > '0'").await.unwrap_err();
    assert_eq!(refusal.condition, "com.microsoft:georeplication:invalid-offset");

    emulator.recreate_event_hub("orders", 1).unwrap();
    emulator.publish_to("orders", "0", ["new"]).unwrap();
    within(emulator.stop()).await;
    let emulator = start(on_folder()).await;
    assert_eq!(emulator.partition("orders", "0").unwrap().last_enqueued_offset.as_str(), "0");
}
