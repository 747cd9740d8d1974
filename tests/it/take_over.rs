//! How long a partition is unread when its owner leaves or is killed, on each store. Prints the times and judges none:
//! docs/stores.md has those of a quiet machine. `EVENTHUBS_TAKE_OVERS` sets how often each is measured.

use std::env;
use std::time::{Duration, Instant};

use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::{Consumer, HUB, Storage, World};

const INSTANCE: &str = env!("CARGO_BIN_EXE_instance");
const PARTITIONS: usize = 32;
const REPEATS: &str = "EVENTHUBS_TAKE_OVERS";

/// With the interval that users have by default: what is faster than that comes of hints, or of the pace of a small fleet.
fn start(world: &World) -> Consumer {
    Consumer::start(world.consumer(INSTANCE, 60, 1).env("INTERVAL_MS", "10000"))
}

fn readers(world: &World) -> usize {
    world.emulator.receivers(HUB).unwrap().len()
}

/// From the signal to stop until two instances read all partitions of three.
async fn leave(world: &World) -> Duration {
    let stayers = [start(world), start(world)];
    let leaver = start(world);
    world.until_shared(&[10, 11, 11]).await;
    let began = now();
    let leaving = tokio::spawn(leaver.stop());
    let by_two = || (receivers_of(world).len(), readers(world));
    until(seeing("two instances that read all partitions", by_two), || by_two() == (2, PARTITIONS)).await;
    let took = began.elapsed();
    leaving.await.unwrap();
    for stayer in stayers {
        stayer.stop().await;
    }
    took
}

fn receivers_of(world: &World) -> std::collections::BTreeSet<Option<String>> {
    world.emulator.receivers(HUB).unwrap().into_iter().map(|receiver| receiver.name).collect()
}

#[expect(clippy::disallowed_methods, reason = "it is measured, not judged")]
fn now() -> Instant {
    Instant::now()
}

async fn measure(name: &str, storage: Storage) {
    let repeats = env::var(REPEATS).map_or(1, |repeats| repeats.parse().expect("a number"));
    within(PATIENCE * repeats, async {
        let world = World::on(storage, PARTITIONS).await;
        let mut times = Vec::new();
        for _ in 0..repeats {
            times.push(leave(&world).await);
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{name}: {} ms median, {} ms at most, of {repeats}", median.as_millis(), worst.as_millis());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_blob() {
    measure("blob", Storage::new_blob().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    measure("PostgreSQL", Storage::new_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis() {
    measure("Redis", Storage::new_redis().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    measure("SQLite", Storage::new_sqlite()).await;
}
