use eventhubs_amqp::{EventHubClient, PartitionReceiverBuilder};
use eventhubs_emulator::Emulator;
use eventhubs_types::{ConsumerGroup, StartingPosition};

use crate::support::{builder, client, emulator, numbers, open, partition, receive, texts, until, within};

/// The number of the first event from this position; a hub with the events 0 to 9.
async fn first(client: &EventHubClient, position: StartingPosition) -> i64 {
    let mut receiver = open(client, position).await;
    let first = numbers(&receive(&mut receiver, 1).await)[0];
    receiver.close().await.unwrap();
    first
}

/// Contract §5.2.
#[tokio::test]
async fn reading_starts_at_every_kind_of_position() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..10)).unwrap();
    let client = client(&emulator);
    let events = receive(&mut open(&client, StartingPosition::Earliest).await, 10).await;
    assert_eq!(numbers(&events), (0..10).collect::<Vec<_>>());

    let (offset, time) = (events[4].offset().clone(), events[4].enqueued_time().unwrap());
    let at_that_time = |n: &&eventhubs_amqp::ReceivedEvent| n.enqueued_time() == Some(time);
    let first_then = events.iter().find(at_that_time).unwrap().sequence_number().value();
    assert_eq!(first(&client, StartingPosition::Earliest).await, 0);
    assert_eq!(first(&client, StartingPosition::after_offset(offset.clone())).await, 5);
    assert_eq!(first(&client, StartingPosition::from_offset(offset)).await, 4);
    assert_eq!(first(&client, StartingPosition::after_sequence_number(4)).await, 5);
    assert_eq!(first(&client, StartingPosition::from_sequence_number(4)).await, 4);
    assert_eq!(first(&client, StartingPosition::from_enqueued_time(time)).await, first_then);
    let before = time - std::time::Duration::from_secs(1);
    assert_eq!(first(&client, StartingPosition::after_enqueued_time(before)).await, 0);
}

#[tokio::test]
async fn after_a_time_comes_only_what_is_later() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..3)).unwrap();
    let client = client(&emulator);
    let events = receive(&mut open(&client, StartingPosition::Earliest).await, 3).await;
    let newest = events[2].enqueued_time().unwrap();
    let mut receiver = open(&client, StartingPosition::after_enqueued_time(newest)).await;
    // The service counts in milliseconds: publish in a later one.
    until("a later millisecond", || newest.elapsed().is_ok_and(|since| since.as_millis() > 1)).await;
    emulator.publish_to("orders", "0", texts(3..4)).unwrap();
    assert_eq!(numbers(&receive(&mut receiver, 1).await), [3]);
}

#[tokio::test]
async fn the_latest_position_yields_what_is_published_from_then_on() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..10)).unwrap();
    let mut receiver = open(&client(&emulator), StartingPosition::Latest).await;
    emulator.publish_to("orders", "0", texts(10..12)).unwrap();
    assert_eq!(numbers(&receive(&mut receiver, 2).await), [10, 11]);
}

#[tokio::test]
async fn an_empty_partition_is_read_from_its_first_event() {
    let emulator = emulator().await;
    let mut receiver = open(&client(&emulator), StartingPosition::Latest).await;
    emulator.publish_to("orders", "0", texts(0..1)).unwrap();
    assert_eq!(numbers(&receive(&mut receiver, 1).await), [0]);
}

#[tokio::test]
async fn partitions_and_groups_are_read_side_by_side() {
    let emulator = emulator().await;
    for id in ["0", "1", "2", "3"] {
        emulator.publish_to("orders", id, texts(0..100)).unwrap();
    }
    let client = client(&emulator);
    let read = |group: &str, id: &str| {
        let builder = client.partition_receiver(ConsumerGroup::new(group).unwrap(), partition(id));
        read_all(builder, 100)
    };
    let readers =
        ["$Default", "billing"].iter().flat_map(|group| ["0", "1", "2", "3"].map(|id| read(group, id)));
    for numbers in within(futures::future::join_all(readers)).await {
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}

async fn read_all(builder: PartitionReceiverBuilder, count: usize) -> Vec<i64> {
    let mut receiver = builder.starting_position(StartingPosition::Earliest).open().await.unwrap();
    numbers(&receive(&mut receiver, count).await)
}

#[tokio::test]
async fn the_head_of_the_partition_is_tracked_if_asked() {
    let emulator: Emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..10)).unwrap();
    let client = client(&emulator);
    let tracking =
        |track| builder(&client, StartingPosition::Earliest).track_last_enqueued_event_properties(track);

    let mut receiver = tracking(true).open().await.unwrap();
    assert_eq!(receiver.last_enqueued_event_properties(), None);
    receive(&mut receiver, 1).await;
    let head = receiver.last_enqueued_event_properties().unwrap();
    let partition = emulator.partition("orders", "0").unwrap();
    assert_eq!(head.sequence_number, partition.last_enqueued_sequence_number);
    assert_eq!(head.offset, partition.last_enqueued_offset);
    assert_eq!(head.enqueued_time, partition.last_enqueued_time);
    assert!(head.retrieval_time >= head.enqueued_time);

    let mut receiver = tracking(false).open().await.unwrap();
    receive(&mut receiver, 1).await;
    assert_eq!(receiver.last_enqueued_event_properties(), None);
}
