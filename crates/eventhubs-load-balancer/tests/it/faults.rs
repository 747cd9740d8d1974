//! What a round makes of a store that is slow, fails, hangs, or changes under its feet.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use eventhubs_checkpoint_store::ErrorKind;
use eventhubs_load_balancer::{Balancer, LossReason, Operation, Round, Settings, defaults::MAX_IN_FLIGHT};
use eventhubs_types::PartitionId;
use tokio::time::{Instant, advance, sleep};

use crate::faulty_store::{Fault, FaultyStore};
use crate::setup::{balancer, greedy, overwrite, owned, owner, partition, partitions, records};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(57);
/// The resolution of tokio's clock.
const TICK: Duration = Duration::from_millis(2);

fn operations(round: &Round) -> Vec<Operation> {
    round.failures.iter().map(|failure| failure.operation.clone()).collect()
}

fn all_expired(hub: &[PartitionId]) -> Vec<(PartitionId, LossReason)> {
    hub.iter().map(|partition| (partition.clone(), LossReason::Expired)).collect()
}

/// Runs rounds at their delays until one of them loses something; gives that round and when it ended.
async fn until_loss(balancer: &mut Balancer, hub: &[PartitionId]) -> (Round, Instant) {
    loop {
        sleep(balancer.next_delay()).await;
        let round = balancer.round(hub).await;
        if !round.lost.is_empty() {
            return (round, Instant::now());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_hangs_ends_at_its_limit_and_loses_nothing() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().lists = Some(Fault::Hangs);
    let start = Instant::now();
    let round = balancer.round(&hub).await;
    assert!(start.elapsed() <= 10 * SECOND + TICK);
    assert_eq!(operations(&round), [Operation::ListOwnership]);
    assert_eq!(round.failures[0].error.kind(), ErrorKind::Timeout);
    assert!(round.lost.is_empty());
    assert_eq!(owned(&balancer).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn claims_that_hang_end_with_the_round_and_lose_nothing() {
    let (store, hub) = (FaultyStore::new(), partitions(200));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    advance(INTERVAL).await;
    store.script().claims = Some(Fault::Hangs);
    let start = Instant::now();
    let round = balancer.round(&hub).await;
    assert!(start.elapsed() <= 15 * SECOND + TICK);
    assert!(round.lost.is_empty() && owned(&balancer).len() == 200);
    assert_eq!(operations(&round).last(), Some(&Operation::Round), "what was not sent is told in one piece");
    assert_eq!(round.failures.len(), 3 * MAX_IN_FLIGHT + 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_sixteen_claims_are_in_flight() {
    let (store, hub) = (FaultyStore::new(), partitions(200));
    store.script().claims = Some(Fault::Slow(SECOND / 10));
    let mut balancer = balancer(&store, "a", &greedy());
    assert_eq!(balancer.round(&hub).await.acquired.len(), 200);
    assert_eq!(store.script().peak, MAX_IN_FLIGHT);
}

#[tokio::test(start_paused = true)]
async fn a_store_outage_loses_all_when_the_leases_run_out_and_not_before() {
    for fault in [Fault::Hangs, Fault::FailsBefore] {
        let (store, hub) = (FaultyStore::new(), partitions(4));
        let mut balancer = balancer(&store, "a", &greedy());
        balancer.round(&hub).await;
        let renewed = Instant::now();
        store.script().lists = Some(fault.clone());
        store.script().claims = Some(fault);
        let (round, at) = until_loss(&mut balancer, &hub).await;
        assert_eq!(round.lost, all_expired(&hub));
        assert!((LEASE..=LEASE + TICK).contains(&(at - renewed)), "{:?}", at - renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_under_way_ends_when_a_lease_runs_out_and_tells_it() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    let renewed = Instant::now();
    store.script().lists = Some(Fault::Hangs);
    advance(50 * SECOND).await;
    assert_eq!(balancer.round(&hub).await.lost, all_expired(&hub));
    assert!((LEASE..=LEASE + TICK).contains(&renewed.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_all_is_acquired_again() {
    let (store, hub) = (FaultyStore::new(), partitions(4));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().lists = Some(Fault::FailsBefore);
    until_loss(&mut balancer, &hub).await;
    store.script().lists = None;
    assert_eq!(balancer.round(&hub).await.acquired, hub);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_everybody_gets_back_what_it_had_whoever_comes_first() {
    for store in [FaultyStore::new(), FaultyStore::with_clock()] {
        let hub = partitions(11);
        let mut fleet = ["a", "b", "c"].map(|name| balancer(&store, name, &Settings::default()));
        for _ in 0..6 {
            for balancer in &mut fleet {
                balancer.round(&hub).await;
            }
        }
        let before = fleet.each_ref().map(owned);
        assert_eq!(before.iter().flatten().count(), 11, "{before:?}");
        store.script().lists = Some(Fault::FailsBefore);
        for _ in 0..30 {
            advance(INTERVAL).await;
            for balancer in &mut fleet {
                balancer.round(&hub).await;
            }
        }
        assert!(fleet.iter().all(|balancer| owned(balancer).is_empty()));
        store.script().lists = None;
        for balancer in &mut fleet {
            advance(INTERVAL / 2).await;
            balancer.round(&hub).await;
        }
        assert_eq!(fleet.each_ref().map(owned), before, "in one round each");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_comes_back_for_after_an_outage_is_taken_a_little_later() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(4));
    for id in &hub[..2] {
        overwrite(&*store, id, Some("dead")).await;
    }
    let mut balancer = balancer(&store, "a", &Settings::default());
    for _ in 0..3 {
        balancer.round(&hub).await;
    }
    store.script().lists = Some(Fault::FailsBefore);
    until_loss(&mut balancer, &hub).await;
    advance(300 * SECOND).await;
    store.script().lists = None;
    assert!(balancer.round(&hub).await.acquired.iter().eq(&hub[2..]));
    advance(2 * INTERVAL).await;
    balancer.round(&hub).await;
    assert_eq!(owned(&balancer).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_lease_goes_by_unnoticed() {
    let (store, hub) = (FaultyStore::new(), partitions(4));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().lists = Some(Fault::FailsBefore);
    for _ in 0..4 {
        advance(INTERVAL).await;
        assert_eq!(operations(&balancer.round(&hub).await), [Operation::ListOwnership]);
    }
    store.script().lists = None;
    advance(INTERVAL).await;
    let round = balancer.round(&hub).await;
    assert!(round.lost.is_empty() && round.acquired.is_empty() && round.failures.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_renewals_fail_is_lost_alone() {
    let (store, hub) = (FaultyStore::new(), partitions(3));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().poisoned = Some(partition(1));
    let (round, _) = until_loss(&mut balancer, &hub).await;
    assert_eq!(round.lost, [(partition(1), LossReason::Expired)]);
    assert_eq!(owned(&balancer), [partition(0), partition(2)].into());
}

#[tokio::test(start_paused = true)]
async fn a_claim_with_a_lost_answer_counts_once_the_next_listing_shows_it() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    store.script().claims = Some(Fault::FailsAfter);
    let round = balancer.round(&hub).await;
    assert!(round.acquired.is_empty() && owned(&balancer).is_empty());
    assert_eq!(round.failures.len(), 2);
    store.script().claims = None;
    assert_eq!(balancer.round(&hub).await.acquired, hub);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_with_a_lost_answer_keeps_the_partition() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().claims = Some(Fault::FailsAfter);
    advance(INTERVAL).await;
    let round = balancer.round(&hub).await;
    assert_eq!(round.failures.len(), 2);
    store.script().claims = None;
    advance(INTERVAL).await;
    let round = balancer.round(&hub).await;
    assert!(round.lost.is_empty() && round.acquired.is_empty() && round.failures.is_empty(), "{round:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_counts_from_the_last_renewal_that_is_known_to_be_won() {
    let (store, hub) = (FaultyStore::new(), partitions(1));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    let renewed = Instant::now();
    store.script().claims = Some(Fault::FailsAfter);
    let (_, at) = until_loss(&mut balancer, &hub).await;
    assert!((LEASE..=LEASE + TICK).contains(&(at - renewed)), "{:?}", at - renewed);
}

#[tokio::test(start_paused = true)]
async fn a_lease_counts_from_before_its_renewal_was_sent() {
    let (store, hub) = (FaultyStore::new(), partitions(1));
    store.script().claims = Some(Fault::Slow(4 * SECOND));
    let mut balancer = balancer(&store, "a", &greedy());
    let sent = Instant::now();
    balancer.round(&hub).await;
    store.script().lists = Some(Fault::FailsBefore);
    let (_, at) = until_loss(&mut balancer, &hub).await;
    assert!((LEASE..=LEASE + TICK).contains(&(at - sent)), "{:?}", at - sent);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_process_loses_its_partitions_before_it_asks_the_store() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    advance(600 * SECOND).await;
    store.script().lists = Some(Fault::Hangs);
    let start = Instant::now();
    assert_eq!(balancer.round(&hub).await.lost, all_expired(&hub));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(balancer.next_delay() < 2 * SECOND, "and asks soon after");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_another_owner_overtakes_is_lost_without_an_error() {
    let (store, hub) = (FaultyStore::new(), partitions(1));
    store.script().claims = Some(Fault::Overtaken("b"));
    let mut balancer = balancer(&store, "a", &greedy());
    let round = balancer.round(&hub).await;
    assert!(round.acquired.is_empty() && round.failures.is_empty() && round.lost.is_empty());
    assert_eq!(records(&store).await[0].owner, Some(owner("b")));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_another_owner_overtakes_loses_the_partition() {
    let (store, hub) = (FaultyStore::new(), partitions(1));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    advance(INTERVAL).await;
    store.script().claims = Some(Fault::Overtaken("b"));
    assert_eq!(balancer.round(&hub).await.lost, [(partition(0), LossReason::Taken)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_costs_no_partition() {
    let (store, hub) = (FaultyStore::new(), partitions(48));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().lists = Some(Fault::Slow(4 * SECOND));
    store.script().claims = Some(Fault::Slow(4 * SECOND));
    let start = Instant::now();
    while start.elapsed() < 1800 * SECOND {
        sleep(balancer.next_delay()).await;
        let round = balancer.round(&hub).await;
        assert!(
            round.lost.is_empty(),
            "those that were not renewed come first in the next round: {:?}",
            round.lost
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_ends_in_time_and_says_what_failed() {
    let (store, hub) = (FaultyStore::new(), partitions(40));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    store.script().claims = Some(Fault::Hangs);
    let start = Instant::now();
    let failures = balancer.release(&hub).await;
    assert!(start.elapsed() <= 15 * SECOND + TICK);
    assert_eq!(failures.len(), 40);
    assert!(matches!(failures[0].operation, Operation::Release(_)));
    store.script().lists = Some(Fault::Hangs);
    let failures = balancer.release(&hub).await;
    assert!(matches!(failures[..], [ref failure] if failure.operation == Operation::ListOwnership));
}

#[tokio::test(start_paused = true)]
async fn a_release_finds_what_an_earlier_answer_did_not_tell() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    advance(INTERVAL).await;
    store.script().claims = Some(Fault::FailsAfter);
    balancer.round(&hub).await;
    store.script().claims = None;
    assert!(balancer.release(&hub).await.is_empty());
    assert!(records(&store).await.iter().all(|record| record.owner.is_none()), "by its new version");
}

/// What the caller believes to own, if it does what the rounds say.
fn apply(believed: &mut BTreeSet<PartitionId>, round: Round) {
    for (partition, _) in round.lost {
        assert!(believed.remove(&partition), "{partition} was lost but never acquired");
    }
    for partition in round.acquired {
        assert!(believed.insert(partition.clone()), "{partition} was acquired twice");
    }
}

/// The output of the work, if it needs no more than so many polls.
async fn polled<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_round_dropped_at_any_await_is_told_by_the_next() {
    for polls in 1..40 {
        let (store, hub) = (FaultyStore::new(), partitions(20));
        store.script().lists = Some(Fault::Slow(SECOND / 100));
        store.script().claims = Some(Fault::Slow(SECOND / 100));
        let mut balancer = balancer(&store, "a", &greedy());
        let mut believed = BTreeSet::new();
        for turn in 0..6 {
            if let Some(round) = polled(polls, balancer.round(&hub)).await {
                apply(&mut believed, round);
            }
            if turn == 2 {
                overwrite(&store, &partition(3), Some("b")).await;
            }
            advance(INTERVAL).await;
        }
        apply(&mut believed, balancer.round(&hub).await);
        assert_eq!(believed, owned(&balancer), "dropped after {polls} polls");
        let ours = records(&store).await.into_iter().filter(|record| record.owner == Some(owner("a")));
        assert_eq!(believed, ours.map(|record| record.partition).collect(), "dropped after {polls} polls");
    }
}
