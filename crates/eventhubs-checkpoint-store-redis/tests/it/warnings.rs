//! What is logged of a server that may lose checkpoints.

use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::RedisServer;

use crate::log::Log;
use crate::scene::{connect, shared_cluster};

const EVICTS: &str = "the server evicts checkpoints when its memory is full";
const FORGETS: &str = "the server keeps nothing on disk: a restart loses all checkpoints";
const REPLICA: &str = "the server is a replica, which takes no writes";

#[tokio::test]
async fn a_server_that_keeps_its_data_is_no_reason_for_a_warning() {
    let server = RedisServer::builder().persistent().start().await;
    let (log, _guard) = Log::start("warn");
    connect(&server).await;
    assert_eq!(log.text(), "");
}

#[tokio::test]
async fn a_server_with_snapshots_is_no_reason_for_a_warning() {
    let server = RedisServer::start().await;
    server.cli(&["CONFIG", "SET", "save", "3600 1"]);
    let (log, _guard) = Log::start("warn");
    connect(&server).await;
    assert_eq!(log.text(), "");
}

#[tokio::test]
async fn a_server_that_evicts_any_key_is_warned_of_once() {
    let server = RedisServer::builder().persistent().option("maxmemory-policy", "allkeys-lru").start().await;
    let (log, _guard) = Log::start("warn");
    connect(&server).await;
    assert_eq!((log.text().lines().count(), log.count(EVICTS)), (1, 1), "{}", log.text());
}

#[tokio::test]
async fn a_server_that_evicts_only_keys_that_expire_is_none() {
    let server = RedisServer::builder().persistent().option("maxmemory-policy", "volatile-lru").start().await;
    let (log, _guard) = Log::start("warn");
    connect(&server).await;
    assert_eq!(log.text(), "");
}

#[tokio::test]
async fn a_server_that_keeps_nothing_is_warned_of_once() {
    let server = RedisServer::start().await;
    let (log, _guard) = Log::start("warn");
    connect(&server).await;
    assert_eq!((log.text().lines().count(), log.count(FORGETS)), (1, 1), "{}", log.text());
}

#[tokio::test]
async fn a_replica_is_warned_of_once() {
    let master = RedisServer::start().await;
    let replica = master.start_replica().await;
    let (log, _guard) = Log::start("warn");
    connect(&replica).await;
    assert_eq!(log.count(REPLICA), 1, "{}", log.text());
}

#[tokio::test]
async fn nodes_of_a_cluster_are_warned_of_together() {
    let cluster = shared_cluster().await;
    let (log, _guard) = Log::start("warn");
    RedisCheckpointStore::cluster_builder(cluster.urls()).connect().await.unwrap();
    assert_eq!(log.text(), "", "they keep their data");
}
