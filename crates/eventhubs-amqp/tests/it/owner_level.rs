use eventhubs_amqp::{ErrorKind, EventHubClient, PartitionReceiver};
use eventhubs_types::StartingPosition;

use crate::support::{builder, client, emulator, numbers, receive, texts, within};

async fn open_at(
    client: &EventHubClient,
    level: i64,
    name: &str,
) -> eventhubs_amqp::Result<PartitionReceiver> {
    let builder = builder(client, StartingPosition::Earliest).owner_level(level).identifier(name);
    within(builder.open()).await
}

/// Contract §5.3: a higher or equal level wins; the loser is told who took it and never attaches again.
#[tokio::test]
async fn a_receiver_of_a_higher_or_equal_level_takes_the_partition() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..3)).unwrap();
    let client = client(&emulator);
    let mut loser = open_at(&client, 1, "first").await.unwrap();
    assert_eq!(numbers(&receive(&mut loser, 3).await), [0, 1, 2]);
    for (level, name) in [(1, "second"), (5, "third")] {
        let mut winner = open_at(&client, level, name).await.unwrap();
        for _ in 0..2 {
            let error = within(loser.receive_batch(1, None)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OwnershipLost);
            assert_eq!(error.condition(), Some("amqp:link:stolen"));
            assert!(error.description().unwrap().contains(name), "{error}");
        }
        assert_eq!(numbers(&receive(&mut winner, 3).await), [0, 1, 2]);
        loser = winner;
    }
    let attached = emulator.receivers("orders").unwrap();
    assert_eq!(attached.len(), 1);
    assert_eq!((attached[0].owner_level, attached[0].name.as_deref()), (Some(5), Some("third")));
}

#[tokio::test]
async fn a_receiver_of_a_lower_level_or_none_is_refused() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let _owner = open_at(&client, 5, "owner").await.unwrap();
    let lower = open_at(&client, 4, "lower").await.unwrap_err();
    assert_eq!(lower.kind(), ErrorKind::OwnershipLost);
    let without = within(builder(&client, StartingPosition::Earliest).open()).await.unwrap_err();
    assert_eq!(without.kind(), ErrorKind::OwnershipLost);
}

#[tokio::test]
async fn the_sixth_receiver_without_a_level_is_over_the_quota() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let open = || builder(&client, StartingPosition::Earliest).open();
    let mut five = Vec::new();
    for _ in 0..5 {
        five.push(open().await.unwrap());
    }
    assert_eq!(within(open()).await.unwrap_err().kind(), ErrorKind::QuotaExceeded);
    five.pop().unwrap().close().await.unwrap();
    within(open()).await.unwrap();
}
