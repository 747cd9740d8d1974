//! Fixed assignments: an instance reads its own partitions and no others.

use std::sync::Arc;
use std::time::Duration;

use eventhubs::{Assignment, ConsumerClient, ErrorKind, MemoryCheckpointStore, StartingPosition};
use eventhubs_emulator::Emulator;

use crate::support::{HUB, Running, Seen, emulator, start, until, within};

fn pod(
    emulator: &Emulator,
    store: &Arc<MemoryCheckpointStore>,
    ordinal: u32,
) -> eventhubs::Result<ConsumerClient> {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .load_balancing_interval(Duration::from_millis(100))
        .assignment(Assignment::ByOrdinal { ordinal, instances: 2 })
        .build()
}

fn reading(client: &ConsumerClient, seen: &Seen) -> Running {
    let seen = seen.clone();
    start(
        client
            .receive(|_, _| async { Ok(()) })
            .starting_position(StartingPosition::Earliest)
            .on_partition_initialize(move |context| {
                seen.push(context.partition_id().as_str());
                async { Ok(()) }
            }),
    )
}

#[tokio::test]
async fn instances_with_ordinals_read_each_their_own() {
    within(async {
        let emulator = emulator(6).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let seen = [Seen::default(), Seen::default()];
        let clients = [0, 1].map(|ordinal| pod(&emulator, &store, ordinal).unwrap());
        let running = [reading(&clients[0], &seen[0]), reading(&clients[1], &seen[1])];
        until("each has its three", || seen.iter().all(|seen| seen.count() == 3)).await;
        for (seen, expected) in seen.iter().zip([["0", "2", "4"], ["1", "3", "5"]]) {
            let mut ids = seen.all();
            ids.sort();
            assert_eq!(ids, expected);
        }
        for running in running {
            running.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_ordinal_beyond_the_instances_is_refused() {
    let emulator = emulator(1).await;
    let error = pod(&emulator, &Arc::default(), 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("ordinal 2"), "{error}");
}
