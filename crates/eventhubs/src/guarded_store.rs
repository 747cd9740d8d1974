//! The user's store, of which every call ends and none panics.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind,
    Expected, Fenced, Hint, OwnershipList, Result,
};
use eventhubs_types::{ConsumerScope, PartitionId};
use futures::future::{BoxFuture, ready};
use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use crate::hooks::guarded;

/// The longest that any call of a store may take. A store is to have a shorter limit of its own; this one
/// only keeps a store that has none from holding up a run for good.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Turns a panic of the store, and a call that never ends, into an error.
///
/// A store is code of the user. Its panic would otherwise unwind through `receive`, which cuts off every
/// partition as a crash does.
pub(crate) struct GuardedStore(pub(crate) Arc<dyn CheckpointStore>);

async fn call<'a, T>(what: &'static str, call: impl FnOnce() -> BoxFuture<'a, T>) -> Result<T> {
    match timeout(CALL_LIMIT, guarded(call)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(panic)) => Err(Error::new(ErrorKind::Protocol, what).with_source(panic)),
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("{what}: no answer within {CALL_LIMIT:?}"))),
    }
}

#[async_trait]
impl CheckpointStore for GuardedStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        call("listing the ownership records", || self.0.list_ownership(scope)).await?
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let outcome = call("claiming a partition", || self.0.claim_ownership(scope, claim)).await;
        outcome.unwrap_or_else(ClaimOutcome::Failed)
    }

    fn max_claims(&self) -> usize {
        // It is asked before each round: a panic there would end the run.
        panic::catch_unwind(AssertUnwindSafe(|| self.0.max_claims())).unwrap_or(1)
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        match call("claiming partitions", || self.0.claim_all(scope, claims)).await {
            Ok(outcomes) => outcomes,
            Err(error) => claims.iter().map(|_| ClaimOutcome::Failed(of_each(&error))).collect(),
        }
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        call("beginning the ownership of a partition", || self.0.fence(scope, partition)).await?
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let watch = panic::catch_unwind(AssertUnwindSafe(|| self.0.watch(scope)));
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
        call("reading a checkpoint", || self.0.checkpoint(scope, partition)).await?
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        call("writing a checkpoint", || self.0.update_checkpoint(scope, checkpoint, expected)).await?
    }
}

/// An error belongs to one claim.
fn of_each(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

impl fmt::Debug for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
