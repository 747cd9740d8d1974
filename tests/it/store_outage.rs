//! The store goes away for a while: reading continues, checkpoints are pending, and all recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventhubs::{CheckpointStatus, ConsumerClient, StartingPosition};
use eventhubs_checkpoint_store::{Checkpoint, CheckpointStore};
use eventhubs_test_harness::within;
use eventhubs_tests::{HUB, PATIENCE, World, until};
use tokio::sync::oneshot;

#[derive(Default)]
struct Counts {
    handled: AtomicUsize,
    checkpoints: AtomicUsize,
    pending_checkpoints: AtomicUsize,
}

impl Counts {
    fn add(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn get(count: &AtomicUsize) -> usize {
        count.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_continues_while_the_store_is_down_and_all_recovers() {
    within(PATIENCE, async {
        let mut world = World::persistent(4).await;
        let client =
            ConsumerClient::from_connection_string(world.emulator.connection_string(HUB), "$Default")
                .unwrap()
                .checkpoint_store(world.store())
                .checkpoint_namespace(world.namespace.clone())
                .load_balancing_interval(Duration::from_millis(500))
                .build()
                .unwrap();
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(move |context, event| {
                let seen = Arc::clone(&seen);
                async move {
                    Counts::add(&seen.handled);
                    let count = match context.update_checkpoint(&event).await? {
                        CheckpointStatus::Pending => &seen.pending_checkpoints,
                        _ => &seen.checkpoints,
                    };
                    Counts::add(count);
                    Ok(())
                }
            })
            .starting_position(StartingPosition::Earliest)
            .with_graceful_shutdown(stopped);
        let receiving = tokio::spawn(receive.into_future());

        world.publish(40);
        until(|| Counts::get(&counts.checkpoints) >= 40).await;

        world.azurite.stop().await;
        world.publish(40);
        until(|| Counts::get(&counts.handled) >= 80).await;
        until(|| Counts::get(&counts.pending_checkpoints) >= 40).await;

        world.azurite.restart_on_same_port().await;
        world.publish(40);
        until(|| Counts::get(&counts.handled) >= 120).await;
        while checkpointed(&world).await < 120 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(Counts::get(&counts.handled), 120, "no partition was given up, so nothing came twice");
        assert!(!receiving.is_finished(), "the run continues");

        stop.send(()).unwrap();
        receiving.await.unwrap().unwrap();
        assert!(world.owners().await.is_empty(), "it could release what it had");
    })
    .await;
}

/// How many events the checkpoints in the store cover.
async fn checkpointed(world: &World) -> i64 {
    let checkpoints = world.store().list_checkpoints(&world.scope()).await.unwrap();
    let covered = |checkpoint: &Checkpoint| checkpoint.sequence_number.map_or(0, |number| number.value() + 1);
    checkpoints.iter().map(covered).sum()
}
