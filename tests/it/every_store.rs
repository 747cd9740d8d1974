//! Two eventhubs processes on one store, and each store in turn: one process is killed, or leaves (README, "What it promises").

use std::future::ready;

use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::{Consumer, Said, Storage, World, distinct};

const INSTANCE: &str = env!("CARGO_BIN_EXE_instance");

/// One module for each store, with one test for each promise.
macro_rules! on_each_store {
    ($($store:ident: $storage:expr;)*) => {$(
        mod $store {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_killed_process_repeats_only_what_was_not_checkpointed() {
                super::a_killed_process_repeats_only_what_was_not_checkpointed($storage.await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_clean_stop_repeats_nothing_and_no_one_waits_for_the_expiry() {
                super::a_clean_stop_repeats_nothing_and_no_one_waits_for_the_expiry($storage.await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn an_outage_of_the_store_stops_no_reading_and_repeats_nothing() {
                super::an_outage_of_the_store_stops_no_reading_and_repeats_nothing($storage.await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sixteen_processes_start_at_once_on_an_empty_store() {
                super::sixteen_processes_start_at_once_on_an_empty_store($storage.await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_rolling_deploy_repeats_nothing() {
                super::a_rolling_deploy_repeats_nothing($storage.await).await;
            }
        }
    )*};
}

on_each_store! {
    blob: Storage::new_blob();
    postgres: Storage::new_postgres();
    redis: Storage::new_redis();
    sqlite: ready(Storage::new_sqlite());
}

/// An expiry so long that a test which waits for it fails on its own time limit.
const NEVER: u32 = 600;

/// Tables and files are made by whoever comes first, and nobody has an error from that.
async fn sixteen_processes_start_at_once_on_an_empty_store(storage: Storage) {
    const PROCESSES: usize = 16;
    within(PATIENCE, async {
        let world = World::on(storage, PROCESSES).await;
        // So long that no answer is late for a round only because sixteen processes share the processor.
        let start = |_| Consumer::start(world.consumer(INSTANCE, NEVER, 1).env("INTERVAL_MS", "10000"));
        let instances: Vec<_> = (0..PROCESSES).map(start).collect();
        world.until_shared(&[1; PROCESSES]).await;
        for instance in instances {
            assert_eq!(instance.said().other, Vec::<String>::new());
        }
    })
    .await;
}

async fn a_killed_process_repeats_only_what_was_not_checkpointed(storage: Storage) {
    const EVENTS: usize = 6_000;
    within(PATIENCE, async {
        let world = World::on(storage, 8).await;
        let survivor = Consumer::start(&mut world.consumer(INSTANCE, 3, 10));
        let victim = Consumer::start(&mut world.consumer(INSTANCE, 3, 10));
        world.until_shared(&[4, 4]).await;
        world.publish(EVENTS / 2);
        victim
            .until("100 calls and a checkpoint of each partition", |said| {
                said.calls() >= 100 && said.checkpoints.len() == 4
            })
            .await;
        let victim = victim.kill().await;
        world.publish(EVENTS / 2);
        survivor.until("all events handled", |said| distinct([said, &victim]).len() == EVENTS).await;
        let survivor = survivor.stop().await;

        victim.assert_contiguous("the victim");
        survivor.assert_contiguous("the survivor");
        for (partition, handled) in &victim.handled {
            let resumed = survivor.handled[partition][0];
            let checkpoint = victim.checkpoints[partition];
            assert!(
                resumed > checkpoint,
                "partition {partition}: {resumed} was behind checkpoint {checkpoint}"
            );
            assert!(resumed <= handled.last().unwrap() + 1, "partition {partition}: a gap before {resumed}");
        }
        let repeats = survivor.calls() + victim.calls() - EVENTS;
        assert!(repeats <= not_checkpointed(&victim), "{repeats} repeats");
    })
    .await;
}

async fn a_clean_stop_repeats_nothing_and_no_one_waits_for_the_expiry(storage: Storage) {
    const EVENTS: usize = 1_600;
    within(PATIENCE, async {
        let world = World::on(storage, 8).await;
        let stayer = Consumer::start(&mut world.consumer(INSTANCE, NEVER, 1));
        let leaver = Consumer::start(&mut world.consumer(INSTANCE, NEVER, 1));
        world.until_shared(&[4, 4]).await;
        world.publish(EVENTS);
        leaver.until("40 calls", |said| said.calls() >= 40).await;
        let leaver = leaver.stop().await;
        assert!(leaver.calls() < EVENTS / 2, "it left with work to do");
        stayer.until("all events handled", |said| distinct([said, &leaver]).len() == EVENTS).await;
        let stayer = stayer.stop().await;

        assert_eq!(leaver.calls() + stayer.calls(), EVENTS, "no event was handled twice");
        leaver.assert_contiguous("the leaver");
        stayer.assert_contiguous("the stayer");
        assert!(world.owners().await.is_empty(), "both released what they had");
    })
    .await;
}

async fn an_outage_of_the_store_stops_no_reading_and_repeats_nothing(storage: Storage) {
    const EVENTS: usize = 400;
    within(PATIENCE, async {
        let mut world = World::on(storage, 4).await;
        let reader = Consumer::start(&mut world.consumer(INSTANCE, 60, 1));
        world.until_shared(&[4]).await;
        world.publish(EVENTS);
        reader.until("the events before the outage", |said| said.calls() == EVENTS).await;
        world.storage.interrupt().await;
        world.publish(EVENTS);
        reader.until("the events during the outage", |said| said.calls() == 2 * EVENTS).await;
        world.storage.restore().await;
        world.publish(EVENTS);
        reader.until("the events after the outage", |said| said.calls() == 3 * EVENTS).await;
        reader.stop().await.assert_contiguous("the reader");

        // What was pending is written by now, or its events would come again.
        world.publish(EVENTS);
        let next = Consumer::start(&mut world.consumer(INSTANCE, 60, 1));
        next.until("the last events", |said| said.calls() >= EVENTS).await;
        assert_eq!(next.stop().await.calls(), EVENTS, "no event was handled twice");
    })
    .await;
}

/// Each instance is replaced by a new one that starts before it stops.
async fn a_rolling_deploy_repeats_nothing(storage: Storage) {
    const EVENTS: usize = 2_400;
    within(PATIENCE, async {
        let world = World::on(storage, 8).await;
        // An instance has an interval to hand over: longer than a busy machine takes for it.
        let start = || Consumer::start(world.consumer(INSTANCE, NEVER, 1).env("INTERVAL_MS", "5000"));
        let mut running = vec![start(), start()];
        world.until_shared(&[4, 4]).await;
        let mut stopped: Vec<Said> = Vec::new();
        for _ in 0..4 {
            world.publish(EVENTS / 4);
            running.push(start());
            stopped.push(running.remove(0).stop().await);
        }
        let handled = || {
            let said: Vec<_> = running.iter().map(Consumer::said).collect();
            distinct(said.iter().chain(&stopped)).len()
        };
        until(seeing("all events handled", handled), || handled() == EVENTS).await;
        for consumer in running {
            stopped.push(consumer.stop().await);
        }
        let calls: usize = stopped.iter().map(Said::calls).sum();
        assert_eq!(calls, EVENTS, "no event was handled twice");
    })
    .await;
}

/// The events that were handled, but are behind no checkpoint.
fn not_checkpointed(said: &Said) -> usize {
    let behind = |(id, handled): (&String, &Vec<i64>)| handled.last().unwrap() - said.checkpoints[id];
    usize::try_from(said.handled.iter().map(behind).sum::<i64>()).unwrap()
}
