//! What the tests of the suite have in common: a store, scopes of their own, and claims.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, ErrorKind, Expected, Ownership,
    Version,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};

use crate::{Capabilities, Place, place};

type Opening = Pin<Box<dyn Future<Output = Arc<dyn CheckpointStore>>>>;
type Open = Arc<dyn Fn(Place) -> Opening + Send + Sync>;

/// Two handles on one store, and a scope in it that nobody used before.
#[derive(Clone)]
pub struct Scene {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) other: Arc<dyn CheckpointStore>,
    pub(crate) scope: ConsumerScope,
    pub(crate) capabilities: Capabilities,
    place: Place,
    open: Open,
}

impl Scene {
    /// Opens two handles on one unused place.
    pub async fn open<S, F>(
        open: impl Fn(Place) -> F + Send + Sync + 'static,
        capabilities: Capabilities,
    ) -> Self
    where
        S: CheckpointStore,
        F: Future<Output = S> + 'static,
    {
        let open = move |place| -> Opening {
            let opening = open(place);
            Box::pin(async { Arc::new(opening.await) as Arc<dyn CheckpointStore> })
        };
        Self::open_at(Place::unused(), Arc::new(open), unused_scope(), capabilities).await
    }

    async fn open_at(place: Place, open: Open, scope: ConsumerScope, capabilities: Capabilities) -> Self {
        let (store, other) = (open(place.clone()).await, open(place.clone()).await);
        Self { store, other, scope, capabilities, place, open }
    }

    /// Drops both handles, and opens the store again as a new process would.
    pub(crate) async fn restart(self) -> Self {
        let Self { store, other, scope, capabilities, place, open } = self;
        drop((store, other));
        place.restart();
        Self::open_at(place, open, scope, capabilities).await
    }

    /// The same scene, seen through the other handle.
    pub(crate) fn on_other_handle(&self) -> Self {
        let mut other = self.clone();
        std::mem::swap(&mut other.store, &mut other.other);
        other
    }

    /// The scene for one of several racers, who take the handles in turn.
    pub(crate) fn on_handle(&self, racer: i64) -> Self {
        if racer % 2 == 0 { self.clone() } else { self.on_other_handle() }
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

    /// All ownership records, sorted by partition. Both handles must show the same ones.
    pub(crate) async fn records(&self) -> Vec<Ownership> {
        let records = self.records_of_one_handle().await;
        let others = self.on_other_handle().records_of_one_handle().await;
        assert_eq!(records, others, "a write that was answered is visible on each handle");
        records
    }

    /// For the time after a write that was dropped: it may still come between two listings.
    pub(crate) async fn records_of_one_handle(&self) -> Vec<Ownership> {
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
        let other = self.other.checkpoint(&self.scope, &self::partition(partition)).await;
        let other = other.expect("a checkpoint can be read");
        assert_eq!(one, other, "a checkpoint that was written is visible on each handle");
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

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene")
            .field("store", &self.store)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

fn unused_scope() -> ConsumerScope {
    ConsumerScope::new(
        "testkit.example.net".parse().expect("a valid namespace"),
        format!("hub-{:016x}", place::unique()).parse().expect("a valid event hub"),
        "group".parse().expect("a valid consumer group"),
    )
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
