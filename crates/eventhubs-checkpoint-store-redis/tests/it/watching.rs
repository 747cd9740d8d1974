//! Subscriptions: cut, refused, and not read.

use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, BoxStream, CheckpointStore, ClaimOutcome, Expected, Hint};
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::{PATIENCE, RedisCluster, RedisServer, within};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::log::Log;
use crate::scene::{claim, connect, connect_impatient, owner, scope, version_of, win};

const SILENT: &str = "no hints come from the server: partitions move in the next round instead";

/// Announces partition 0 to everyone, until the watch sees it; calls may fail meanwhile.
async fn seen(store: &dyn CheckpointStore, hints: &mut BoxStream<'static, Hint>) -> Hint {
    let mut number = 0;
    within(PATIENCE, async {
        loop {
            number += 1;
            let name = format!("owner-{number}");
            let records = store.list_ownership(&scope()).await.map(|list| list.records).unwrap_or_default();
            let expected = records.first().map_or(Expected::Absent, version_of);
            let offer = claim("0", Some(&name), expected).announcing(Audience::Everyone);
            let _may_fail = store.claim_ownership(&scope(), &offer).await;
            if let Ok(hint) = timeout(Duration::from_millis(100), hints.next()).await {
                return hint.unwrap();
            }
        }
    })
    .await
}

/// Reads what has come so far.
async fn drain(hints: &mut BoxStream<'static, Hint>) {
    while timeout(Duration::from_millis(300), hints.next()).await.is_ok() {}
}

#[tokio::test]
async fn a_subscriber_that_is_cut_comes_back() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    drain(&mut hints).await;
    assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1", "one connection for one watch");
    seen(&store, &mut hints).await;
}

#[tokio::test]
async fn a_subscriber_comes_back_after_a_restart_of_the_server() {
    let mut server = RedisServer::builder().persistent().start().await;
    let store = connect_impatient(server.url()).await;
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    server.kill();
    drain(&mut hints).await;
    server.restart_on_same_port().await;
    seen(&store, &mut hints).await;
}

#[tokio::test]
async fn a_subscriber_of_a_cluster_comes_back_after_a_restart_of_the_nodes() {
    let mut cluster = RedisCluster::start().await;
    let store = RedisCheckpointStore::cluster_builder(cluster.urls()).call_timeout(Duration::from_secs(2));
    let store = store.connect().await.unwrap();
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    for node in cluster.nodes_mut() {
        node.kill();
    }
    drain(&mut hints).await;
    for node in cluster.nodes_mut() {
        node.restart_on_same_port().await;
    }
    seen(&store, &mut hints).await;
}

#[tokio::test]
async fn a_watch_that_hears_itself_says_nothing() {
    let server = RedisServer::builder().persistent().start().await;
    let (log, _guard) = Log::start("warn");
    let store = connect(&server).await;
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(log.text(), "");
}

#[tokio::test]
async fn a_server_without_hints_is_warned_of_once_and_can_be_used() {
    let server = RedisServer::builder().persistent().start().await;
    server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "resetchannels", "+@all"]);
    let (log, _guard) = Log::start("warn");
    let builder = RedisCheckpointStore::builder(server.url()).credentials("app", "pw");
    let store = builder.connect().await.unwrap();
    let mut hints = store.watch(&scope());
    assert!(timeout(Duration::from_secs(5), hints.next()).await.is_err());
    assert_eq!((log.text().lines().count(), log.count(SILENT)), (1, 1), "{}", log.text());
    let offer = claim("0", Some("a"), Expected::Absent).announcing(Audience::Everyone);
    let outcome = store.claim_ownership(&scope(), &offer).await;
    assert!(matches!(outcome, ClaimOutcome::Won(_)), "a claim needs no right to publish: {outcome:?}");
    assert_eq!(owner(&store).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_watch_that_is_dropped_leaves_no_subscription() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    drop(hints);
    none_is_subscribed(&server).await;
}

#[tokio::test]
async fn a_watch_ends_with_the_store_in_silence() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    drop(store);
    drain(&mut hints).await;
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    none_is_subscribed(&server).await;
    assert!(timeout(Duration::from_millis(300), hints.next()).await.is_err(), "the stream does not end");
}

#[tokio::test]
async fn at_rest_nothing_is_published() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let mut hints = store.watch(&scope());
    seen(&store, &mut hints).await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    let records = store.list_ownership(&scope()).await.unwrap().records;
    let mut owned = records[0].clone();
    for _ in 0..20 {
        owned = win(&store, "a", version_of(&owned)).await;
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_hset") && !stats.contains("publish"), "{stats}");
}

async fn none_is_subscribed(server: &RedisServer) {
    within(PATIENCE, async {
        while !server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
