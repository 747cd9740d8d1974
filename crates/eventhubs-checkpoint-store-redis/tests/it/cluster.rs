//! What only a cluster shows: slots, redirections, and which nodes know of what.

use eventhubs_checkpoint_store::{CheckpointStore, ClaimOutcome, ErrorKind, Expected};
use eventhubs_checkpoint_store_redis::{MAX_CLAIMS, RedisCheckpointStore};
use eventhubs_test_harness::{RedisCluster, RedisServer};

use crate::scene::{claim, scope_of, shared_cluster};

async fn connect(prefix: &str) -> RedisCheckpointStore {
    let store = RedisCheckpointStore::cluster_builder(shared_cluster().await.urls()).key_prefix(prefix);
    store.connect().await.unwrap()
}

#[tokio::test]
async fn four_groups_of_two_thousand_partitions_cross_no_slot() {
    let store = connect("large").await;
    for group in ["a", "b", "c", "{d}"] {
        let scope = scope_of(group);
        let claims: Vec<_> =
            (0..2000).map(|id| claim(&id.to_string(), Some("owner"), Expected::Absent)).collect();
        for claims in claims.chunks(MAX_CLAIMS) {
            let outcomes = store.claim_all(&scope, claims).await;
            let is_won = |outcome: &ClaimOutcome| matches!(outcome, ClaimOutcome::Won(_));
            assert!(outcomes.iter().all(is_won), "{:?}", outcomes.iter().find(|outcome| !is_won(outcome)));
        }
        assert_eq!(store.list_ownership(&scope).await.unwrap().records.len(), 2000);
    }
    let mut scopes = store.list_scopes().await.unwrap();
    scopes.sort();
    assert_eq!(scopes, ["a", "b", "c", "{d}"].map(scope_of));
}

#[tokio::test]
async fn the_groups_are_on_more_than_one_node() {
    let store = connect("spread").await;
    for group in 0..16 {
        let one = [claim("0", Some("a"), Expected::Absent)];
        let outcomes = store.claim_all(&scope_of(&format!("group-{group}")), &one).await;
        assert!(matches!(outcomes[..], [ClaimOutcome::Won(_)]), "{outcomes:?}");
    }
    assert_eq!(store.list_scopes().await.unwrap().len(), 16);
    let used =
        shared_cluster().await.nodes().iter().filter(|node| !node.cli(&["KEYS", "spread:*"]).is_empty());
    assert!(used.count() > 1, "the test is about several nodes");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_not_taken_for_a_server_nor_the_other_way() {
    let url = shared_cluster().await.urls().remove(0);
    let error = RedisCheckpointStore::connect(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let server = RedisServer::start().await;
    let error = RedisCheckpointStore::cluster_builder([server.url()]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn scripts_that_the_nodes_have_forgotten_are_loaded_again() {
    let store = connect("forgotten").await;
    for node in shared_cluster().await.nodes() {
        node.cli(&["SCRIPT", "FLUSH"]);
    }
    store.list_ownership(&scope_of("a")).await.unwrap();
    store.list_ownership(&scope_of("b")).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_of_a_cluster_is_unauthorized() {
    let cluster = RedisCluster::start().await;
    for node in cluster.nodes() {
        node.cli(&["CONFIG", "SET", "requirepass", "right"]);
    }
    let builder = RedisCheckpointStore::cluster_builder(cluster.urls()).credentials("default", "wrong");
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let builder = RedisCheckpointStore::cluster_builder(cluster.urls()).credentials("default", "right");
    builder.connect().await.unwrap().list_ownership(&scope_of("a")).await.unwrap();
}
