//! What can be seen of clients, and what they were.

use eventhubs_test_harness::{seeing, until};
use eventhubs_types::{EventBody, EventData, SequenceNumber, Value};
use fe2o3_amqp::types::messaging::Body;

use crate::client::{Client, next, orders, within};

#[tokio::test]
async fn a_reader_is_seen_with_its_position_and_its_credit() {
    let emulator = orders().await;
    emulator.publish_to("orders", "1", ["a", "b", "c"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.manual("orders/ConsumerGroups/billing/Partitions/1").await;
    within(receiver.set_credit(2)).await.unwrap();
    next(&mut receiver).await;
    next(&mut receiver).await;
    let seen = || emulator.receivers("orders").unwrap();
    until(seeing("two events delivered", seen), || seen()[0].delivered == 2).await;
    let [reader] = seen().try_into().unwrap();
    assert_eq!((reader.consumer_group.as_str(), reader.partition_id.as_str()), ("billing", "1"));
    assert_eq!((reader.credit, reader.next_sequence_number.value()), (Some(0), 2));
    assert_eq!(reader.link_name, receiver.name());
    within(receiver.set_credit(10)).await.unwrap();
    next(&mut receiver).await;
    until(seeing("a credit of 9", seen), || seen()[0].credit == Some(9)).await;
    assert_eq!(reader.connection_id, emulator.connections()[0].id);
}

#[tokio::test]
async fn a_client_is_seen_with_what_it_says_about_itself() {
    let emulator = orders().await;
    assert_eq!(emulator.connections(), []);
    let client = Client::anonymous(&emulator).await;
    // the emulator opens before it has read the open of the client
    until("the open of the client is read", || !emulator.connections()[0].container_id.is_empty()).await;
    let [seen] = emulator.connections().try_into().unwrap();
    assert_eq!((seen.container_id.as_str(), seen.user_agent.as_deref()), ("test", Some("tester/1.0")));
    assert!(seen.address.unwrap().ip().is_loopback());
    drop(client);
}

#[tokio::test]
async fn requests_are_seen_with_their_answers() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let mut management = client.node("$management").await;
    let read =
        [("operation", "READ"), ("type", "com.microsoft:partition"), ("name", "orders"), ("partition", "9")];
    assert_eq!(management.ask(read, Body::Empty, None).await.code, 404);
    let [token, partition] = emulator.requests().try_into().unwrap();
    assert_eq!((token.node, token.operation.as_str(), token.status), ("$cbs", "put-token", Some(202)));
    assert_eq!(token.name, "sb://host/");
    assert_eq!(
        (partition.node, partition.operation.as_str(), partition.status),
        ("$management", "READ", Some(404))
    );
    assert_eq!((partition.name.as_str(), partition.partition_id.as_deref()), ("orders", Some("9")));
}

#[tokio::test]
async fn what_was_published_is_seen_as_it_was_sent() {
    let emulator = orders().await;
    let value = Value::List(vec![Value::I32(7), Value::from("text"), Value::Bool(true)]);
    let sent = [
        EventData::new("plain"),
        EventData::new("rich")
            .property("count", 3_i64)
            .property("name", "tea")
            .message_id("id")
            .correlation_id("other id")
            .content_type("text/plain")
            .partition_key("key"),
        EventData::with_body(EventBody::Value(value.clone())),
        EventData::with_body(EventBody::Sequence(vec![vec![value], vec![]])),
    ];
    emulator.publish_to("orders", "2", sent.clone()).unwrap();
    let kept = emulator.events("orders", "2", SequenceNumber::from(0), 100).unwrap();
    let numbers: Vec<i64> = kept.iter().map(|event| event.sequence_number.value()).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert!(kept.iter().all(|event| event.enqueued_time.is_some()));
    assert_eq!(kept.into_iter().map(|event| event.event).collect::<Vec<_>>(), sent);
    assert_eq!(emulator.events("orders", "2", SequenceNumber::from(1), 2).unwrap().len(), 2);
}

#[tokio::test]
async fn hubs_tell_how_much_they_hold() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["12345", "678"]).unwrap();
    let partitions = emulator.partitions("orders").unwrap();
    let depths: Vec<_> =
        partitions.iter().map(|partition| (partition.event_count, partition.byte_count)).collect();
    assert_eq!(depths, [(2, 8), (0, 0), (0, 0), (0, 0)]);
}
