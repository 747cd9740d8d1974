use eventhubs_emulator::Emulator;
use fe2o3_amqp::types::messaging::{AmqpValue, Batch, Body, Data};
use fe2o3_amqp::types::primitives::{Array, Timestamp, Value};

use crate::client::{Client, KEY, Node, Response, SAS, in_an_hour, orders, start, token};

const NEVER_MS: i64 = -62_135_596_800_000;

fn field<'a>(response: &'a Response, key: &str) -> &'a Value {
    let Value::Map(map) = &response.value else { panic!("{:?}", response.value) };
    map.get(&Value::from(key)).unwrap_or_else(|| panic!("no {key} in {map:?}"))
}

async fn read(node: &mut Node, properties: [(&str, &str); 4]) -> Response {
    node.ask(properties, Body::Empty, None).await
}

fn hub(name: &str) -> [(&str, &str); 4] {
    [("operation", "READ"), ("type", "com.microsoft:eventhub"), ("name", name), ("security_token", "x")]
}

fn partition<'a>(name: &'a str, id: &'a str) -> [(&'a str, &'a str); 4] {
    [("operation", "READ"), ("type", "com.microsoft:partition"), ("name", name), ("partition", id)]
}

#[tokio::test]
async fn a_hub_is_described_with_all_keys_in_their_types() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("$management").await;
    let response = read(&mut management, hub("orders")).await;
    assert_eq!(response.code, 200);
    assert_eq!(field(&response, "name"), &Value::from("orders"));
    assert_eq!(field(&response, "type"), &Value::from("com.microsoft:eventhub"));
    assert!(matches!(field(&response, "created_at"), Value::Timestamp(_)));
    assert_eq!(field(&response, "partition_count"), &Value::Int(4));
    let ids = ["0", "1", "2", "3"].map(Value::from).to_vec();
    assert_eq!(field(&response, "partition_ids"), &Value::Array(Array(ids)));
    assert_eq!(field(&response, "georeplication_factor"), &Value::Int(1));
}

#[tokio::test]
async fn a_partition_that_was_never_written_to_says_so() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("$management").await;
    let response = read(&mut management, partition("orders", "3")).await;
    assert_eq!(response.code, 200);
    assert_eq!(field(&response, "partition"), &Value::from("3"));
    assert_eq!(field(&response, "begin_sequence_number"), &Value::Long(0));
    assert_eq!(field(&response, "last_enqueued_sequence_number"), &Value::Long(-1));
    assert_eq!(field(&response, "last_enqueued_offset"), &Value::from("-1"));
    let never = Timestamp::from_milliseconds(NEVER_MS);
    assert_eq!(field(&response, "last_enqueued_time_utc"), &Value::Timestamp(never));
    assert_eq!(field(&response, "is_partition_empty"), &Value::Bool(true));
}

#[tokio::test]
async fn a_partition_is_described_by_its_last_event() {
    let emulator = orders().await;
    emulator.publish_to("orders", "3", ["a", "b", "c"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("$management").await;
    let response = read(&mut management, partition("Orders", "3")).await;
    assert_eq!(field(&response, "last_enqueued_sequence_number"), &Value::Long(2));
    assert_eq!(field(&response, "last_enqueued_offset"), &Value::from("130"));
    assert_eq!(field(&response, "is_partition_empty"), &Value::Bool(false));
    let state = emulator.partition("orders", "3").unwrap();
    assert_eq!(state.last_enqueued_offset.as_str(), "130");
    assert_eq!((state.last_enqueued_sequence_number.value(), state.event_count), (2, 3));
}

/// Microsoft's Rust SDK puts its only token for `$management` below the consumer group.
#[tokio::test]
async fn a_token_for_a_consumer_group_opens_the_properties_of_its_hub_only() {
    let emulator = start(Emulator::builder().event_hub("orders", 4).event_hub("returns", 4)).await;
    let mut client = Client::anonymous(&emulator).await;
    let audience = "amqps://127.0.0.1/orders/ConsumerGroups/$Default/$management";
    let token = token(audience, KEY, in_an_hour());
    let mut cbs = client.node("$cbs").await;
    assert_eq!(cbs.put_token(SAS, audience, &token).await.code, 202);
    let mut management = client.node("$management").await;
    assert_eq!(read(&mut management, hub("orders")).await.code, 200);
    assert_eq!(read(&mut management, partition("orders", "3")).await.code, 200);
    assert_eq!(read(&mut management, hub("returns")).await.code, 401);
}

#[tokio::test]
async fn what_does_not_exist_is_answered_with_404() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("orders/$management").await;
    assert_eq!(read(&mut management, hub("unknown")).await.code, 404);
    assert_eq!(read(&mut management, partition("orders", "4")).await.code, 404);
    assert_eq!(read(&mut management, partition("orders", "x")).await.code, 404);
}

/// Python sends no body, JavaScript an empty data section, others a null (contract §4.1).
#[tokio::test]
async fn the_body_of_a_request_does_not_matter() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("$management").await;
    let empty_data = Body::Data(Batch::new(vec![Data::from(Vec::new())]));
    for body in [Body::Empty, empty_data, Body::Value(AmqpValue(Value::Null))] {
        assert_eq!(management.ask(hub("orders"), body, None).await.code, 200);
    }
}

/// The crate `azeventhubs` puts no token over CBS for the properties.
#[tokio::test]
async fn a_token_in_the_request_opens_the_properties_of_its_hub() {
    let emulator = start(Emulator::builder().event_hub("orders", 4).event_hub("returns", 4)).await;
    let mut client = Client::anonymous(&emulator).await;
    let mut management = client.node("$management").await;
    let good = token("sb://127.0.0.1/orders", KEY, in_an_hour());
    let wrong = token("sb://127.0.0.1/orders", (KEY.0, "wrong"), in_an_hour());
    for (name, token, code) in [
        ("orders", good.as_str(), 200),
        ("returns", &good, 401),
        ("orders", &wrong, 401),
        ("orders", "", 401),
    ] {
        let mut properties = hub(name);
        properties[3].1 = token;
        assert_eq!(read(&mut management, properties).await.code, code, "{name}");
    }
}
