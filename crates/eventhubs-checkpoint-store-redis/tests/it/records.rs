//! Values that this store did not write.

use eventhubs_checkpoint_store::{Checkpoint, CheckpointOutcome, CheckpointStore, ErrorKind, Expected, Mark};

use crate::scene::{at, claim, connect, partition, scope, version_of, win};
use eventhubs_test_harness::RedisServer;

const OWNERSHIP: &str = "eventhubs:{n.example.net/hub/orders}:ownership";
const CHECKPOINT: &str = "eventhubs:{n.example.net/hub/orders}:checkpoint";

/// A version as this store chooses them.
const VERSION: &str = "00000000000000ab";

#[tokio::test]
async fn a_malformed_ownership_record_is_rejected_and_fails_no_listing() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let owned = win(&store, "a", Expected::Absent).await;
    for value in ["", "hello", "0123\u{1f}17\u{1f}a", &"x".repeat(100_000)] {
        server.cli(&["HSET", OWNERSHIP, "1", value]);
        server.cli(&["HSET", OWNERSHIP, "", value]);
        let list = store.list_ownership(&scope()).await.unwrap();
        assert_eq!(list.records, std::slice::from_ref(&owned));
        let mut names: Vec<_> = list.rejected.iter().map(|rejected| rejected.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["", "1"]);
    }
}

#[tokio::test]
async fn a_record_without_a_usable_owner_or_time_is_healed_by_a_claim() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    for rest in ["\u{1f}17\u{1f}a\u{7}b", "\u{1f}noon\u{1f}a", "\u{1f}"] {
        server.cli(&["HSET", OWNERSHIP, "0", &format!("{VERSION}{rest}")]);
        let list = store.list_ownership(&scope()).await.unwrap();
        let [record] = &list.records[..] else { panic!("one record: {list:?}") };
        assert_eq!(record.owner, None, "{rest:?}");
        assert_eq!(win(&store, "b", version_of(record)).await.partition, partition("0"));
    }
}

#[tokio::test]
async fn a_malformed_checkpoint_has_no_position_and_can_be_replaced() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    for value in ["", "hello", &format!("{VERSION}\u{1f}17\u{1f}x"), &"x".repeat(100_000)] {
        server.cli(&["HSET", CHECKPOINT, "0", value]);
        let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
        assert_eq!((&read.offset, read.sequence_number), (&None, None));
        assert_eq!(store.list_checkpoints(&scope()).await.unwrap(), std::slice::from_ref(&read));
        let expected = Expected::Version(read.version.unwrap());
        let written = store.update_checkpoint(&scope(), &at(7), &expected).await.unwrap();
        assert!(matches!(written, CheckpointOutcome::Written(_)));
    }
}

#[tokio::test]
async fn a_key_that_is_no_hash_is_an_error_that_is_not_retried() {
    let server = RedisServer::start().await;
    server.cli(&["SET", OWNERSHIP, "x"]);
    let error = connect(&server).await.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_named() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let long = "x".repeat(4097);
    let offset = Checkpoint::new(partition("0"), Some(long.as_str().into()), None);
    let error = store.update_checkpoint(&scope(), &offset, &Expected::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let marked = claim("0", Some("a"), Expected::Absent).with_mark(Some(Mark::new(&long)));
    let outcomes = store.claim_all(&scope(), &[marked, claim("1", Some("a"), Expected::Absent)]).await;
    let text = format!("{outcomes:?}");
    assert!(text.starts_with("[Failed(Error { kind: InvalidArgument") && text.contains("Won("), "{text}");
}

/// As the driver does in a cluster when a reply is lost.
#[tokio::test]
async fn a_call_that_is_sent_twice_is_won_both_times() {
    const WRITE: &str =
        concat!(include_str!("../../src/scripts/version.lua"), include_str!("../../src/scripts/write.lua"));
    let server = RedisServer::start().await;
    let write = |expected: &str, version: &str, owner: &str| {
        let head = ["EVAL", WRITE, "1", OWNERSHIP, "PUBLISH", "channel"];
        server.cli(&[&head[..], &["0", expected, version, owner, ""]].concat())
    };
    let other = "00000000000000cd";
    assert!(write("", VERSION, "a").starts_with('+'), "a new owner");
    assert!(write("", VERSION, "a").parse::<u64>().is_ok(), "the same call, won again");
    assert_eq!(write("", other, "b"), "", "another call");
    assert!(write(VERSION, other, "b").starts_with('+'));
    assert_eq!(write("", VERSION, "a"), "", "the same call, after somebody else has won");
}

#[tokio::test]
async fn nothing_ever_expires() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    win(&store, "a", Expected::Absent).await;
    store.update_checkpoint(&scope(), &at(7), &Expected::Absent).await.unwrap();
    assert_eq!([OWNERSHIP, CHECKPOINT].map(|key| server.cli(&["TTL", key])), ["-1", "-1"]);
}

#[tokio::test]
async fn more_records_than_a_listing_reads_are_said_to_be_there() {
    let server = RedisServer::start().await;
    let store = connect(&server).await;
    let fill = "for i = 1, 10000 do redis.call('HSET', KEYS[1], i, '00000000000000ab\\31' .. '1\\31a') end";
    server.cli(&["EVAL", fill, "1", OWNERSHIP]);
    let list = store.list_ownership(&scope()).await.unwrap();
    assert!(
        list.records.len() >= eventhubs_checkpoint_store_redis::MAX_LISTED && list.records.len() < 10_000
    );
    assert_eq!(list.rejected.len(), 1, "{:?}", list.rejected);
}
