//! What the tests of the suite have in common: a store, scopes of their own, and claims.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, ErrorKind, Expected, Ownership,
    Version,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};

/// A store, and a scope in it that nobody used before.
#[derive(Debug, Clone)]
pub struct Scene {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) scope: ConsumerScope,
}

impl Scene {
    /// A scope of its own in the store.
    pub fn new(store: impl CheckpointStore) -> Self {
        // The keys of a `RandomState` differ in each thread and process, which is all that is needed here.
        let unique = RandomState::new().hash_one("scope");
        let scope = ConsumerScope::new(
            "testkit.example.net".parse().expect("a valid namespace"),
            format!("hub-{unique:016x}").parse().expect("a valid event hub"),
            "group".parse().expect("a valid consumer group"),
        );
        Self { store: Arc::new(store), scope }
    }

    /// The same store, seen through another scope.
    pub(crate) fn with_scope(&self, change: impl FnOnce(&mut ConsumerScope)) -> Self {
        let mut other = self.clone();
        change(&mut other.scope);
        other
    }

    pub(crate) async fn try_claim(
        &self,
        partition: &str,
        owner: Option<&str>,
        expected: Expected,
    ) -> ClaimOutcome {
        let claim = Claim::new(self::partition(partition), owner.map(self::owner), expected);
        self.store.claim_ownership(&self.scope, &claim).await
    }

    /// A claim that must be won, with the record it left.
    pub(crate) async fn claim(&self, partition: &str, owner: Option<&str>, expected: Expected) -> Ownership {
        match self.try_claim(partition, owner, expected).await {
            ClaimOutcome::Won(record) => {
                assert_eq!(record.partition.as_str(), partition, "the claimed partition");
                assert_eq!(record.owner.as_ref().map(OwnerId::as_str), owner, "the new owner");
                record
            }
            other => panic!("the claim of {partition:?} is won, not {other:?}"),
        }
    }

    pub(crate) async fn assert_claim_is_lost(
        &self,
        partition: &str,
        owner: Option<&str>,
        expected: Expected,
    ) {
        let outcome = self.try_claim(partition, owner, expected).await;
        assert!(matches!(outcome, ClaimOutcome::Lost), "the claim of {partition:?} is lost, not {outcome:?}");
    }

    /// All ownership records, sorted by partition.
    pub(crate) async fn records(&self) -> Vec<Ownership> {
        let list = self.store.list_ownership(&self.scope).await.expect("ownership can be listed");
        assert!(list.rejected.is_empty(), "a record the store wrote itself is readable: {:?}", list.rejected);
        let mut records = list.records;
        records.sort_by(|a, b| a.partition.cmp(&b.partition));
        records
    }

    /// The only ownership record of the scope.
    pub(crate) async fn only_record(&self) -> Ownership {
        let mut records = self.records().await;
        assert_eq!(records.len(), 1, "one record: {records:?}");
        records.remove(0)
    }

    pub(crate) async fn try_write(&self, checkpoint: &Checkpoint, expected: &Expected) -> CheckpointOutcome {
        let written = self.store.update_checkpoint(&self.scope, checkpoint, expected).await;
        written.expect("a checkpoint can be written")
    }

    /// A write that must be applied, with the version it left.
    pub(crate) async fn write(&self, checkpoint: &Checkpoint, expected: &Expected) -> Version {
        match self.try_write(checkpoint, expected).await {
            CheckpointOutcome::Written(version) => version,
            other => panic!("the checkpoint is written, not {other:?}"),
        }
    }

    pub(crate) async fn assert_write_conflicts(&self, checkpoint: &Checkpoint, expected: &Expected) {
        let outcome = self.try_write(checkpoint, expected).await;
        assert_eq!(outcome, CheckpointOutcome::Conflict, "the write of {checkpoint:?}");
    }

    /// The checkpoint of a partition, which both ways of reading must agree on.
    pub(crate) async fn read(&self, partition: &str) -> Option<Checkpoint> {
        let one = self.store.checkpoint(&self.scope, &self::partition(partition)).await;
        let one = one.expect("a checkpoint can be read");
        if let Some(listed) = self.listed().await {
            let listed = listed.into_iter().find(|other| other.partition.as_str() == partition);
            assert_eq!(one, listed, "reading one checkpoint and listing all agree");
        }
        one
    }

    /// The checkpoints of these partitions, which are all that there are: listed, or read one by one where
    /// the store cannot list.
    pub(crate) async fn checkpoints(&self, partitions: impl IntoIterator<Item = String>) -> Vec<Checkpoint> {
        if let Some(listed) = self.listed().await {
            return listed;
        }
        let mut found = Vec::new();
        for id in partitions {
            let one = self.store.checkpoint(&self.scope, &partition(&id)).await;
            found.extend(one.expect("a checkpoint can be read"));
        }
        found
    }

    /// `None` where the store does not have this operation, which is optional.
    async fn listed(&self) -> Option<Vec<Checkpoint>> {
        match self.store.list_checkpoints(&self.scope).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            listed => Some(listed.expect("checkpoints can be listed")),
        }
    }
}

pub(crate) fn partition(id: &str) -> PartitionId {
    id.parse().expect("a valid partition id")
}

pub(crate) fn owner(id: &str) -> OwnerId {
    id.parse().expect("a valid owner id")
}

pub(crate) fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}
