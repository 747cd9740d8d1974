//! Promise: an operator changes nothing that a live owner holds, unless it is forced, and loses no checkpoint on
//! the way from one store to another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::admin::{Admin, ScopeExport};
use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Error, ErrorKind,
    Expected, MemoryCheckpointStore, OwnershipList, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, PartitionId, SequenceNumber};

/// A store with a clock, by which every record is this old.
#[derive(Debug, Default)]
struct Aged {
    store: MemoryCheckpointStore,
    age: Duration,
    /// An instance writes this checkpoint during each listing.
    overtakes: Option<Checkpoint>,
    /// How often the owners were listed.
    listings: AtomicUsize,
}

#[async_trait]
impl CheckpointStore for Aged {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        if let Some(checkpoint) = &self.overtakes {
            Admin::new(&self.store).reset(scope, checkpoint).await?;
        }
        let mut list = self.store.list_ownership(scope).await?;
        list.now = Some(SystemTime::UNIX_EPOCH + self.age);
        for record in &mut list.records {
            record.modified = Some(SystemTime::UNIX_EPOCH);
        }
        Ok(list)
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        self.store.claim_ownership(scope, claim).await
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.store.checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.store.update_checkpoint(scope, checkpoint, expected).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        self.store.list_checkpoints(scope).await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        self.store.delete_ownership(scope, partition, version).await
    }
}

fn scope() -> ConsumerScope {
    let namespace = "contoso.servicebus.windows.net".parse().unwrap();
    ConsumerScope::new(namespace, "orders".parse().unwrap(), "$Default".parse().unwrap())
}

fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

fn position(id: &str, number: i64) -> Checkpoint {
    Checkpoint::new(partition(id), Some(number.to_string().into()), Some(number.into()))
}

async fn own(store: &impl CheckpointStore, id: &str, owner: Option<&str>) {
    let record = store.list_ownership(&scope()).await.unwrap().records;
    let record = record.into_iter().find(|record| record.partition.as_str() == id);
    let expected = record.map_or(Expected::Absent, |record| Expected::Version(record.version));
    let claim = Claim::new(partition(id), owner.map(|owner| owner.parse().unwrap()), expected);
    assert!(matches!(store.claim_ownership(&scope(), &claim).await, ClaimOutcome::Won(_)));
}

#[tokio::test]
async fn a_checkpoint_is_reset_in_both_directions_and_deleted() {
    let (store, scope) = (MemoryCheckpointStore::new(), scope());
    let admin = Admin::new(&store);
    for number in [7, 3, 9] {
        admin.reset(&scope, &position("0", number)).await.unwrap();
        let state = admin.get(&scope, &partition("0")).await.unwrap();
        assert_eq!(state.sequence_number(), Some(number.into()));
    }
    assert!(admin.delete_checkpoint(&scope, &partition("0")).await.unwrap());
    assert!(!admin.delete_checkpoint(&scope, &partition("0")).await.unwrap(), "there is none any more");
    assert_eq!(admin.get(&scope, &partition("0")).await.unwrap().checkpoint, None);
}

#[tokio::test]
async fn what_a_live_owner_holds_is_changed_only_by_force() {
    let (store, scope) = (Aged { age: Duration::from_secs(59), ..Aged::default() }, scope());
    own(&store, "0", Some("pod-1")).await;
    let admin = Admin::new(&store);
    let error = admin.reset(&scope, &position("0", 7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Owned);
    assert!(error.to_string().ends_with("belongs to pod-1, renewed 59 s ago"), "{error}");
    assert_eq!(admin.delete_checkpoint(&scope, &partition("0")).await.unwrap_err().kind(), ErrorKind::Owned);
    assert_eq!(admin.delete_ownership(&scope, &partition("0")).await.unwrap_err().kind(), ErrorKind::Owned);
    assert!(admin.get(&scope, &partition("0")).await.unwrap().checkpoint.is_none(), "nothing was written");

    admin.reset(&scope, &position("1", 7)).await.expect("nobody owns that one");
    admin.forced().reset(&scope, &position("0", 7)).await.unwrap();
    admin.expiry(Duration::from_secs(59)).reset(&scope, &position("0", 8)).await.expect("it has expired");
    assert!(admin.forced().delete_ownership(&scope, &partition("0")).await.unwrap());
}

#[tokio::test]
async fn a_checkpoint_that_was_written_meanwhile_is_not_written_over() {
    let store = Aged { overtakes: Some(position("0", 9)), ..Aged::default() };
    let error = Admin::new(&store).reset(&scope(), &position("0", 7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let left = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    assert_eq!(left.sequence_number, Some(9.into()));
}

#[tokio::test]
async fn an_owner_counts_as_live_where_its_age_is_not_known() {
    let (store, scope) = (MemoryCheckpointStore::new(), scope());
    own(&store, "0", Some("pod-1")).await;
    let error = Admin::new(&store).reset(&scope, &position("0", 7)).await.unwrap_err();
    assert!(error.to_string().ends_with("renewed at an unknown time"), "{error}");
    own(&store, "0", None).await;
    Admin::new(&store).reset(&scope, &position("0", 7)).await.expect("it was released");
}

#[tokio::test]
async fn a_list_has_each_partition_with_a_record_of_either_kind() {
    let (store, scope) = (Aged { age: Duration::from_secs(61), ..Aged::default() }, scope());
    own(&store, "0", Some("pod-1")).await;
    own(&store, "1", None).await;
    let admin = Admin::new(&store);
    admin.reset(&scope, &position("1", 7)).await.unwrap();
    admin.reset(&scope, &position("2", 8)).await.unwrap();
    let states = admin.list(&scope).await.unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|state| {
            let owner = state.owner().map(ToString::to_string);
            (
                state.partition.as_str(),
                owner,
                state.is_live,
                state.sequence_number().map(SequenceNumber::value),
            )
        })
        .collect();
    let owner = Some("pod-1".to_owned());
    assert_eq!(seen, [("0", owner, false, None), ("1", None, false, Some(7)), ("2", None, false, Some(8))]);
}

#[tokio::test]
async fn an_export_is_imported_into_another_store() {
    let (old, new, scope) = (MemoryCheckpointStore::new(), MemoryCheckpointStore::new(), scope());
    for number in [3, 5] {
        Admin::new(&old).reset(&scope, &position(&number.to_string(), number)).await.unwrap();
    }
    let offset_only = Checkpoint::new(partition("4"), Some("3:1:2".into()), None);
    Admin::new(&old).reset(&scope, &offset_only).await.unwrap();
    own(&new, "5", Some("pod-1")).await;

    let json = serde_json::to_string(&Admin::new(&old).export(&scope).await.unwrap()).unwrap();
    let export: ScopeExport = serde_json::from_str(&json).unwrap();
    let outcomes = Admin::new(&new).import(&export).await.unwrap();
    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|(partition, outcome)| (partition.as_str(), outcome.as_ref().err().map(Error::kind)))
        .collect();
    assert_eq!(outcomes, [("3", None), ("4", None), ("5", Some(ErrorKind::Owned))]);
    Admin::new(&new).forced().import(&export).await.unwrap();
    assert_eq!(Admin::new(&new).export(&scope).await.unwrap(), export);
}

/// A group of 32 partitions.
async fn exported() -> ScopeExport {
    let store = MemoryCheckpointStore::new();
    for id in 0..32 {
        Admin::new(&store).reset(&scope(), &position(&id.to_string(), id)).await.unwrap();
    }
    Admin::new(&store).export(&scope()).await.unwrap()
}

#[tokio::test]
async fn an_import_lists_the_owners_once() {
    let (store, export) = (Aged::default(), exported().await);
    let outcomes = Admin::new(&store).import(&export).await.unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
    assert_eq!(store.listings.load(Ordering::Relaxed), 1);
    assert_eq!(Admin::new(&store).export(&scope()).await.unwrap(), export);
}

/// The instance that took the partition between the look at its checkpoint and the listing keeps its own.
#[tokio::test]
async fn an_import_writes_over_no_checkpoint_that_came_meanwhile() {
    let store = Aged { overtakes: Some(position("7", 99)), ..Aged::default() };
    let outcomes = Admin::new(&store).import(&exported().await).await.unwrap();
    let refused =
        outcomes.iter().filter_map(|(partition, outcome)| Some((partition, outcome.as_ref().err()?)));
    let refused: Vec<_> = refused.map(|(partition, error)| (partition.as_str(), error.kind())).collect();
    assert_eq!(refused, [("7", ErrorKind::Conflict)]);
    let left = store.checkpoint(&scope(), &partition("7")).await.unwrap().unwrap();
    assert_eq!(left.sequence_number, Some(99.into()));
}

#[tokio::test]
async fn an_export_with_a_mistake_is_refused_whole_and_names_the_field() {
    let store = MemoryCheckpointStore::new();
    let json = |partition: &str, rest: &str| {
        format!(
            r#"{{"namespace": "contoso", "event_hub": "orders", "consumer_group": "$Default", "checkpoints":
            [{{"partition": "0", "sequence_number": 1}}, {{"partition": "{partition}"{rest}}}]}}"#
        )
    };
    for (partition, rest, field) in
        [("a/b", r#", "offset": "1""#, "partition"), ("1", "", "partition 1 has neither")]
    {
        let export: ScopeExport = serde_json::from_str(&json(partition, rest)).unwrap();
        let error = Admin::new(&store).import(&export).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(field), "{error}");
    }
    assert!(
        serde_json::from_str::<ScopeExport>(&json("1", r#", "sequenceNumber": 1"#)).is_err(),
        "a field is unknown"
    );
    assert!(store.list_scopes().await.unwrap().is_empty(), "nothing was written");
}
