//! What the tests have in common: servers, stores and claims.

use std::time::Duration;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointStore, Claim, ClaimOutcome, Error, Expected, Ownership, Result,
};
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::{PATIENCE, RedisCluster, RedisServer, within};
use eventhubs_types::{ConsumerScope, PartitionId};
use tokio::sync::OnceCell;
use tokio::time::sleep;

/// The server that tests share which do it no harm.
pub(crate) async fn shared_server() -> &'static RedisServer {
    static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
    SHARED.get_or_init(|| RedisServer::builder().persistent().start()).await
}

/// The cluster that tests share which do it no harm.
pub(crate) async fn shared_cluster() -> &'static RedisCluster {
    static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
    SHARED.get_or_init(RedisCluster::start).await
}

pub(crate) async fn connect(server: &RedisServer) -> RedisCheckpointStore {
    RedisCheckpointStore::connect(server.url()).await.unwrap()
}

/// A store whose calls end soon.
pub(crate) async fn connect_impatient(url: String) -> RedisCheckpointStore {
    let store = RedisCheckpointStore::builder(url).call_timeout(Duration::from_secs(1));
    store.connect().await.unwrap()
}

pub(crate) fn scope() -> ConsumerScope {
    scope_of("orders")
}

pub(crate) fn scope_of(group: &str) -> ConsumerScope {
    ConsumerScope::new("n.example.net".parse().unwrap(), "hub".parse().unwrap(), group.parse().unwrap())
}

pub(crate) fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

pub(crate) fn claim(id: &str, owner: Option<&str>, expected: Expected) -> Claim {
    Claim::new(partition(id), owner.map(|owner| owner.parse().unwrap()), expected)
}

pub(crate) fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}

/// A claim of partition 0 that must be won, with the record that it left.
pub(crate) async fn win(store: &dyn CheckpointStore, owner: &str, expected: Expected) -> Ownership {
    match store.claim_ownership(&scope(), &claim("0", Some(owner), expected)).await {
        ClaimOutcome::Won(record) => record,
        other => panic!("the claim is won, not {other:?}"),
    }
}

/// A claim of partition 0 that must fail.
pub(crate) async fn fail(store: &dyn CheckpointStore, owner: &str, expected: Expected) -> Error {
    match store.claim_ownership(&scope(), &claim("0", Some(owner), expected)).await {
        ClaimOutcome::Failed(error) => error,
        other => panic!("the claim fails, not {other:?}"),
    }
}

/// The owner of partition 0.
pub(crate) async fn owner(store: &dyn CheckpointStore) -> Option<String> {
    let list = store.list_ownership(&scope()).await.unwrap();
    let record = list.records.into_iter().find(|record| record.partition.as_str() == "0")?;
    record.owner.map(|owner| owner.to_string())
}

/// The checkpoint of partition 0 after an event.
pub(crate) fn at(number: i64) -> Checkpoint {
    Checkpoint::new(partition("0"), Some(number.to_string().into()), Some(number.into()))
}

/// Waits until a call works again; until then all failures must be transient.
pub(crate) async fn heals<T>(call: impl AsyncFn() -> Result<T>) -> T {
    within(PATIENCE, async {
        loop {
            match call().await {
                Ok(value) => return value,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
