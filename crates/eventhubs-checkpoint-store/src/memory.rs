//! A store in memory, for tests and for instances within one process.

mod watchers;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use eventhubs_types::{ConsumerScope, PartitionId};
use futures_util::stream::BoxStream;

use crate::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Expected, Hint,
    Ownership, OwnershipList, Result, Version,
};
use watchers::Watchers;

/// A store in the memory of this process: its instances share it by cloning an `Arc`.
///
/// It has no clock and no fence, and everything is gone when the process ends. It watches: up to 64 hints wait
/// for each watcher that does not read, and it misses the others.
#[derive(Debug, Default)]
pub struct MemoryCheckpointStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_version: u64,
    scopes: BTreeMap<ConsumerScope, Records>,
    watchers: Watchers,
}

#[derive(Debug, Default)]
struct Records {
    ownership: BTreeMap<PartitionId, Ownership>,
    checkpoints: BTreeMap<PartitionId, Checkpoint>,
}

impl MemoryCheckpointStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one insert, so a panic elsewhere cannot have left it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_version(&mut self) -> Version {
        self.last_version += 1;
        Version::new(self.last_version.to_string())
    }

    fn records(&mut self, scope: &ConsumerScope) -> &mut Records {
        self.scopes.entry(scope.to_lowercase()).or_default()
    }
}

fn is_as_expected(current: Option<&Version>, expected: &Expected) -> bool {
    match expected {
        Expected::Absent => current.is_none(),
        Expected::Version(version) => current == Some(version),
    }
}

#[async_trait]
impl CheckpointStore for MemoryCheckpointStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let records = self.state().records(scope).ownership.values().cloned().collect();
        Ok(OwnershipList::new(records, None, Vec::new()))
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let mut state = self.state();
        let version = state.next_version();
        let ownership = &mut state.records(scope).ownership;
        if !is_as_expected(ownership.get(&claim.partition).map(|record| &record.version), &claim.expected) {
            return ClaimOutcome::Lost;
        }
        let record = Ownership::new(claim.partition.clone(), claim.owner.clone(), version, None)
            .with_mark(claim.mark.clone());
        ownership.insert(claim.partition.clone(), record.clone());
        if let Some(audience) = &claim.announces_to {
            let hint = Hint::new(claim.partition.clone(), audience.clone());
            state.watchers.announce(&scope.to_lowercase(), &hint);
        }
        ClaimOutcome::Won(record)
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        self.state().watchers.watch(scope.to_lowercase())
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        Ok(self.state().records(scope).checkpoints.values().cloned().collect())
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        Ok(self.state().records(scope).checkpoints.get(partition).cloned())
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let mut state = self.state();
        let version = state.next_version();
        let checkpoints = &mut state.records(scope).checkpoints;
        let current = checkpoints.get(&checkpoint.partition).and_then(|record| record.version.as_ref());
        if !is_as_expected(current, expected) {
            return Ok(CheckpointOutcome::Conflict);
        }
        let record = checkpoint.clone().with_version(version.clone());
        checkpoints.insert(checkpoint.partition.clone(), record);
        Ok(CheckpointOutcome::Written(version))
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let mut state = self.state();
        let checkpoints = &mut state.records(scope).checkpoints;
        let has_version =
            checkpoints.get(partition).is_some_and(|record| record.version.as_ref() == Some(version));
        Ok(deleted(has_version && checkpoints.remove(partition).is_some()))
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let mut state = self.state();
        let ownership = &mut state.records(scope).ownership;
        let has_version = ownership.get(partition).is_some_and(|record| record.version == *version);
        Ok(deleted(has_version && ownership.remove(partition).is_some()))
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        let state = self.state();
        let has_records =
            |records: &Records| !records.ownership.is_empty() || !records.checkpoints.is_empty();
        let scopes = state.scopes.iter().filter(|(_, records)| has_records(records));
        Ok(scopes.map(|(scope, _)| scope.clone()).collect())
    }
}

fn deleted(is_deleted: bool) -> DeleteOutcome {
    if is_deleted { DeleteOutcome::Deleted } else { DeleteOutcome::Conflict }
}
