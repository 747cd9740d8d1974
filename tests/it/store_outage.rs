//! The store goes away for a while: reading continues, checkpoints are pending, and all recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventhubs::{
    CheckpointStatus, ConsumerClient, ConsumerClientBuilder, HandlerResult, PartitionContext, ReceivedEvent,
    StartingPosition,
};
use eventhubs_checkpoint_store::{Checkpoint, CheckpointStore};
use eventhubs_test_harness::{PATIENCE, seeing, until, until_async, within};
use eventhubs_tests::{HUB, World};
use tokio::sync::{Semaphore, oneshot};

#[derive(Debug, Default)]
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

async fn client(world: &World) -> ConsumerClientBuilder {
    ConsumerClient::builder(world.emulator.connection_string(HUB), "$Default")
        .checkpoint_store(world.store().await)
        .checkpoint_namespace(world.namespace.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_continues_while_the_store_is_down_and_all_recovers() {
    within(PATIENCE, async {
        let mut world = World::persistent(4).await;
        let client =
            client(&world).await.load_balancing_interval(Duration::from_millis(500)).build().unwrap();
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
        until(seeing("40 checkpoints", || &counts), || Counts::get(&counts.checkpoints) >= 40).await;

        world.storage.interrupt().await;
        world.publish(40);
        until(seeing("80 events handled", || &counts), || Counts::get(&counts.handled) >= 80).await;
        until(seeing("40 pending checkpoints", || &counts), || {
            Counts::get(&counts.pending_checkpoints) >= 40
        })
        .await;

        world.storage.restore().await;
        world.publish(40);
        until(seeing("120 events handled", || &counts), || Counts::get(&counts.handled) >= 120).await;
        until_async("all 120 events are checkpointed", async || checkpointed(&world).await >= 120).await;
        assert_eq!(Counts::get(&counts.handled), 120, "no partition was given up, so nothing came twice");
        assert!(!receiving.is_finished(), "the run continues");

        stop.send(()).unwrap();
        receiving.await.unwrap().unwrap();
        assert!(world.owners().await.is_empty(), "it could release what it had");
    })
    .await;
}

/// The lines between the two marks below are those of README, which the test compares: it is README's program that keeps its promise.
#[tokio::test(flavor = "multi_thread")]
async fn readmes_program_reads_on_while_the_store_is_down_and_repeats_nothing() {
    let readme = without_spaces(include_str!("../../README.md"));
    let (_, callback) = include_str!("store_outage.rs").split_once("// README\n").unwrap();
    let (callback, _) = callback.split_once("// END\n").unwrap();
    assert!(readme.contains(&without_spaces(callback)), "README has another callback than this test");

    within(PATIENCE, async {
        let mut world = World::persistent(4).await;
        let client = client(&world).await.build().unwrap();
        let handled = Arc::new(Semaphore::new(0));
        let count = Arc::clone(&handled);
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(move |context, event| {
                let count = Arc::clone(&count);
                async move {
                    readmes_callback(context, event).await?;
                    count.add_permits(1);
                    Ok(())
                }
            })
            .starting_position(StartingPosition::Earliest)
            .with_graceful_shutdown(stopped);
        let receiving = tokio::spawn(receive.into_future());

        world.publish(40);
        until("40 events handled", || handled.available_permits() >= 40).await;
        world.storage.interrupt().await;
        world.publish(40);
        until("80 events handled", || handled.available_permits() >= 80).await;
        world.storage.restore().await;
        until_async("all 80 events are checkpointed", async || checkpointed(&world).await >= 80).await;
        stop.send(()).unwrap();
        receiving.await.unwrap().unwrap();
        assert_eq!(handled.available_permits(), 80, "nothing came twice");
    })
    .await;
}

async fn readmes_callback(context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
    // README
    println!("{} #{} {}", context.partition_id(), event.sequence_number(), event.body_as_str()?);
    context.update_checkpoint(&event).await?;
    Ok(())
    // END
}

fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

/// How many events the checkpoints in the store cover.
async fn checkpointed(world: &World) -> i64 {
    let checkpoints = world.store().await.list_checkpoints(&world.scope()).await.unwrap();
    let covered = |checkpoint: &Checkpoint| checkpoint.sequence_number.map_or(0, |number| number.value() + 1);
    checkpoints.iter().map(covered).sum()
}
