//! The simulated store: latency, errors, throttling, stale listings, outages.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, Expected,
    OwnershipList, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use crate::claim::{InstanceId, PartitionIndex, Write};
use crate::ledger::Ledger;
use crate::records::Records;
use crate::scenario::StoreModel;

/// When the clock of the store begins: on any day that no skew reaches the beginning of time from.
fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// The store that all instances share, and the ledger of what they do with it.
#[derive(Debug)]
pub(crate) struct World {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    records: Records,
    model: StoreModel,
    rng: StdRng,
    ledger: Ledger,
}

/// What a call meets.
#[derive(Debug, Clone, Copy)]
struct Fate {
    latency: Duration,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fails,
    FailsAfterEffect,
    Hangs,
    Throttled,
}

impl World {
    pub(crate) fn new(partitions: usize, model: StoreModel, seed: u64) -> Arc<Self> {
        let started = Instant::now();
        Arc::new(Self {
            started,
            state: Mutex::new(State {
                records: Records::new(partitions),
                model,
                rng: StdRng::seed_from_u64(seed),
                ledger: Ledger::new(partitions, started),
            }),
        })
    }

    /// From here on the store is as this model says.
    pub(crate) fn set_model(&self, model: StoreModel) {
        self.state().model = model;
    }

    pub(crate) fn ledger<T>(&self, with: impl FnOnce(&mut Ledger, Instant) -> T) -> T {
        with(&mut self.state().ledger, Instant::now())
    }

    /// The time by the clock of the store.
    pub(crate) fn clock(&self) -> SystemTime {
        epoch() + self.started.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // One thread plays a run, and a panic ends it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, is_claim: bool) -> Fate {
        let now = Instant::now();
        let State { model, rng, ledger, .. } = &mut *self.state();
        // Before this request counts, so that exactly `throttle_rps` get through in each second.
        let is_throttled =
            model.throttle_rps > 0 && ledger.requests_in_this_second(now) >= model.throttle_rps;
        ledger.request(now);
        let [least, most] = model.latency_ms;
        // Even on a logarithmic scale: most calls are fast, and a few take nearly the most.
        let latency = least * (most / least).powf(rng.random_range(0.0..=1.0));
        // Drawn for each call, also where it decides nothing, so that a change of the probabilities leaves
        // the later draws as they are.
        let dice = rng.random_range(0.0..1.0);
        let (hangs, fails) = (model.hangs, model.hangs + model.errors);
        let fault = if is_throttled {
            Some(Fault::Throttled)
        } else if dice < hangs {
            Some(Fault::Hangs)
        } else if dice < fails {
            Some(Fault::Fails)
        } else if is_claim && dice < fails + model.errors_after_effect {
            Some(Fault::FailsAfterEffect)
        } else {
            None
        };
        Fate { latency: millis(latency), fault }
    }

    fn list(&self) -> OwnershipList {
        let State { records, model, .. } = &*self.state();
        // Not before the start: tokio's clock cannot be asked for what was before it.
        let as_of = Instant::now() - millis(model.stale_ms).min(self.started.elapsed());
        let now = model.has_clock.then(|| whole_seconds(self.clock()));
        OwnershipList::new(records.list(as_of), now, Vec::new())
    }

    fn claim(&self, by: InstanceId, claim: &Claim) -> ClaimOutcome {
        let now = Instant::now();
        let modified = whole_seconds(self.clock());
        let State { records, ledger, model, .. } = &mut *self.state();
        let partition = index(&claim.partition);
        let expected = match &claim.expected {
            Expected::Absent => None,
            Expected::Version(version) => Some(number(version)),
        };
        let owner = claim.owner.as_ref().map(instance);
        let stale = millis(model.stale_ms);
        let won = records.swap(partition, claim, modified, now, stale);
        let version = won.as_ref().map_or(0, |record| number(&record.version));
        let [by, of, to] = [by, partition, owner.unwrap_or(usize::MAX)].map(|word| word as u64);
        ledger.trace.note(now - self.started, [by, of, to, version]);
        let Some(record) = won else {
            // Also a claim of an instance that lost against itself, by a retry after an answer that was lost.
            ledger.conflict();
            return ClaimOutcome::Lost;
        };
        let write = Write { partition, expected, version, owner };
        ledger.write(write, now);
        ClaimOutcome::Won(record)
    }
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1000.0)
}

/// Blob storage says times in whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(epoch()).expect("the clock of the store begins there");
    epoch() + Duration::from_secs(since.as_secs())
}

fn number(version: &Version) -> u64 {
    version.as_str().parse().expect("all versions are made here")
}

/// The number of a partition by its id.
pub(crate) fn index(partition: &PartitionId) -> PartitionIndex {
    partition.as_str().parse().expect("the ids of all partitions are numbers")
}

/// The id of a partition by its number.
pub(crate) fn partition(index: PartitionIndex) -> PartitionId {
    index.to_string().parse().expect("a number is an id")
}

/// The owner id of an instance.
pub(crate) fn owner(instance: InstanceId) -> OwnerId {
    format!("instance-{instance}").parse().expect("letters and digits are an id")
}

fn instance(owner: &OwnerId) -> InstanceId {
    let number = owner.as_str().strip_prefix("instance-");
    number.and_then(|number| number.parse().ok()).expect("all owner ids are made here")
}

/// The store as one instance calls it.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) world: Arc<World>,
    pub(crate) instance: InstanceId,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Handle {
    /// Half of the latency passes before the effect, half of it after.
    async fn call<T>(&self, is_claim: bool, effect: impl FnOnce() -> T) -> Result<T> {
        let Fate { latency, fault } = self.world.begin(is_claim);
        sleep(latency / 2).await;
        match fault {
            Some(Fault::Hangs) => pending().await,
            Some(Fault::Throttled) => return Err(throttled()),
            Some(Fault::Fails) => return Err(broken()),
            Some(Fault::FailsAfterEffect) | None => {}
        }
        let answer = effect();
        sleep(latency / 2).await;
        match fault {
            Some(_) => Err(broken()),
            None => Ok(answer),
        }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke")
}

fn throttled() -> Error {
    Error::new(ErrorKind::Throttled, "too many requests").with_retry_after(Duration::from_secs(1))
}

/// No balancer touches checkpoints; docs/contract.md §9 and property P9 want none of them listed.
fn no_checkpoints() -> Error {
    Error::new(ErrorKind::NotFound, "the simulated store keeps no checkpoints")
}

#[async_trait]
impl CheckpointStore for Handle {
    async fn list_ownership(&self, _: &ConsumerScope) -> Result<OwnershipList> {
        self.call(false, || self.world.list()).await
    }

    async fn claim_ownership(&self, _: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let outcome = self.call(true, || self.world.claim(self.instance, claim)).await;
        outcome.unwrap_or_else(ClaimOutcome::Failed)
    }

    async fn checkpoint(&self, _: &ConsumerScope, _: &PartitionId) -> Result<Option<Checkpoint>> {
        Err(no_checkpoints())
    }

    async fn update_checkpoint(
        &self,
        _: &ConsumerScope,
        _: &Checkpoint,
        _: &Expected,
    ) -> Result<CheckpointOutcome> {
        Err(no_checkpoints())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::instance::scope;

    const MINUTE: Duration = Duration::from_secs(60);

    fn store(model: StoreModel) -> Handle {
        Handle { world: World::new(2, model, 7), instance: 0 }
    }

    async fn claim(store: &Handle, expected: Expected) -> ClaimOutcome {
        store.world.ledger(|ledger, now| ledger.join(store.instance, now));
        let claim = Claim::new(partition(0), Some(owner(store.instance)), expected);
        store.claim_ownership(&scope(), &claim).await
    }

    async fn versions(store: &Handle) -> Vec<String> {
        let list = store.list_ownership(&scope()).await.unwrap();
        let versions = list.records.iter().map(|record| record.version.as_str().to_owned());
        versions.collect()
    }

    /// The kind of the error of a claim, and how many records there are then.
    async fn failing_claim(model: StoreModel) -> (ErrorKind, usize) {
        let store = store(model);
        let ClaimOutcome::Failed(error) = claim(&store, Expected::Absent).await else {
            panic!("it has to fail");
        };
        store.world.set_model(StoreModel::default());
        (error.kind(), versions(&store).await.len())
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_expect_the_same_one_wins() {
        let store = store(StoreModel::default());
        let other = Handle { instance: 1, ..store.clone() };
        let outcomes = tokio::join!(claim(&store, Expected::Absent), claim(&other, Expected::Absent));
        let won = |outcome: &ClaimOutcome| usize::from(matches!(outcome, ClaimOutcome::Won(_)));
        assert_eq!(won(&outcomes.0) + won(&outcomes.1), 1);
        assert_eq!(store.world.ledger(|ledger, now| ledger.close(now).conflicts), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_comes_before_the_effect_or_after_it() {
        let before = StoreModel { errors: 1.0, ..StoreModel::default() };
        assert_eq!(failing_claim(before).await, (ErrorKind::Unavailable, 0));
        let after = StoreModel { errors_after_effect: 1.0, ..StoreModel::default() };
        assert_eq!(failing_claim(after).await, (ErrorKind::Unavailable, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_never_answered() {
        let store = store(StoreModel { hangs: 1.0, ..StoreModel::default() });
        assert!(timeout(60 * MINUTE, versions(&store)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_too_many_in_a_second_is_refused_and_one_in_the_next_is_not() {
        let store = store(StoreModel { throttle_rps: 1, latency_ms: [1.0, 1.0], ..StoreModel::default() });
        assert_eq!(versions(&store).await.len(), 0);
        let error = store.list_ownership(&scope()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(versions(&store).await.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_listing_shows_what_was_there_before() {
        let store = store(StoreModel { stale_ms: 2000.0, ..StoreModel::default() });
        sleep(MINUTE).await;
        claim(&store, Expected::Absent).await;
        assert_eq!(versions(&store).await, [""; 0]);
        sleep(MINUTE).await;
        assert_eq!(versions(&store).await, ["1"]);
        claim(&store, Expected::Version(Version::new("1"))).await;
        assert_eq!(versions(&store).await, ["1"]);
        sleep(MINUTE).await;
        assert_eq!(versions(&store).await, ["2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_takes_a_time_between_the_least_and_the_most() {
        let store = store(StoreModel { latency_ms: [100.0, 400.0], ..StoreModel::default() });
        for _ in 0..50 {
            let begun = Instant::now();
            versions(&store).await;
            // Tokio's timer rounds each of the two halves up to a millisecond.
            assert!((100..=402).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        }
    }
}
