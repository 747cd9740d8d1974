//! Waiting for replicas.

use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore, ClaimOutcome, ErrorKind, Expected};
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::RedisServer;

use crate::scene::{at, claim, fail, heals, owner, partition, scope, version_of, win};

/// For a replica that is there, on a machine that does much else.
const PATIENT: Duration = Duration::from_secs(10);
/// For a replica that is not.
const IMPATIENT: Duration = Duration::from_millis(200);

async fn connect(server: &RedisServer, limit: Duration) -> RedisCheckpointStore {
    let store = RedisCheckpointStore::builder(server.url()).wait_for_replicas(1, limit);
    store.connect().await.unwrap()
}

#[tokio::test]
async fn a_steal_and_a_checkpoint_are_on_the_replica_when_they_are_answered() {
    let master = RedisServer::start().await;
    let replica = master.start_replica().await;
    let (store, reader) = (connect(&master, PATIENT).await, crate::scene::connect(&replica).await);
    let mut expected = Expected::Absent;
    for number in 0..20 {
        let name = format!("owner-{number}");
        expected = version_of(&win(&store, &name, expected).await);
        assert_eq!(owner(&reader).await, Some(name));
        let old = reader.checkpoint(&scope(), &partition("0")).await.unwrap();
        let old = old.and_then(|old| old.version).map_or(Expected::Absent, Expected::Version);
        store.update_checkpoint(&scope(), &at(number), &old).await.unwrap();
        let read = reader.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
        assert_eq!(read.sequence_number, Some(number.into()));
    }
}

#[tokio::test]
async fn too_few_replicas_are_a_timeout_of_what_may_have_been_applied() {
    let master = RedisServer::start().await;
    let mut replica = master.start_replica().await;
    let store = connect(&master, IMPATIENT).await;
    let owned = win(&connect(&master, PATIENT).await, "a", Expected::Absent).await;
    replica.kill();
    // A renewal gives nobody a second owner, and does not wait.
    let renewed = win(&store, "a", version_of(&owned)).await;
    let error = fail(&store, "b", version_of(&renewed)).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("it may have been applied"), "{error}");
    assert_eq!(owner(&store).await.as_deref(), Some("b"), "it has been applied");
    let error = store.update_checkpoint(&scope(), &at(7), &Expected::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    assert_eq!(read.sequence_number, Some(7.into()), "it has been applied");

    replica.restart_on_same_port().await;
    replica.cli(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    heals(async || {
        let version = store.checkpoint(&scope(), &partition("0")).await?.unwrap().version.unwrap();
        store.update_checkpoint(&scope(), &at(8), &Expected::Version(version)).await
    })
    .await;
}

#[tokio::test]
async fn of_claims_at_once_only_those_with_a_new_owner_wait() {
    let master = RedisServer::start().await;
    let store = connect(&master, IMPATIENT).await;
    let plain = crate::scene::connect(&master).await;
    let owned = win(&plain, "a", Expected::Absent).await;
    let claims = [claim("0", Some("a"), version_of(&owned)), claim("1", Some("a"), Expected::Absent)];
    let outcomes = store.claim_all(&scope(), &claims).await;
    assert!(matches!(outcomes[..], [ClaimOutcome::Won(_), ClaimOutcome::Failed(_)]), "{outcomes:?}");
    let late = store.claim_ownership(&scope(), &claim("1", Some("b"), Expected::Absent)).await;
    assert!(matches!(late, ClaimOutcome::Lost), "a claim that is lost does not wait: {late:?}");
}
