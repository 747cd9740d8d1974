//! What the tests of the suite have in common: a store, scopes of their own, and claims.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::str::FromStr;
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
        // Both are dropped before one is opened: a store may hold a lock on its file.
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

    /// The same scope, spelled differently.
    pub(crate) fn in_upper_case(&self) -> Self {
        fn upper<T: FromStr<Err: fmt::Debug>>(name: &impl fmt::Display) -> T {
            name.to_string().to_uppercase().parse().expect("valid in upper case too")
        }
        self.with_scope(|scope| {
            scope.namespace = upper(&scope.namespace);
            scope.event_hub = upper(&scope.event_hub);
            scope.consumer_group = upper(&scope.consumer_group);
        })
    }

    pub(crate) async fn try_claim(
        &self,
        partition: &str,
        owner: Option<&str>,
        expected: Expected,
    ) -> ClaimOutcome {
        self.store.claim_ownership(&self.scope, &claim_of(partition, owner, expected)).await
    }

    /// A claim that must be won, with the record it left.
    #[track_caller]
    pub(crate) fn claim(
        &self,
        partition: &str,
        owner: Option<&str>,
        expected: Expected,
    ) -> impl Future<Output = Ownership> {
        // An `async fn` cannot track its caller, so the location is taken before the future is made.
        let at = Location::caller();
        async move {
            match self.try_claim(partition, owner, expected).await {
                ClaimOutcome::Won(record) => {
                    assert_eq!(record.partition.as_str(), partition, "{at}: the claimed partition");
                    assert_eq!(record.owner.as_ref().map(OwnerId::as_str), owner, "{at}: the new owner");
                    record
                }
                other => panic!("{at}: the claim of {partition:?} is won, not {other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn assert_claim_is_lost(
        &self,
        partition: &str,
        owner: Option<&str>,
        expected: Expected,
    ) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let outcome = self.try_claim(partition, owner, expected).await;
            let is_lost = matches!(outcome, ClaimOutcome::Lost);
            assert!(is_lost, "{at}: the claim of {partition:?} is lost, not {outcome:?}");
        }
    }

    /// How many claims the suite passes to one call: as many as callers may.
    pub(crate) fn max_claims(&self) -> usize {
        self.store.max_claims().max(1)
    }

    /// Claims at once, in calls of as many claims as the store takes. Returns one outcome for each, in order.
    #[track_caller]
    pub(crate) fn claim_in_chunks(&self, claims: &[Claim]) -> impl Future<Output = Vec<ClaimOutcome>> {
        let at = Location::caller();
        async move {
            let mut outcomes = Vec::with_capacity(claims.len());
            for chunk in claims.chunks(self.max_claims()) {
                let some = self.store.claim_all(&self.scope, chunk).await;
                assert_eq!(some.len(), chunk.len(), "{at}: one outcome for each claim");
                outcomes.extend(some);
            }
            outcomes
        }
    }

    /// All ownership records, sorted by partition. Both handles must show the same ones.
    #[track_caller]
    pub(crate) fn records(&self) -> impl Future<Output = Vec<Ownership>> {
        let at = Location::caller();
        async move {
            let records = self.records_of_one_handle().await;
            let others = self.on_other_handle().records_of_one_handle().await;
            assert_eq!(records, others, "{at}: a write that was answered is visible on each handle");
            records
        }
    }

    /// For the time after a write that was dropped: it may still come between two listings.
    pub(crate) async fn records_of_one_handle(&self) -> Vec<Ownership> {
        let list = self.store.list_ownership(&self.scope).await.expect("ownership can be listed");
        assert!(list.rejected.is_empty(), "a record the store wrote itself is readable: {:?}", list.rejected);
        let mut records = list.records;
        records.sort_by(|a, b| a.partition.cmp(&b.partition));
        records
    }

    /// What a claim must expect to be won now.
    pub(crate) async fn expected_of(&self, partition: &str) -> Expected {
        let records = self.records_of_one_handle().await;
        let record = records.iter().find(|record| record.partition.as_str() == partition);
        record.map_or(Expected::Absent, version_of)
    }

    /// The only ownership record of the scope.
    #[track_caller]
    pub(crate) fn only_record(&self) -> impl Future<Output = Ownership> {
        let (at, records) = (Location::caller(), self.records());
        async move {
            let mut records = records.await;
            assert_eq!(records.len(), 1, "{at}: one record: {records:?}");
            records.remove(0)
        }
    }

    pub(crate) async fn try_write(&self, checkpoint: &Checkpoint, expected: &Expected) -> CheckpointOutcome {
        let written = self.store.update_checkpoint(&self.scope, checkpoint, expected).await;
        written.expect("a checkpoint can be written")
    }

    /// A write that must be applied, with the version it left.
    #[track_caller]
    pub(crate) fn write(
        &self,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> impl Future<Output = Version> {
        let at = Location::caller();
        async move {
            match self.try_write(checkpoint, expected).await {
                CheckpointOutcome::Written(version) => version,
                other => panic!("{at}: the checkpoint is written, not {other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn assert_write_conflicts(
        &self,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let outcome = self.try_write(checkpoint, expected).await;
            assert_eq!(outcome, CheckpointOutcome::Conflict, "{at}: the write of {checkpoint:?}");
        }
    }

    /// The checkpoint of a partition. Both handles and both ways of reading must show the same one.
    #[track_caller]
    pub(crate) fn read(&self, partition: &str) -> impl Future<Output = Option<Checkpoint>> {
        let at = Location::caller();
        async move {
            let id = self::partition(partition);
            let one = self.store.checkpoint(&self.scope, &id).await.expect("a checkpoint can be read");
            let other = self.other.checkpoint(&self.scope, &id).await.expect("a checkpoint can be read");
            assert_eq!(one, other, "{at}: a checkpoint that was written is visible on each handle");
            if let Some(listed) = self.listed().await {
                let listed = listed.into_iter().find(|other| other.partition == id);
                assert_eq!(one, listed, "{at}: reading one checkpoint and listing all agree");
            }
            one
        }
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

pub(crate) fn claim_of(id: &str, owner: Option<&str>, expected: Expected) -> Claim {
    Claim::new(partition(id), owner.map(self::owner), expected)
}

pub(crate) fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}
