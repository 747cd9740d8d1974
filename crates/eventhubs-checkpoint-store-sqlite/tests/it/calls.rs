//! The thread of a store and its queue: limits, and how it ends.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore as _, ClaimOutcome, ErrorKind, Expected, Mark};
use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
use eventhubs_checkpoint_store_sqlite::rusqlite::TransactionBehavior;
use eventhubs_types::OwnerId;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{
    PATIENCE, absent_file, at, claim, connect, open, open_with_limit, partition, scope, version_of, won,
};

/// How many calls one store has in its queue, by its documentation.
const QUEUED: usize = 64;

#[tokio::test]
async fn a_call_that_finds_no_place_in_the_queue_is_throttled() {
    let (_folder, path) = absent_file();
    // The first call waits for the lock nearly twice as long as the others wait for a place.
    let store = open_with_limit(&path, Duration::from_secs(4)).await;
    let locker = connect(&path);
    locker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut calls = JoinSet::new();
    for id in 0..QUEUED + 20 {
        let store = store.clone();
        let claim = claim(&id.to_string(), Some("a"), Expected::Absent);
        calls.spawn(async move { store.claim_ownership(&scope(), &claim).await });
    }
    let mut throttled = 0;
    for outcome in calls.join_all().await {
        let ClaimOutcome::Failed(error) = outcome else { panic!("the file is locked: {outcome:?}") };
        match error.kind() {
            ErrorKind::Throttled => throttled += 1,
            kind => assert_eq!(kind, ErrorKind::Timeout, "{error}"),
        }
    }
    assert!((1..=20).contains(&throttled), "{throttled} calls");
    locker.execute_batch("ROLLBACK").unwrap();
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
}

#[tokio::test]
async fn a_locked_file_is_a_timeout_that_says_so() {
    let (_folder, path) = absent_file();
    let store = open_with_limit(&path, Duration::from_millis(300)).await;
    let locker = connect(&path);
    locker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.update_checkpoint(&scope(), &at(1), &Expected::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains("write a checkpoint in ") && text.contains("database is locked"), "{text}");
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records, [], "reading needs no lock");
}

#[tokio::test]
async fn the_thread_ends_with_the_last_clone() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let clone = store.clone();
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    drop(store);
    won(&clone, &claim("1", Some("a"), Expected::Absent)).await;
    drop(clone);
    // SQLite removes its log with the last connection.
    let log = path.with_extension("db-wal");
    timeout(PATIENCE, async {
        while log.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the thread closes the file and ends");
}

#[tokio::test]
async fn a_file_that_is_deleted_or_replaced_is_not_found() {
    let (folder, path) = absent_file();
    let store = open(&path).await;
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    std::fs::remove_file(&path).unwrap();
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let other = folder.path().join("other.db");
    open(&other).await;
    std::fs::rename(&other, &path).unwrap();
    let ClaimOutcome::Failed(error) =
        store.claim_ownership(&scope(), &claim("1", Some("a"), Expected::Absent)).await
    else {
        panic!("instances on two files would both own it")
    };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_time_limit_that_cannot_be_is_refused() {
    for limit in [Duration::ZERO, Duration::MAX] {
        let (_folder, path) = absent_file();
        let opened = SqliteCheckpointStore::builder(&path).call_timeout(limit).open().await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("call_timeout") && !path.exists(), "{error}");
    }
}

#[tokio::test]
async fn many_claims_are_one_transaction_with_an_outcome_each() {
    const CLAIMS: usize = 3000;
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let taken = won(&store, &claim("7", Some("other"), Expected::Absent)).await;
    let mut claims: Vec<_> =
        (0..CLAIMS).map(|id| claim(&id.to_string(), Some("a"), Expected::Absent)).collect();
    claims[8] = claims[8].clone().with_mark(Some(Mark::new("x".repeat(5000))));
    assert!(CLAIMS > store.max_claims(), "more than one transaction");
    let outcomes = store.claim_all(&scope(), &claims).await;
    assert_eq!(outcomes.len(), CLAIMS);
    for (id, outcome) in outcomes.iter().enumerate() {
        match (id, outcome) {
            (7, ClaimOutcome::Lost) => {}
            (8, ClaimOutcome::Failed(error)) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
            (id, ClaimOutcome::Won(record)) => assert_eq!(record.partition, partition(&id.to_string())),
            (id, other) => panic!("{id}: {other:?}"),
        }
    }
    let records = store.list_ownership(&scope()).await.unwrap().records;
    assert_eq!(records.len(), CLAIMS - 1);
    assert!(records.contains(&taken), "the lost one changed nothing");
}

#[tokio::test]
async fn a_round_of_lost_claims_writes_nothing() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let record = won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    let reader = connect(&path);
    let commits = || reader.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let before = commits();
    let lost = claim("0", Some("b"), Expected::Absent);
    let outcomes = store.claim_all(&scope(), &[lost.clone(), lost]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, ClaimOutcome::Lost)), "{outcomes:?}");
    assert_eq!(commits(), before);
    let renewed = won(&store, &claim("0", Some("a"), version_of(&record))).await;
    assert_eq!(renewed.owner, Some(OwnerId::new("a").unwrap()));
}

#[test]
fn claims_get_through_while_an_application_writes_all_the_time() {
    let (_folder, path) = absent_file();
    let store = tokio::runtime::Runtime::new().unwrap().block_on(open(&path));
    let done = AtomicBool::new(false);
    let write_all_the_time = || {
        let mut application = connect(&path);
        application.execute_batch("CREATE TABLE output (number INTEGER); PRAGMA synchronous = FULL").unwrap();
        while !done.load(SeqCst) {
            let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
            transaction.execute("INSERT INTO output VALUES (1)", []).unwrap();
            transaction.commit().unwrap();
        }
    };
    let claim_often = async || {
        let mut record = won(&store, &claim("0", Some("a"), Expected::Absent)).await;
        for _ in 0..100 {
            record = won(&store, &claim("0", Some("a"), version_of(&record))).await;
        }
    };
    thread::scope(|scope| {
        scope.spawn(write_all_the_time);
        // Also where a claim fails, for the scope waits for the thread.
        let claims = panic::catch_unwind(AssertUnwindSafe(|| {
            tokio::runtime::Runtime::new().unwrap().block_on(claim_often());
        }));
        done.store(true, SeqCst);
        claims.unwrap();
    });
}
