use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Expected, MemoryCheckpointStore,
    OwnershipList, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, PartitionId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Writes whatever is there (contract §9.4: the claims of JavaScript without an etag).
    Overwrites,
    /// Shows the first version forever.
    KeepsVersion,
    /// Takes a release for a deletion.
    ForgetsReleases,
    /// Ignores that a listing has a second page.
    ReadsOnePage,
    /// Lists by a prefix without its last slash.
    MixesGroups,
    /// Tells the time of a listing, but not when a record was written.
    HalfAClock,
}

/// The memory store with one defect.
#[derive(Debug)]
pub(crate) struct DefectiveStore {
    defect: Defect,
    inner: MemoryCheckpointStore,
    first_versions: Mutex<BTreeMap<PartitionId, Version>>,
}

impl DefectiveStore {
    pub(crate) fn new(defect: Defect) -> Self {
        Self { defect, inner: MemoryCheckpointStore::new(), first_versions: Mutex::default() }
    }

    fn scope(&self, scope: &ConsumerScope) -> ConsumerScope {
        let mut scope = scope.clone();
        if self.defect == Defect::MixesGroups {
            scope.consumer_group = "group".parse().expect("a valid group");
        }
        scope
    }

    async fn current(&self, scope: &ConsumerScope, partition: &PartitionId) -> Expected {
        let list = self.inner.list_ownership(scope).await.expect("memory never fails");
        let record = list.records.into_iter().find(|record| record.partition == *partition);
        record.map_or(Expected::Absent, |record| Expected::Version(record.version))
    }
}

#[async_trait]
impl CheckpointStore for DefectiveStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let mut list = self.inner.list_ownership(&self.scope(scope)).await?;
        match self.defect {
            Defect::ForgetsReleases => list.records.retain(|record| record.owner.is_some()),
            Defect::ReadsOnePage => list.records.truncate(100),
            Defect::HalfAClock => list.now = Some(SystemTime::UNIX_EPOCH),
            _ => {}
        }
        Ok(list)
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let scope = self.scope(scope);
        let mut claim = claim.clone();
        if self.defect == Defect::Overwrites {
            claim.expected = self.current(&scope, &claim.partition).await;
        }
        let mut outcome = self.inner.claim_ownership(&scope, &claim).await;
        if let (Defect::KeepsVersion, ClaimOutcome::Won(record)) = (self.defect, &mut outcome) {
            let mut first = self.first_versions.lock().expect("no test panics here");
            record.version = first.entry(claim.partition).or_insert(record.version.clone()).clone();
        }
        outcome
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        let mut checkpoints = self.inner.list_checkpoints(&self.scope(scope)).await?;
        if self.defect == Defect::ReadsOnePage {
            checkpoints.truncate(100);
        }
        Ok(checkpoints)
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.inner.checkpoint(&self.scope(scope), partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let scope = self.scope(scope);
        let current =
            self.inner.checkpoint(&scope, &checkpoint.partition).await?.and_then(|read| read.version);
        let current = current.map_or(Expected::Absent, Expected::Version);
        let expected = if self.defect == Defect::Overwrites { &current } else { expected };
        self.inner.update_checkpoint(&scope, checkpoint, expected).await
    }
}
