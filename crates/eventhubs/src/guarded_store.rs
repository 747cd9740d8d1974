//! The user's store, of which every call ends and none panics, and each is observed.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind,
    Expected, Fenced, Hint, OwnershipList, Result,
};
use eventhubs_types::{ConsumerScope, PartitionId, SequenceNumber};
use futures::future::{BoxFuture, ready};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, timeout};

use crate::board::Board;
use crate::hooks::guarded;
use crate::observe::Observation;
use crate::observers::Observers;

/// The longest that any call of a store may take. A store is to have a shorter limit of its own; this one
/// only keeps a store that has none from holding up a run for good.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// The shortest limit by which a call that is dropped counts as given up.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(50);

/// Turns a panic of the store, and a call that never ends, into an error.
///
/// A store is code of the user. Its panic would otherwise unwind through `receive`, which cuts off every
/// partition as a crash does.
pub(crate) struct GuardedStore {
    store: Arc<dyn CheckpointStore>,
    board: Arc<Board>,
    observers: Observers,
}

/// A call of the store.
#[derive(Debug, Clone, Copy, Default)]
struct Call<'a> {
    /// For messages.
    what: &'static str,
    /// The method.
    operation: &'static str,
    partition: Option<&'a PartitionId>,
    sequence_number: Option<SequenceNumber>,
}

impl GuardedStore {
    pub(crate) fn new(store: Arc<dyn CheckpointStore>, board: &Arc<Board>, observers: &Observers) -> Self {
        Self { store, board: Arc::clone(board), observers: observers.clone() }
    }

    /// The same store, for another client.
    pub(crate) fn observed_by(&self, board: &Arc<Board>, observers: &Observers) -> Self {
        Self::new(Arc::clone(&self.store), board, observers)
    }

    /// Calls the store. `error` finds what failed in the answer.
    async fn call<'a, T>(
        &'a self,
        call: Call<'_>,
        ask: impl FnOnce(&'a dyn CheckpointStore) -> BoxFuture<'a, T>,
        error: impl FnOnce(&T) -> Option<&Error>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut asked = Asked { store: self, call, begun, is_answered: false };
        let answer = match timeout(CALL_LIMIT, guarded(|| ask(&*self.store))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(panic)) => Err(Error::new(ErrorKind::Protocol, call.what).with_source(panic)),
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, format!("{}: no answer within {CALL_LIMIT:?}", call.what)))
            }
        };
        asked.is_answered = true;
        self.note(call, begun.elapsed(), answer.as_ref().map_or_else(Some, error));
        answer
    }

    fn note(&self, call: Call<'_>, duration: Duration, error: Option<&Error>) {
        match error {
            Some(error) => self.board.store_failed(error),
            None => self.board.store_answered(),
        }
        let Call { operation, partition, sequence_number, .. } = call;
        let observation = Observation::StoreCall { operation, partition, sequence_number, duration, error };
        self.observers.observe(&observation);
    }
}

/// A call that is under way. The balancer and the checkpoints have limits of their own, and drop a call that takes longer:
/// then it has failed too.
struct Asked<'a> {
    store: &'a GuardedStore,
    call: Call<'a>,
    begun: Instant,
    is_answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        // A younger one was not given up, but cut off by a stop.
        if !self.is_answered && waited >= GIVEN_UP_AFTER {
            let text = format!("{}: no answer within {waited:?}", self.call.what);
            self.store.note(self.call, waited, Some(&Error::new(ErrorKind::Timeout, text)));
        }
    }
}

#[async_trait]
impl CheckpointStore for GuardedStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let call =
            Call { what: "listing the ownership records", operation: "list_ownership", ..Call::default() };
        self.call(call, |store| store.list_ownership(scope), failed).await?
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let partition = Some(&claim.partition);
        let call =
            Call { what: "claiming a partition", operation: "claim_ownership", partition, ..Call::default() };
        let outcome = self.call(call, |store| store.claim_ownership(scope, claim), failed_claim).await;
        outcome.unwrap_or_else(ClaimOutcome::Failed)
    }

    fn max_claims(&self) -> usize {
        // It is asked before each round: a panic there would end the run.
        panic::catch_unwind(AssertUnwindSafe(|| self.store.max_claims())).unwrap_or(1)
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let call = Call { what: "claiming partitions", operation: "claim_all", ..Call::default() };
        match self.call(call, |store| store.claim_all(scope, claims), first_failed).await {
            Ok(outcomes) => outcomes,
            Err(error) => claims.iter().map(|_| ClaimOutcome::Failed(of_each(&error))).collect(),
        }
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        let call = Call {
            what: "beginning the ownership of a partition",
            operation: "fence",
            partition: Some(partition),
            ..Call::default()
        };
        self.call(call, |store| store.fence(scope, partition), failed).await?
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let watch = panic::catch_unwind(AssertUnwindSafe(|| self.store.watch(scope)));
        match watch {
            // A stream that panics is over: without hints, the rounds find all that they would tell.
            Ok(hints) => {
                let hints = AssertUnwindSafe(hints).catch_unwind();
                hints.filter_map(|hint| ready(hint.ok())).chain(stream::pending()).boxed()
            }
            Err(_) => stream::pending().boxed(),
        }
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        let call = Call {
            what: "reading a checkpoint",
            operation: "checkpoint",
            partition: Some(partition),
            ..Call::default()
        };
        self.call(call, |store| store.checkpoint(scope, partition), failed).await?
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let call = Call {
            what: "writing a checkpoint",
            operation: "update_checkpoint",
            partition: Some(&checkpoint.partition),
            sequence_number: checkpoint.sequence_number,
        };
        self.call(call, |store| store.update_checkpoint(scope, checkpoint, expected), failed).await?
    }
}

fn failed<T>(answer: &Result<T>) -> Option<&Error> {
    answer.as_ref().err()
}

#[expect(clippy::ptr_arg, reason = "it is passed as a function of what the store answers")]
fn first_failed(outcomes: &Vec<ClaimOutcome>) -> Option<&Error> {
    outcomes.iter().find_map(failed_claim)
}

fn failed_claim(outcome: &ClaimOutcome) -> Option<&Error> {
    match outcome {
        ClaimOutcome::Failed(error) => Some(error),
        _ => None,
    }
}

/// An error belongs to one claim.
fn of_each(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

impl fmt::Debug for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
