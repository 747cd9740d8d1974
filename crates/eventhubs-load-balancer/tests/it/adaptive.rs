//! The default strategy: bounded growth, lazy renewals, and fewer listings when all is calm.

use std::time::Duration;

use eventhubs_checkpoint_store::ErrorKind;
use eventhubs_load_balancer::{Balancer, Settings};
use eventhubs_types::PartitionId;
use tokio::time::{Instant, advance, sleep};

use crate::faulty_store::{Fault, FaultyStore};
use crate::setup::{balancer, overwrite, owned, partition, partitions};

const SECOND: Duration = Duration::from_secs(1);
const EXPIRY: Duration = Duration::from_secs(60);

/// Runs rounds at their delays for this long.
async fn run(balancer: &mut Balancer, hub: &[PartitionId], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(balancer.next_delay()).await;
        balancer.round(hub).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_alone_doubles_what_it_has_and_soon_has_all() {
    let (store, hub) = (FaultyStore::new(), partitions(20));
    let mut balancer = balancer(&store, "a", &Settings::default());
    for count in [1, 2, 4, 8, 16, 20] {
        balancer.round(&hub).await;
        assert_eq!(owned(&balancer).len(), count);
        assert_eq!(balancer.next_delay() < SECOND, count < 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_steals_no_more_than_it_has_and_stops_at_its_share() {
    let (store, hub) = (FaultyStore::new(), partitions(20));
    for id in &hub {
        overwrite(&store, id, Some("b")).await;
    }
    let mut balancer = balancer(&store, "a", &Settings::default());
    for count in [1, 2, 4, 8, 10, 10] {
        balancer.round(&hub).await;
        assert_eq!(owned(&balancer).len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_soon_run_again_but_not_for_ever() {
    let (store, hub) = (FaultyStore::new(), partitions(1));
    overwrite(&store, &partition(0), Some("b")).await;
    store.script().unreadable = Some(partition(0));
    let mut balancer = balancer(&store, "a", &Settings::default());
    let mut hurries = Vec::new();
    for _ in 0..5 {
        balancer.round(&hub).await;
        hurries.push(balancer.next_delay() < SECOND);
    }
    assert_eq!(hurries, [true, true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_only_when_two_fifths_of_the_expiry_are_over() {
    let (store, hub) = (FaultyStore::new(), partitions(4));
    let mut balancer = balancer(&store, "a", &Settings::default());
    run(&mut balancer, &hub, 30 * SECOND).await;
    let before = store.script().claimed;
    run(&mut balancer, &hub, 3600 * SECOND).await;
    let renewals = store.script().claimed - before;
    assert!((400..=600).contains(&renewals), "{renewals} of 4 partitions in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_calm_instance_lists_less_often_but_loses_nothing() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(5));
    for id in 1..5 {
        overwrite(&store, &partition(id), Some(["b", "c", "d", "e"][id - 1])).await;
    }
    let mut balancer = balancer(&store, "a", &Settings::default());
    let start = Instant::now();
    let mut listed = Vec::new();
    while start.elapsed() < 1200 * SECOND {
        for id in 1..5 {
            overwrite(&store, &partition(id), Some(["b", "c", "d", "e"][id - 1])).await;
        }
        let round = balancer.round(&hub).await;
        assert!(round.lost.is_empty());
        listed.push(balancer.next_delay());
        sleep(*listed.last().expect("just pushed")).await;
    }
    // Fifteen rounds at a fifth of the interval are quiet before it is calm.
    let calm = &listed[20..];
    let mean = calm.iter().sum::<Duration>() / u32::try_from(calm.len()).expect("a few");
    // A fifth of the interval with so few partitions, and four times that when calm, as there are four
    // others.
    assert!((7 * SECOND..=9 * SECOND).contains(&mean), "{mean:?}");
    assert_eq!(owned(&balancer).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_late_ends_the_calm_so_that_its_crash_is_seen_in_time() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(5));
    let mut balancer = balancer(&store, "a", &Settings::default());
    let names = ["b", "c", "d", "e"];
    let start = Instant::now();
    let mut crashed = None;
    loop {
        let alive = start.elapsed() < 300 * SECOND;
        for (id, name) in (1..5).zip(names) {
            if alive || name != "e" {
                overwrite(&store, &partition(id), Some(name)).await;
            }
        }
        if alive {
            crashed = Some(Instant::now());
        }
        balancer.round(&hub).await;
        if owned(&balancer).len() == 2 {
            break;
        }
        sleep(balancer.next_delay()).await;
    }
    let waited = crashed.expect("it was alive").elapsed();
    assert!((EXPIRY..=EXPIRY + 12 * SECOND).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_clock_in_the_store_an_instance_is_never_calm() {
    let (store, hub) = (FaultyStore::new(), partitions(5));
    let mut balancer = balancer(&store, "a", &Settings::default());
    for _ in 0..20 {
        for (id, name) in (1..5).zip(["b", "c", "d", "e"]) {
            overwrite(&store, &partition(id), Some(name)).await;
        }
        balancer.round(&hub).await;
        let delay = balancer.next_delay();
        assert!(delay <= 12 * SECOND, "{delay:?}");
        advance(delay).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_gets_the_time_that_it_asks_for() {
    let (store, hub) = (FaultyStore::new(), partitions(1));
    let mut balancer = balancer(&store, "a", &Settings::default());
    balancer.round(&hub).await;
    store.script().lists = Some(Fault::Throttles(25 * SECOND));
    let round = balancer.round(&hub).await;
    assert_eq!(round.failures[0].error.kind(), ErrorKind::Throttled);
    assert!(balancer.next_delay() >= 20 * SECOND);
}
