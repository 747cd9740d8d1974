use std::num::NonZeroUsize;

use eventhubs_amqp::{ConnectionOptions, ErrorKind};
use eventhubs_types::StartingPosition;
use futures::{StreamExt, TryStreamExt};

use crate::support::{
    builder, client, client_builder, emulator, numbers, open, partition, receive, texts, within,
};

#[tokio::test]
async fn a_stream_that_is_dropped_leaves_the_rest_to_the_next_call() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..250)).unwrap();
    let mut receiver = open(&client(&emulator), StartingPosition::Earliest).await;
    let first: Vec<_> = within(receiver.events().take(7).try_collect()).await.unwrap();
    assert_eq!(numbers(&first), (0..7).collect::<Vec<_>>());
    assert_eq!(numbers(&receive(&mut receiver, 50).await), (7..57).collect::<Vec<_>>());
    let more: Vec<_> = within(receiver.events().take(100).try_collect()).await.unwrap();
    assert_eq!(numbers(&more), (57..157).collect::<Vec<_>>());
    emulator.drop_connections();
    assert_eq!(numbers(&receive(&mut receiver, 93).await), (157..250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_ends_with_the_theft_of_its_partition_and_drops_its_queue() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..50)).unwrap();
    let client = client(&emulator);
    let mut robbed = builder(&client, StartingPosition::Earliest).owner_level(1).open().await.unwrap();
    let mut events = robbed.events();
    within(events.next()).await.unwrap().unwrap();
    drop(events);
    let _thief = builder(&client, StartingPosition::Earliest).owner_level(2).open().await.unwrap();
    crate::support::until("the theft is known", || robbed.ownership_lost()).await;
    let rest: Vec<_> = within(robbed.events().collect::<Vec<_>>()).await;
    let [Err(error)] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!(error.kind(), ErrorKind::OwnershipLost);
}

#[tokio::test]
async fn receivers_take_turns_with_the_connections_of_their_client() {
    let emulator = emulator().await;
    let three = ConnectionOptions::new().connections(NonZeroUsize::new(3).unwrap());
    let client = client_builder(&emulator.connection_string("orders")).connection(three).build().unwrap();
    let mut receivers = Vec::new();
    for id in ["0", "1", "2", "3"] {
        emulator.publish_to("orders", id, texts(0..10)).unwrap();
        let reading = client.partition_receiver(eventhubs_types::ConsumerGroup::default(), partition(id));
        receivers.push(reading.starting_position(StartingPosition::Earliest).open().await.unwrap());
    }
    assert_eq!(emulator.connections().len(), 3);
    for receiver in &mut receivers {
        assert_eq!(receive(receiver, 10).await.len(), 10);
    }
    client.close().await;
    crate::support::until(crate::support::seeing("all are closed", || emulator.connections()), || {
        emulator.connections().is_empty()
    })
    .await;
}
