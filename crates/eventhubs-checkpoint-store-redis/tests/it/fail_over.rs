//! A replica that takes over without the last writes of its master.

use eventhubs_checkpoint_store::{CheckpointOutcome, CheckpointStore, ClaimOutcome, ErrorKind, Expected};
use eventhubs_test_harness::RedisServer;
use eventhubs_types::SequenceNumber;

use crate::proxy::Proxy;
use crate::scene::{
    at, claim, connect, connect_impatient, fail, heals, owner, partition, scope, version_of, win,
};

#[tokio::test]
async fn a_write_that_a_fail_over_lost_leaves_one_owner() {
    let (master, address, replica) = pair().await;
    let a = connect_impatient(address.url()).await;
    let owned = win(&a, "a", Expected::Absent).await;
    wait_for(&replica, "a").await;
    // Promoted before it has the renewal, as when the link between the two is cut.
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    let renewed = win(&a, "a", version_of(&owned)).await;

    let b = connect(&replica).await;
    let [seen] = &b.list_ownership(&scope()).await.unwrap().records[..] else { panic!("one record") };
    assert_eq!(seen.version, owned.version, "the renewal is lost");
    let stolen = win(&b, "b", version_of(seen)).await;

    // The next renewal of A, one interval later, reaches the new master: A is told that it is over.
    address.switch(&replica);
    heals(async || a.list_ownership(&scope()).await).await;
    let outcome = a.claim_ownership(&scope(), &claim("0", Some("a"), version_of(&renewed))).await;
    assert!(matches!(outcome, ClaimOutcome::Lost), "{outcome:?}");
    win(&b, "b", version_of(&stolen)).await;
    assert_eq!(owner(&a).await.as_deref(), Some("b"));
    drop(master);
}

/// The same history where each server counts: both give the same number to different owners.
#[tokio::test]
async fn counters_as_versions_would_let_the_old_owner_win() {
    const CLAIM: &str = "if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 'lost' end
        redis.call('HSET', KEYS[1], 'owner', ARGV[2])
        return tostring(redis.call('HINCRBY', KEYS[1], 'version', 1))";
    let claim = |server: &RedisServer, expected: &str, owner: &str| {
        server.cli(&["EVAL", CLAIM, "1", "record", expected, owner])
    };
    let (master, _, replica) = pair().await;
    assert_eq!(claim(&master, "", "a"), "1");
    heals(async || assert_or_wait(replica.cli(&["HGET", "record", "owner"]) == "a")).await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(claim(&master, "1", "a"), "2", "the renewal that is lost");
    assert_eq!(claim(&replica, "1", "b"), "2", "the steal");
    assert_eq!(claim(&replica, "2", "a"), "3", "A renews what belongs to B");
}

#[tokio::test]
async fn a_lost_checkpoint_repeats_events_and_skips_none() {
    let (_master, address, replica) = pair().await;
    let a = connect_impatient(address.url()).await;
    let first = write(&a, 10, &Expected::Absent).await.unwrap();
    heals(async || assert_or_wait(number(&connect(&replica).await).await == Some(10))).await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    let second = write(&a, 20, &first).await.unwrap();
    address.switch(&replica);
    let read = heals(async || a.checkpoint(&scope(), &partition("0")).await).await.unwrap();
    assert_eq!(read.sequence_number, Some(10.into()), "an older position");
    // The running owner still knows where it is, and writes over what it finds.
    assert_eq!(write(&a, 30, &second).await, None, "a conflict");
    write(&a, 30, &Expected::Version(read.version.unwrap())).await.unwrap();
    assert_eq!(number(&a).await, Some(30));
}

#[tokio::test]
async fn a_master_that_became_a_replica_is_transient_and_the_new_one_is_found() {
    let (master, address, replica) = pair().await;
    let store = connect_impatient(address.url()).await;
    let owned = win(&store, "a", Expected::Absent).await;
    wait_for(&replica, "a").await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    master.cli(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    let error = fail(&store, "a", version_of(&owned)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    address.switch(&replica);
    heals(async || store.list_ownership(&scope()).await).await;
    win(&store, "a", version_of(&owned)).await;
}

/// A master, the address of the pair, and a replica.
async fn pair() -> (RedisServer, Proxy, RedisServer) {
    let master = RedisServer::start().await;
    let (address, replica) = (Proxy::to(&master).await, master.start_replica().await);
    (master, address, replica)
}

async fn wait_for(replica: &RedisServer, name: &str) {
    let reader = connect(replica).await;
    heals(async || assert_or_wait(owner(&reader).await.as_deref() == Some(name))).await;
}

/// An error that is tried again until the condition holds.
fn assert_or_wait(holds: bool) -> eventhubs_checkpoint_store::Result<()> {
    let not_yet = eventhubs_checkpoint_store::Error::new(ErrorKind::Unavailable, "not yet");
    if holds { Ok(()) } else { Err(not_yet) }
}

async fn write(store: &dyn CheckpointStore, number: i64, expected: &Expected) -> Option<Expected> {
    match store.update_checkpoint(&scope(), &at(number), expected).await.unwrap() {
        CheckpointOutcome::Written(version) => Some(Expected::Version(version)),
        _ => None,
    }
}

async fn number(store: &dyn CheckpointStore) -> Option<i64> {
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap()?;
    read.sequence_number.map(SequenceNumber::value)
}
