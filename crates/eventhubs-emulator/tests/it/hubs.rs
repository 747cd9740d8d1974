//! Event hubs that come and go.

use eventhubs_emulator::ErrorKind;

use crate::client::{Client, Reading, end_of, next, orders, text, within};

#[tokio::test]
async fn a_hub_that_is_added_is_there_for_clients_that_are() {
    let emulator = orders().await;
    let mut client = Client::connect(&emulator).await;
    let address = "late/ConsumerGroups/audit/Partitions/1";
    assert_eq!(client.receiver(address, Reading::default()).await.unwrap_err().condition, "amqp:not-found");
    emulator.create_event_hub("late", 2, ["audit"]).unwrap();
    emulator.publish_to("late", "1", ["event"]).unwrap();
    let mut receiver = client.receiver(address, Reading::default()).await.unwrap();
    assert_eq!(text(&next(&mut receiver).await), "event");
}

#[tokio::test]
async fn the_links_of_a_deleted_hub_end_and_no_others() {
    let emulator = orders().await;
    emulator.create_event_hub("late", 1, [""; 0]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut receiver =
        client.receiver("late/ConsumerGroups/$Default/Partitions/0", Reading::default()).await.unwrap();
    let mut sender = client.sender("late").await.unwrap();
    let mut other = client.read("0", Reading::default()).await.unwrap();
    emulator.delete_event_hub("Late").unwrap();
    let end = end_of(&mut receiver).await;
    assert_eq!(end.condition, "amqp:not-found");
    assert_eq!(end.description, "The messaging entity 'late' could not be found.");
    within(sender.on_detach()).await;
    assert_eq!(client.sender("late").await.unwrap_err().condition, "amqp:not-found");
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    assert_eq!(text(&next(&mut other).await), "event");
    assert_eq!(emulator.delete_event_hub("late").unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_hub_created_anew_has_other_partitions_and_starts_over() {
    let emulator = orders().await;
    emulator.publish_to("orders", "3", ["old"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("3", Reading::default()).await.unwrap();
    next(&mut receiver).await;
    emulator.recreate_event_hub("orders", 2).unwrap();
    assert_eq!(end_of(&mut receiver).await.condition, "amqp:not-found");
    let refusal = client.read("3", Reading::default()).await.unwrap_err();
    assert_eq!(refusal.condition, "com.microsoft:argument-out-of-range");
    assert_eq!(emulator.partition("orders", "1").unwrap().last_enqueued_sequence_number.value(), -1);
    let billing = "orders/ConsumerGroups/billing/Partitions/1";
    client.receiver(billing, Reading::default()).await.unwrap();
}

#[tokio::test]
async fn a_hub_that_grows_keeps_its_links_and_events() {
    let emulator = orders().await;
    emulator.publish_to("orders", "3", ["old"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("3", Reading::default()).await.unwrap();
    assert_eq!(text(&next(&mut receiver).await), "old");
    emulator.grow_event_hub("orders", 6).unwrap();
    emulator.publish_to("orders", "3", ["same link"]).unwrap();
    assert_eq!(text(&next(&mut receiver).await), "same link");
    emulator.publish_to("orders", "5", ["new"]).unwrap();
    let mut receiver = client.read("5", Reading::default()).await.unwrap();
    assert_eq!(text(&next(&mut receiver).await), "new");
    assert_eq!(emulator.grow_event_hub("orders", 5).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(emulator.grow_event_hub("missing", 5).unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_nothing_is_lost() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    let none = [""; 0];
    for (result, kind) in [
        (emulator.create_event_hub("Orders", 2, none), ErrorKind::AlreadyExists),
        (emulator.create_event_hub("a/b", 2, none), ErrorKind::InvalidArgument),
        (emulator.create_event_hub("other", 2, [" group"]), ErrorKind::InvalidArgument),
        (emulator.recreate_event_hub("orders", 0), ErrorKind::InvalidArgument),
        (emulator.recreate_event_hub("other", 1), ErrorKind::NotFound),
    ] {
        assert_eq!(result.unwrap_err().kind(), kind);
    }
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 1);
}
