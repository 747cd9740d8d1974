//! Rows that are inserted with a transactional checkpoint appear exactly once, whatever instances are killed or suspended,
//! and although answers to COMMIT are lost (README, "What it promises"). `cargo xtask soak kills` plays it with the numbers of a night.

use std::cell::Cell;
use std::env;
use std::time::Duration;

use eventhubs_test_harness::{PATIENCE, seeing, until_async, within};
use eventhubs_tests::{Consumer, Output, Rows, Storage, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

const TRANSACTIONAL: &str = env!("CARGO_BIN_EXE_transactional");
const INSTANCES: usize = 3;
const EXPIRY_SECONDS: u32 = 3;
const EXPIRY: Duration = Duration::from_secs(3);

/// How many kills there are, of which each fifth is a suspension beyond the lease; 2 000 events for each.
const KILLS: &str = "EVENTHUBS_KILLS";
const EVENTS_PER_KILL: usize = 2_000;

/// Whoever does not hear of its commit does the event again, which the store refuses as done.
const COMMITS_PER_LOST_ANSWER: usize = 1_000;

fn kills() -> usize {
    env::var(KILLS).map_or(8, |kills| kills.parse().expect("a number of kills"))
}

fn start(world: &World, address: &str, is_fenced: bool) -> Consumer {
    let mut command = world.consumer(TRANSACTIONAL, EXPIRY_SECONDS, 1);
    Consumer::start(command.env("STORE", address).env("FENCED", if is_fenced { "yes" } else { "no" }))
}

/// Kills and suspends instances while events come. Returns the rows, once there is one for each event.
async fn play(storage: Storage, is_fenced: bool, kills: usize) -> (Rows, i64) {
    let world = World::on(storage, 8).await;
    let output = Output::open(&world.storage.address()).await.unwrap();
    let lossy = if is_fenced { world.storage.losing_commits(COMMITS_PER_LOST_ANSWER).await } else { None };
    let (link, address) = lossy.unzip();
    let address = address.unwrap_or_else(|| world.storage.address());
    let mut instances: Vec<_> = (0..INSTANCES).map(|_| start(&world, &address, is_fenced)).collect();
    let mut rng = StdRng::seed_from_u64(7);
    let events = i64::try_from(kills * EVENTS_PER_KILL).unwrap();
    for kill in 0..kills {
        world.publish(EVENTS_PER_KILL);
        // A kill at any moment of the work is what is tested, so this is a time and no condition.
        sleep(Duration::from_millis(rng.random_range(100..1_500))).await;
        let victim = instances.remove(rng.random_range(0..INSTANCES));
        if kill % 5 == 4 {
            victim.suspend().await;
            sleep(EXPIRY + Duration::from_secs(1)).await;
            victim.resume().await;
            instances.push(victim);
        } else {
            victim.kill().await;
            instances.push(start(&world, &address, is_fenced));
        }
    }
    let said = || instances.iter().map(|instance| instance.said().other).collect::<Vec<_>>();
    // On a busy machine the rows of a hundred kills take longer than one wait may, but there must be more and more.
    let counted = Cell::new(0);
    while counted.get() < events {
        let before = counted.get();
        let is_more = async || {
            // To count 200 000 rows each few milliseconds would hold up those that insert them.
            sleep(Duration::from_millis(200)).await;
            counted.set(output.rows().await.unwrap().distinct);
            counted.get() > before
        };
        until_async(seeing(format!("more than {before} of {events} rows"), said), is_more).await;
    }
    for instance in instances {
        instance.stop().await;
    }
    if let Some(link) = link {
        println!("the answers to {} commits were lost", link.lost());
        assert!(link.lost() >= kills / 2, "{}", link.lost());
    }
    (output.rows().await.unwrap(), events)
}

fn patience(kills: usize) -> Duration {
    2 * PATIENCE + Duration::from_secs(5) * u32::try_from(kills).unwrap()
}

async fn rows_appear_exactly_once(storage: Storage) {
    let kills = kills();
    let (rows, events) = within(patience(kills), play(storage, true, kills)).await;
    println!("{rows:?} of {events} events after {kills} kills and suspensions");
    assert_eq!(rows, Rows { all: events, distinct: events });
}

/// The test of the test: without the fence, the same kills leave duplicates.
async fn without_the_fence_rows_appear_twice(storage: Storage) {
    let kills = kills();
    let (rows, events) = within(patience(kills), play(storage, false, kills)).await;
    println!("{rows:?} of {events} events after {kills} kills and suspensions, without a fence");
    assert!(rows.all > rows.distinct, "{rows:?}");
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_appear_exactly_once() {
        super::rows_appear_exactly_once(Storage::new_postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_the_fence_rows_appear_twice() {
        super::without_the_fence_rows_appear_twice(Storage::new_postgres().await).await;
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_appear_exactly_once() {
        super::rows_appear_exactly_once(Storage::new_sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_the_fence_rows_appear_twice() {
        super::without_the_fence_rows_appear_twice(Storage::new_sqlite()).await;
    }
}
