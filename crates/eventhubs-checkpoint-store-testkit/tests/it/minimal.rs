//! A store that has only the required methods passes the suite.

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Expected, MemoryCheckpointStore,
    OwnershipList, Result, async_trait,
};
use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};
use eventhubs_types::{ConsumerScope, PartitionId};

#[derive(Debug, Default)]
struct MinimalStore(MemoryCheckpointStore);

#[async_trait]
impl CheckpointStore for MinimalStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.0.list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        self.0.claim_ownership(scope, claim).await
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.0.checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.0.update_checkpoint(scope, checkpoint, expected).await
    }
}

conformance_tests!(
    async |place: Place| place.shared(MinimalStore::default),
    Capabilities::all().without_durability().without_fence().without_watch().without_deletion()
);
