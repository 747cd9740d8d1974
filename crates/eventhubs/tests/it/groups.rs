//! Clients of several consumer groups of one event hub.

use std::sync::Arc;

use eventhubs::{
    CheckpointStore, ConsumerGroup, ConsumerScope, ErrorKind, MemoryCheckpointStore, StartingPosition,
};
use eventhubs_emulator::Emulator;

use crate::support::{HUB, Seen, checkpointing, client_on, publish_to, scope, start, within};

fn scope_of(group: &str) -> ConsumerScope {
    let ConsumerScope { namespace, event_hub, .. } = scope();
    ConsumerScope::new(namespace, event_hub, ConsumerGroup::new(group).unwrap())
}

#[tokio::test]
async fn groups_receive_at_once_over_one_connection_and_one_store() {
    within(async {
        let emulator =
            Emulator::builder().event_hub(HUB, 1).consumer_group(HUB, "audit").start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let client = client_on(&emulator, Arc::clone(&store));
        let audit = client.for_consumer_group("audit").unwrap();
        let (seen, audited) = (Seen::default(), Seen::default());
        let running = [start(checkpointing(&client, &seen)), start(checkpointing(&audit, &audited))];
        publish_to(&emulator, "0", &["a", "b"]);
        seen.until_contains("b Written").await;
        audited.until_contains("b Written").await;
        assert_eq!(emulator.receivers(HUB).unwrap().len(), 2);
        assert_eq!(emulator.connections().len(), 1);
        for running in running {
            assert_eq!(running.stop().await.handled(), 2);
        }
        for group in ["$Default", "audit"] {
            let written = store.checkpoint(&scope_of(group), &"0".parse().unwrap()).await.unwrap();
            assert_eq!(written.unwrap().sequence_number, Some(1.into()), "{group}");
        }
    })
    .await;
}

/// Two balanced runs under one owner id would take each other for a twin.
#[tokio::test]
async fn a_client_for_the_same_group_is_the_same_member_of_it() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let same = client.for_consumer_group("$default").unwrap();
        let seen = Seen::default();
        publish_to(&emulator, "0", &["a"]);
        let running = start(checkpointing(&client, &seen));
        seen.until_count(1).await;
        let second = same.receive(|_, _| async { Ok(()) }).starting_position(StartingPosition::Earliest);
        assert_eq!(second.await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_group_without_a_name_is_refused() {
    let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
    let error = client_on(&emulator, MemoryCheckpointStore::new()).for_consumer_group("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
