//! A store around another one that fails, hangs and answers late by chance, for tests of what uses a store.

mod faults;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Error,
    ErrorKind, Expected, Fenced, Hint, OwnershipList, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, PartitionId};
use futures_util::StreamExt as _;

use crate::random::Random;
pub use faults::Faults;

/// How many scopes the last listing is kept of; those of further scopes are never stale.
const MAX_STALE: usize = 64;

/// A store that has the faults which [`Faults`] tells, and otherwise does as the store within.
///
/// All methods are passed on, those with a default included. The same seed draws the same faults, as long as
/// the calls come in the same order.
///
/// ```
/// use eventhubs_checkpoint_store::{CheckpointStore, MemoryCheckpointStore};
/// use eventhubs_checkpoint_store_testkit::{Faults, FaultyStore};
/// # use eventhubs_types::ConsumerScope;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scope = ConsumerScope::new("ns.example.net".parse()?, "hub".parse()?, "group".parse()?);
/// let store = FaultyStore::new(MemoryCheckpointStore::new(), 7);
/// assert!(store.list_ownership(&scope).await.is_ok());
///
/// store.set_faults(Faults::none().errors_before(1_000));
/// let error = store.list_ownership(&scope).await.unwrap_err();
/// assert!(error.is_transient());
/// # Ok(())
/// # }
/// ```
pub struct FaultyStore<S> {
    inner: S,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    faults: Faults,
    injected: u64,
    /// The last listing of each scope.
    last_lists: BTreeMap<ConsumerScope, OwnershipList>,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    FailsBefore,
    FailsAfter,
    Hangs,
}

impl<S> FaultyStore<S> {
    /// A store without faults, until [`set_faults`](Self::set_faults).
    pub fn new(inner: S, seed: u64) -> Self {
        let random = Random::new(seed);
        let state = State { random, faults: Faults::none(), injected: 0, last_lists: BTreeMap::new() };
        Self { inner, state: Arc::new(Mutex::new(state)) }
    }

    /// The store within, which has no faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Sets the faults of the calls from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How many faults there were: latency is not counted. A test that shows what faults lead to asserts that
    /// there were some.
    pub fn injected(&self) -> u64 {
        self.state().injected
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> (Duration, Duration, Fate) {
        let mut state = self.state();
        let (latency, fate) = (state.latency(), state.fate());
        (latency, state.faults.hang, fate)
    }

    /// One call with the faults that it draws.
    async fn call<T>(&self, what: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (latency, hang, fate) = self.draw();
        tokio::time::sleep(latency).await;
        match fate {
            Fate::Answered => work.await,
            Fate::FailsBefore => Err(unreachable(what)),
            Fate::FailsAfter => {
                // Its own error is what the caller would not have heard either.
                let _lost_answer = work.await;
                Err(unanswered(what))
            }
            Fate::Hangs => {
                tokio::time::sleep(hang).await;
                Err(unanswered(what))
            }
        }
    }
}

impl State {
    fn latency(&mut self) -> Duration {
        let range = self.faults.latency.clone();
        let span = range.end().saturating_sub(*range.start());
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX - 1);
        *range.start() + Duration::from_micros(self.random.below(micros.saturating_add(1)))
    }

    fn fate(&mut self) -> Fate {
        let faults = [
            (self.faults.errors_before, Fate::FailsBefore),
            (self.faults.errors_after, Fate::FailsAfter),
            (self.faults.hangs, Fate::Hangs),
        ];
        for (chance, fate) in faults {
            if self.happens(chance) {
                return fate;
            }
        }
        Fate::Answered
    }

    fn happens(&mut self, per_mille: u16) -> bool {
        let happens = self.random.happens(per_mille);
        self.injected += u64::from(happens);
        happens
    }

    /// Takes in a listing, and gives that one or the one before.
    fn list(&mut self, scope: &ConsumerScope, list: OwnershipList) -> OwnershipList {
        if !self.last_lists.contains_key(scope) && self.last_lists.len() >= MAX_STALE {
            return list;
        }
        let before = self.last_lists.insert(scope.clone(), list.clone());
        let stale_lists = self.faults.stale_lists;
        before.filter(|_| self.happens(stale_lists)).unwrap_or(list)
    }
}

fn unreachable(what: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: a fault of the test before the effect"))
}

fn unanswered(what: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, format!("{what}: a fault of the test, the effect is not known"))
}

impl<S: fmt::Debug> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: CheckpointStore> CheckpointStore for FaultyStore<S> {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let list = self.call("list ownership", self.inner.list_ownership(scope)).await?;
        Ok(self.state().list(&scope.to_lowercase(), list))
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let work = async { Ok(self.inner.claim_ownership(scope, claim).await) };
        self.call("claim", work).await.unwrap_or_else(ClaimOutcome::Failed)
    }

    fn max_claims(&self) -> usize {
        self.inner.max_claims()
    }

    /// Each claim draws a fate of its own, so that some of them fail; one that hangs delays them all.
    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let drawn: Vec<_> = claims.iter().map(|_| self.draw()).collect();
        tokio::time::sleep(drawn.iter().map(|(latency, ..)| *latency).max().unwrap_or_default()).await;
        let reaches = |fate| matches!(fate, Fate::Answered | Fate::FailsAfter);
        // One call for all that reach the store, as it would have been without the faults.
        let reaching = claims.iter().zip(&drawn).filter(|(_, (_, _, fate))| reaches(*fate));
        let reaching: Vec<_> = reaching.map(|(claim, _)| claim.clone()).collect();
        let mut answers = self.inner.claim_all(scope, &reaching).await.into_iter();
        if let Some((_, hang, _)) = drawn.iter().find(|(_, _, fate)| *fate == Fate::Hangs) {
            tokio::time::sleep(*hang).await;
        }
        let outcome = |(_, _, fate): &(_, _, Fate)| {
            let answer = if reaches(*fate) { answers.next() } else { None };
            match (fate, answer) {
                (Fate::Answered, Some(answer)) => answer,
                (Fate::FailsBefore, _) => ClaimOutcome::Failed(unreachable("claims at once")),
                _ => ClaimOutcome::Failed(unanswered("claims at once")),
            }
        };
        drawn.iter().map(outcome).collect()
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        self.call("fence", self.inner.fence(scope, partition)).await
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let state = Arc::clone(&self.state);
        let hints = self.inner.watch(scope).filter(move |_| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let missed_hints = state.faults.missed_hints;
            ready(!state.happens(missed_hints))
        });
        hints.boxed()
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.call("read a checkpoint", self.inner.checkpoint(scope, partition)).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.call("write a checkpoint", self.inner.update_checkpoint(scope, checkpoint, expected)).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        self.call("list checkpoints", self.inner.list_checkpoints(scope)).await
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        self.call("delete a checkpoint", self.inner.delete_checkpoint(scope, partition, version)).await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        self.call("delete an ownership record", self.inner.delete_ownership(scope, partition, version)).await
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        self.call("list scopes", self.inner.list_scopes()).await
    }
}
