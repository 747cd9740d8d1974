//! The user's store, of which every call ends and none panics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, Expected,
    OwnershipList, Result,
};
use eventhubs_types::{ConsumerScope, PartitionId};
use futures::future::BoxFuture;
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

impl fmt::Debug for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
