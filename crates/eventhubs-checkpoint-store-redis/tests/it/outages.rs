//! A server that is away, hangs, or has lost something: transient, and over when the server is back.

use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected};
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::{PATIENCE, RedisServer, within};

use crate::scene::{at, connect, connect_impatient, fail, heals, owner, scope, version_of, win};

#[tokio::test]
async fn a_kill_is_transient_and_the_records_are_there_after_it() {
    let mut server = RedisServer::builder().persistent().start().await;
    let store = connect_impatient(server.url()).await;
    let owned = win(&store, "a", Expected::Absent).await;
    store.update_checkpoint(&scope(), &at(7), &Expected::Absent).await.unwrap();
    server.kill();
    for error in [
        fail(&store, "a", version_of(&owned)).await,
        store.list_ownership(&scope()).await.unwrap_err(),
        store.update_checkpoint(&scope(), &at(8), &Expected::Absent).await.unwrap_err(),
        store.list_scopes().await.unwrap_err(),
    ] {
        assert!(error.is_transient(), "{error}");
    }
    server.restart_on_same_port().await;
    let list = heals(async || store.list_ownership(&scope()).await).await;
    assert_eq!(list.records, [owned]);
    let read = store.checkpoint(&scope(), &"0".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(read.sequence_number, Some(7.into()));
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout_and_heals() {
    let server = RedisServer::start().await;
    let builder = RedisCheckpointStore::builder(server.url()).call_timeout(Duration::from_millis(100));
    let store = builder.connect().await.unwrap();
    let sleeping = std::thread::spawn(move || {
        server.cli(&["DEBUG", "SLEEP", "3"]);
        server
    });
    let error = within(PATIENCE, async {
        loop {
            if let Err(error) = store.list_ownership(&scope()).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let server = tokio::task::spawn_blocking(|| sleeping.join().unwrap()).await.unwrap();
    heals(async || store.list_ownership(&scope()).await).await;
    drop(server);
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_loaded_again() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let owned = win(&store, "a", Expected::Absent).await;
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    win(&store, "b", version_of(&owned)).await;
    assert_eq!(owner(&store).await.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_server_without_memory_is_transient_and_heals() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let owned = win(&store, "a", Expected::Absent).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = fail(&store, "a", version_of(&owned)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(owner(&store).await.as_deref(), Some("a"), "what is there can be read");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    win(&store, "a", version_of(&owned)).await;
}

#[tokio::test]
async fn a_script_of_somebody_else_that_never_ends_is_transient() {
    let server = RedisServer::builder().option("busy-reply-threshold", "100").start().await;
    let store = connect(&server).await;
    let endless = std::thread::spawn(move || {
        server.cli(&["EVAL", "while true do end", "0"]);
        server
    });
    let error = within(PATIENCE, async {
        loop {
            if let Err(error) = store.list_ownership(&scope()).await {
                return error;
            }
        }
    })
    .await;
    assert!(error.is_transient(), "{error}");
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");
    heals(async || store.list_scopes().await.or_else(|_| Ok(Vec::new()))).await;
    drop(endless);
}

#[tokio::test]
async fn no_server_is_transient() {
    let server = RedisServer::start().await;
    let url = server.url();
    drop(server);
    let error = RedisCheckpointStore::connect(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_not_found() {
    let error = RedisCheckpointStore::connect("redis://no-such-host.invalid").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
