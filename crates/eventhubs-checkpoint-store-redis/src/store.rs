//! The store: each operation is one script.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Expected,
    Hint, OwnershipList, Result, Version,
};
use eventhubs_types::{ConsumerScope, PartitionId};

use crate::names::Kind;
use crate::shared::Shared;
use crate::{checkpoints, ownership, scopes, watch};

/// How many claims one script tries; a call with more sends several scripts, one after the other. A script holds up
/// the server for as long as it runs, which is a few milliseconds with this many.
pub const MAX_CLAIMS: usize = 512;

/// Ownership and checkpoints in Redis or Valkey.
///
/// A clone is another handle on the same connections, which the last one closes when it is dropped.
///
/// # Fence
/// [`fence`](CheckpointStore::fence) reads the checkpoint and gives no token: there are no transactions of the
/// application that a token could go into. Redis has `MULTI`, but what an event leads to would have to be in the same
/// slot as the checkpoint, and a fail-over can take back what it has answered. Checkpoints together with output need
/// a SQL database.
#[derive(Clone)]
pub struct RedisCheckpointStore {
    shared: Arc<Shared>,
}

impl RedisCheckpointStore {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }
}

/// Hosts and ports, and no credential.
impl fmt::Debug for RedisCheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCheckpointStore")
            .field("servers", &format_args!("{}", self.shared.nodes))
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CheckpointStore for RedisCheckpointStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        ownership::list(&self.shared, scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let outcome = ownership::claim(&self.shared, scope, std::slice::from_ref(claim)).await.pop();
        outcome.unwrap_or(ClaimOutcome::Lost)
    }

    fn max_claims(&self) -> usize {
        MAX_CLAIMS
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let mut outcomes = Vec::with_capacity(claims.len());
        for some in claims.chunks(MAX_CLAIMS) {
            outcomes.extend(ownership::claim(&self.shared, scope, some).await);
        }
        outcomes
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        watch::start(&self.shared, scope)
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        checkpoints::read(&self.shared, scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        checkpoints::update(&self.shared, scope, checkpoint, expected).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        checkpoints::list(&self.shared, scope).await
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        checkpoints::delete(&self.shared, scope, Kind::Checkpoint, partition, version).await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        checkpoints::delete(&self.shared, scope, Kind::Ownership, partition, version).await
    }

    /// Walks over all keys of the database, within the time limit of one call.
    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        scopes::list(&self.shared).await
    }
}
