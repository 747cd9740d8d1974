//! The store with faults: it passes the suite without them, and each fault is what it says.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{
    Audience, CheckpointStore, Claim, ClaimOutcome, ErrorKind, Expected, MemoryCheckpointStore, Ownership,
};
use eventhubs_checkpoint_store_testkit::{Faults, FaultyStore, Place};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use crate::defect::Defect;
use crate::defective::DefectiveStore;
use crate::opener;

/// On a store with all capabilities and below an `Arc`, so that a method that either does not pass on is missed.
mod without_faults {
    use super::*;

    eventhubs_checkpoint_store_testkit::conformance_tests!(open());

    fn open() -> impl Fn(Place) -> Ready<FaultyStore<Arc<DefectiveStore>>> {
        let open = opener(Defect::None);
        move |place| ready(FaultyStore::new(Arc::new(open(place).into_inner()), 7))
    }
}

fn store(faults: Faults) -> FaultyStore<MemoryCheckpointStore> {
    let store = FaultyStore::new(MemoryCheckpointStore::new(), 7);
    store.set_faults(faults);
    store
}

fn scope() -> ConsumerScope {
    ConsumerScope::new("ns".parse().unwrap(), "hub".parse().unwrap(), "group".parse().unwrap())
}

fn claim(number: usize) -> Claim {
    let partition = PartitionId::new(number.to_string()).unwrap();
    Claim::new(partition, Some(OwnerId::new("a").unwrap()), Expected::Absent)
}

async fn records(store: &impl CheckpointStore) -> Vec<Ownership> {
    store.list_ownership(&scope()).await.unwrap().records
}

fn kind(outcome: &ClaimOutcome) -> Option<ErrorKind> {
    match outcome {
        ClaimOutcome::Failed(error) => Some(error.kind()),
        _ => None,
    }
}

#[test]
fn the_number_of_claims_at_once_is_passed_on() {
    let inner = opener(Defect::None)(Place::unused()).into_inner();
    assert_eq!(FaultyStore::new(Arc::new(inner), 7).max_claims(), 500);
}

#[tokio::test]
async fn an_error_before_the_effect_writes_nothing() {
    let store = store(Faults::none().errors_before(1_000));
    let outcome = store.claim_ownership(&scope(), &claim(0)).await;
    assert_eq!(kind(&outcome), Some(ErrorKind::Unavailable));
    assert_eq!((records(store.inner()).await.len(), store.injected()), (0, 1));
}

#[tokio::test]
async fn an_error_after_the_effect_has_written() {
    let store = store(Faults::none().errors_after(1_000));
    let outcome = store.claim_ownership(&scope(), &claim(0)).await;
    assert_eq!(kind(&outcome), Some(ErrorKind::Timeout));
    assert_eq!((records(store.inner()).await.len(), store.injected()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_after_its_time() {
    let store = store(Faults::none().hangs(1_000).hang(Duration::from_secs(9)));
    let start = Instant::now();
    let outcome = store.claim_ownership(&scope(), &claim(0)).await;
    assert_eq!((kind(&outcome), start.elapsed()), (Some(ErrorKind::Timeout), Duration::from_secs(9)));
    assert_eq!(records(store.inner()).await, []);
}

#[tokio::test(start_paused = true)]
async fn latency_is_within_its_range() {
    let range = Duration::from_millis(20)..=Duration::from_millis(80);
    let store = store(Faults::none().latency(range.clone()));
    let mut seen = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        store.list_ownership(&scope()).await.unwrap();
        seen.push(start.elapsed());
    }
    let tick = Duration::from_millis(1);
    assert!(seen.iter().all(|time| *range.start() <= *time && *time <= *range.end() + tick), "{seen:?}");
    assert!(seen.iter().max() > seen.iter().min().map(|least| *least + tick).as_ref(), "{seen:?}");
}

#[tokio::test]
async fn some_claims_at_once_fail_and_the_others_have_their_outcomes() {
    let store = store(Faults::none().errors_before(300).errors_after(300));
    let claims: Vec<_> = (0..100).map(claim).collect();
    let outcomes = store.claim_all(&scope(), &claims).await;
    assert_eq!(outcomes.len(), claims.len());
    let written = records(store.inner()).await;
    for (claim, outcome) in claims.iter().zip(&outcomes) {
        let is_written = written.iter().any(|record| record.partition == claim.partition);
        match kind(outcome) {
            None => assert!(matches!(outcome, ClaimOutcome::Won(won) if won.partition == claim.partition)),
            Some(kind) => assert_eq!(is_written, kind == ErrorKind::Timeout, "{outcome:?}"),
        }
    }
    let failed = outcomes.iter().filter_map(kind).count();
    assert!((20..80).contains(&failed), "{failed} of 100 fail, by these chances 51");
}

#[tokio::test]
async fn a_stale_list_is_the_one_before() {
    let store = store(Faults::none());
    assert_eq!(records(&store).await, []);
    store.claim_ownership(&scope(), &claim(0)).await;
    store.set_faults(Faults::none().stale_lists(1_000));
    assert_eq!(records(&store).await, [], "stale by one listing");
    assert_eq!(records(&store).await.len(), 1, "and by no more than one");
}

#[tokio::test]
async fn hints_can_be_missed() {
    let store = store(Faults::none().missed_hints(1_000));
    let mut hints = store.watch(&scope());
    store.claim_ownership(&scope(), &claim(0).announcing(Audience::Everyone)).await;
    assert_eq!(hints.next().now_or_never(), None);
    store.set_faults(Faults::none());
    store.claim_ownership(&scope(), &claim(1).announcing(Audience::Everyone)).await;
    assert_eq!(hints.next().await.unwrap().partition.as_str(), "1");
}

#[tokio::test]
async fn a_seed_draws_the_same_faults_again() {
    async fn fates(seed: u64) -> Vec<Option<ErrorKind>> {
        let store = FaultyStore::new(MemoryCheckpointStore::new(), seed);
        store.set_faults(Faults::none().errors_before(300).errors_after(300));
        let claims: Vec<_> = (0..50).map(claim).collect();
        store.claim_all(&scope(), &claims).await.iter().map(kind).collect()
    }
    assert_eq!(fates(1).await, fates(1).await);
    assert_ne!(fates(1).await, fates(2).await);
}
