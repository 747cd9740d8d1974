//! A store that records the checkpoints of an instance, and when it gives up a partition.

use std::sync::Arc;

use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Expected, Fenced, Hint,
    OwnershipList, Result, async_trait,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};

use crate::{Deed, Recorder};

/// A store that an instance uses, with a record of what it does.
#[derive(Debug)]
pub struct RecordingStore<S> {
    store: S,
    owner: OwnerId,
    recorder: Arc<Recorder>,
}

impl<S> RecordingStore<S> {
    /// Records what this owner does with the store.
    pub fn new(store: S, owner: OwnerId, recorder: Arc<Recorder>) -> Self {
        Self { store, owner, recorder }
    }

    /// A claim in the name of nobody, or of another owner, lets that one read.
    fn record_release(&self, claim: &Claim) {
        if claim.owner.as_ref() != Some(&self.owner) {
            self.recorder.record(&claim.partition, Deed::Releases);
        }
    }
}

#[async_trait]
impl<S: CheckpointStore> CheckpointStore for RecordingStore<S> {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.store.list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        self.record_release(claim);
        self.store.claim_ownership(scope, claim).await
    }

    fn max_claims(&self) -> usize {
        self.store.max_claims()
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        for claim in claims {
            self.record_release(claim);
        }
        self.store.claim_all(scope, claims).await
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        self.recorder.record(partition, Deed::Looks);
        self.store.fence(scope, partition).await
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        self.store.watch(scope)
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.recorder.record(partition, Deed::Looks);
        self.store.checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.recorder.record(&checkpoint.partition, Deed::Writes);
        let outcome = self.store.update_checkpoint(scope, checkpoint, expected).await?;
        let number = checkpoint.sequence_number.and_then(|number| usize::try_from(number.value()).ok());
        let deed = match (&outcome, number) {
            (CheckpointOutcome::Written(_), Some(number)) => Deed::Checkpoint { number },
            _ => Deed::Refused,
        };
        self.recorder.record(&checkpoint.partition, deed);
        Ok(outcome)
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        self.store.list_checkpoints(scope).await
    }
}
