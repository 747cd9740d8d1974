//! Checkpoints in the transactions of an application, on its own connection to the file.

use std::process::Command;
use std::time::Duration;

use eventhubs_checkpoint_store::{
    CheckpointOutcome, CheckpointStore as _, DeleteOutcome, ErrorKind, Expected, FenceToken,
    TransactionalCheckpoint,
};
use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, TransactionBehavior};
use eventhubs_checkpoint_store_sqlite::{
    ALREADY_DONE, FENCED, Parameter, SqliteCheckpointStore, TransactionalCheckpointExt as _,
    WRITE_CHECKPOINT, is_already_done, is_fenced,
};
use tempfile::TempDir;

use crate::{absent_file, at, connect, fence, open, open_with_limit, partition, scope, sequence_number};

/// A store, and an application with a table in its file.
async fn application() -> (TempDir, SqliteCheckpointStore, Connection) {
    let (folder, path) = absent_file();
    let store = open(&path).await;
    let application = connect(&path);
    application.execute("CREATE TABLE output (number INTEGER NOT NULL) STRICT", []).unwrap();
    (folder, store, application)
}

fn checkpoint(number: i64, token: FenceToken) -> TransactionalCheckpoint {
    let offset = number.to_string().into();
    TransactionalCheckpoint::new(scope(), partition("0"), offset, number.into(), token)
}

/// Writes a row for the event and its checkpoint in one transaction.
fn handle(application: &mut Connection, number: i64, token: FenceToken) -> rusqlite::Result<()> {
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT INTO output VALUES (?1)", [number])?;
    checkpoint(number, token).write(&transaction)?;
    transaction.commit()
}

fn output(application: &Connection) -> Vec<i64> {
    let mut statement = application.prepare("SELECT number FROM output ORDER BY number").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_checkpoint_commits_with_the_rows_of_the_application() {
    let (_folder, store, mut application) = application().await;
    let (token, before) = fence(&store).await;
    assert_eq!(before, None, "a fence is no checkpoint");
    handle(&mut application, 7, token).unwrap();
    let found = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    let version = found.version.clone().unwrap();
    assert_eq!((found, output(&application)), (at(7).with_version(version), vec![7]));
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_no_checkpoint() {
    let (_folder, store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    handle(&mut application, 7, token).unwrap();
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    checkpoint(8, token).write(&transaction).unwrap();
    drop(transaction);
    assert_eq!(sequence_number(&store).await, Some(7));
}

#[tokio::test]
async fn a_later_fence_refuses_the_earlier_owner_and_its_rows() {
    let (_folder, store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    handle(&mut application, 1, earlier).unwrap();
    let (later, begins_after) = fence(&store).await;
    assert!(later > earlier);
    assert_eq!(begins_after.unwrap().sequence_number, Some(1.into()));

    let error = handle(&mut application, 2, earlier).unwrap_err();
    assert!(is_fenced(&error) && !is_already_done(&error), "{error}");
    assert_eq!((output(&application), sequence_number(&store).await), (vec![1], Some(1)));
    handle(&mut application, 2, later).unwrap();
    assert_eq!((output(&application), sequence_number(&store).await), (vec![1, 2], Some(2)));
}

#[tokio::test]
async fn an_event_that_is_done_is_refused_with_its_rows() {
    let (_folder, store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    handle(&mut application, 5, token).unwrap();
    for number in [5, 4] {
        let error = handle(&mut application, number, token).unwrap_err();
        assert!(is_already_done(&error) && !is_fenced(&error), "{number}: {error}");
    }
    assert_eq!(output(&application), [5]);
    handle(&mut application, 6, token).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_waits_for_the_open_transaction_of_the_earlier_owner() {
    let (_folder, store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    checkpoint(7, earlier).write(&transaction).unwrap();

    let next = store.clone();
    let mut fenced = tokio::spawn(async move { fence(&next).await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut fenced).await;
    assert!(early.is_err(), "the fence does not wait");
    transaction.commit().unwrap();
    let (_, begins_after) = fenced.await.unwrap();
    assert_eq!(begins_after.unwrap().sequence_number, Some(7.into()));
    assert!(is_fenced(&handle(&mut application, 8, earlier).unwrap_err()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_waits_too_long_changes_nothing() {
    let (folder, store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let hasty = folder.path().join("checkpoints.db");
    let hasty = open_with_limit(&hasty, Duration::from_millis(300)).await;
    let error = hasty.fence(&scope(), &partition("0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    drop(transaction);
    handle(&mut application, 1, earlier).unwrap();
}

#[tokio::test]
async fn a_transaction_that_has_read_before_the_fence_cannot_write() {
    let (_folder, store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    let transaction = application.transaction().unwrap();
    transaction.query_row("SELECT count(*) FROM output", [], |row| row.get::<_, i64>(0)).unwrap();
    fence(&store).await;
    let error = checkpoint(1, earlier).write(&transaction).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy), "{error}");
    drop(transaction);
    assert_eq!(sequence_number(&store).await, None);
}

#[tokio::test]
async fn without_a_fence_nothing_can_be_written() {
    let (_folder, store, mut application) = application().await;
    let error = handle(&mut application, 1, FenceToken::new(0)).unwrap_err();
    assert!(is_fenced(&error), "{error}");
    store.update_checkpoint(&scope(), &at(1), &Expected::Absent).await.unwrap();
    let error = handle(&mut application, 2, FenceToken::new(1)).unwrap_err();
    assert!(is_fenced(&error), "{error}");
}

#[tokio::test]
async fn an_ordinary_checkpoint_may_go_back_and_leaves_the_fence_alone() {
    let (_folder, store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    handle(&mut application, 9, token).unwrap();
    let version = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap().version.unwrap();
    let written = store.update_checkpoint(&scope(), &at(3), &Expected::Version(version)).await.unwrap();
    assert!(matches!(written, CheckpointOutcome::Written(_)), "{written:?}");
    handle(&mut application, 4, token).unwrap();
    assert_eq!(sequence_number(&store).await, Some(4));
}

#[tokio::test]
async fn after_a_transactional_checkpoint_the_version_is_another() {
    let (_folder, store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    let CheckpointOutcome::Written(version) =
        store.update_checkpoint(&scope(), &at(1), &Expected::Absent).await.unwrap()
    else {
        panic!("a fence is no checkpoint")
    };
    handle(&mut application, 2, token).unwrap();
    let written = store.update_checkpoint(&scope(), &at(1), &Expected::Version(version)).await.unwrap();
    assert_eq!(written, CheckpointOutcome::Conflict);
}

#[tokio::test]
async fn a_deleted_checkpoint_is_still_fenced() {
    let (_folder, store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    let (token, _) = fence(&store).await;
    handle(&mut application, 5, token).unwrap();
    let version = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap().version.unwrap();
    let deleted = store.delete_checkpoint(&scope(), &partition("0"), &version).await.unwrap();
    assert_eq!((deleted, sequence_number(&store).await), (DeleteOutcome::Deleted, None));
    assert!(is_fenced(&handle(&mut application, 1, earlier).unwrap_err()));
    handle(&mut application, 1, token).unwrap();
}

#[tokio::test]
async fn the_names_of_a_checkpoint_have_no_case() {
    let (_folder, store, application) = application().await;
    let (token, _) = fence(&store).await;
    let mut shouted = checkpoint(1, token);
    shouted.scope.namespace = "N.EXAMPLE.NET".parse().unwrap();
    shouted.scope.event_hub = "Hub".parse().unwrap();
    shouted.scope.consumer_group = "GROUP".parse().unwrap();
    shouted.write(&application).unwrap();
    assert_eq!(sequence_number(&store).await, Some(1));
}

#[tokio::test]
async fn a_failure_is_neither_of_the_refusals() {
    let (_folder, store, application) = application().await;
    let (token, _) = fence(&store).await;
    application.execute("CREATE TABLE once (number INTEGER CHECK (number < 0))", []).unwrap();
    let elsewhere = Connection::open_in_memory().unwrap();
    for error in [
        checkpoint(1, token).write(&elsewhere).unwrap_err(),
        application.execute("INSERT INTO once VALUES (1)", []).unwrap_err(),
    ] {
        assert!(!is_fenced(&error) && !is_already_done(&error), "{error}");
    }
}

/// Python has another SQLite, often an old one.
#[tokio::test]
async fn another_driver_writes_by_statement_and_parameters() {
    const PROGRAM: &str = "import sqlite3, sys
path, statement, *values = sys.argv[1:]
values = [int(value) if at in (4, 6) else value for at, value in enumerate(values)]
try:
    with sqlite3.connect(path) as connection:
        connection.execute('INSERT INTO output VALUES (?)', [values[6]])
        connection.execute(statement, values)
    print('committed')
except sqlite3.IntegrityError as error:
    print(error)
";
    let (folder, store, application) = application().await;
    let (token, _) = fence(&store).await;
    let python = |number| {
        let values = checkpoint(number, token).parameters().map(|value| match value {
            Parameter::Text(text) => text,
            Parameter::Integer(number) => number.to_string(),
        });
        let mut command = Command::new("python3");
        command
            .args(["-c", PROGRAM])
            .arg(folder.path().join("checkpoints.db"))
            .arg(WRITE_CHECKPOINT)
            .args(values);
        let said = command.output().expect("python3 can be started");
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(python(1), "committed");
    assert_eq!(python(1), ALREADY_DONE);
    fence(&store).await;
    assert_eq!(python(2), FENCED);
    assert_eq!((output(&application), sequence_number(&store).await), (vec![1], Some(1)));
}
