//! What the tests have in common: servers, stores and claims.

use eventhubs_checkpoint_store::{CheckpointStore, Claim, ClaimOutcome, Expected, Ownership};
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::{RedisCluster, RedisServer};
use eventhubs_types::ConsumerScope;
use tokio::sync::OnceCell;

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
    RedisCheckpointStore::connect(server.url()).await.expect("the server is there")
}

/// A scope in the namespace of one test.
pub(crate) fn scope(namespace: &str) -> ConsumerScope {
    let namespace = namespace.parse().expect("a valid namespace");
    ConsumerScope::new(namespace, "orders".parse().expect("a hub"), "$default".parse().expect("a group"))
}

pub(crate) fn claim(partition: &str, owner: &str, expected: Expected) -> Claim {
    let owner = owner.parse().expect("a valid owner");
    Claim::new(partition.parse().expect("a valid partition"), Some(owner), expected)
}

/// A claim that must be won, with the record that it left.
pub(crate) async fn win(store: &dyn CheckpointStore, scope: &ConsumerScope, claim: &Claim) -> Ownership {
    match store.claim_ownership(scope, claim).await {
        ClaimOutcome::Won(record) => record,
        other => panic!("the claim is won, not {other:?}"),
    }
}
