//! What may be wrong with a file when it is opened.

use std::fs;
use std::path::Path;

use eventhubs_checkpoint_store::{CheckpointStore as _, Error, ErrorKind, Expected};
use eventhubs_checkpoint_store_sqlite::{SCHEMA_VERSION, SqliteCheckpointStore, Synchronous};

use crate::{absent_file, claim, connect, open, scope, won};

async fn refused(path: impl AsRef<Path>) -> Error {
    SqliteCheckpointStore::open(path.as_ref()).await.unwrap_err()
}

#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

fn pragma(path: &Path, name: &str) -> String {
    let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
    connect(path).query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_database_in_memory_is_refused_by_name() {
    for (path, text) in [
        (":memory:", "MemoryCheckpointStore"),
        ("", "is empty"),
        ("file::memory:?cache=shared", "URI"),
        ("file:x.db?mode=memory", "URI"),
    ] {
        assert_says(&refused(path).await, ErrorKind::InvalidArgument, text);
    }
}

#[tokio::test]
async fn a_file_in_no_folder_is_not_found() {
    let (_folder, path) = absent_file();
    let error = refused(path.join("checkpoints.db")).await;
    assert_says(&error, ErrorKind::NotFound, "is in a folder that does not exist");
}

#[tokio::test]
async fn a_folder_is_no_file() {
    let (folder, _) = absent_file();
    assert_says(&refused(folder.path()).await, ErrorKind::InvalidArgument, "is a folder");
}

#[tokio::test]
async fn an_absent_file_is_not_created_where_that_is_not_wanted() {
    let (_folder, path) = absent_file();
    let look = || SqliteCheckpointStore::builder(&path).create_if_absent(false).open();
    assert_says(&look().await.unwrap_err(), ErrorKind::NotFound, "does not exist");
    assert!(!path.exists());
    open(&path).await;
    look().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_folder, path) = absent_file();
    let text = "not a database, and longer than the header of one\n".repeat(100);
    fs::write(&path, &text).unwrap();
    assert_says(&refused(&path).await, ErrorKind::Protocol, "not a database");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_file_is_said_to_be_damaged() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let claims: Vec<_> = (0..500).map(|id| claim(&id.to_string(), Some("a"), Expected::Absent)).collect();
    store.claim_all(&scope(), &claims).await;
    drop(store);
    connect(&path).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xA5);
    fs::write(&path, bytes).unwrap();

    let error = match SqliteCheckpointStore::open(&path).await {
        Ok(store) => store.list_ownership(&scope()).await.unwrap_err(),
        Err(error) => error,
    };
    assert_says(&error, ErrorKind::Protocol, "malformed");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_alone() {
    let (_folder, path) = absent_file();
    connect(&path).execute_batch("CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = 12").unwrap();
    let before = fs::read(&path).unwrap();
    assert_says(&refused(&path).await, ErrorKind::InvalidArgument, "allow_other_tables");
    assert_eq!(fs::read(&path).unwrap(), before);

    let store = SqliteCheckpointStore::builder(&path).allow_other_tables(true).open().await.unwrap();
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    assert_eq!((pragma(&path, "user_version"), pragma(&path, "application_id")), ("12".into(), "0".into()));
    open(&path).await;
}

#[tokio::test]
async fn an_application_id_alone_makes_a_file_one_of_another_program() {
    let (_folder, path) = absent_file();
    connect(&path).execute_batch("PRAGMA application_id = 7").unwrap();
    assert_says(&refused(&path).await, ErrorKind::InvalidArgument, "another program");
}

#[tokio::test]
async fn a_new_file_says_whose_it_is() {
    let (_folder, path) = absent_file();
    open(&path).await;
    assert_eq!(pragma(&path, "application_id"), i64::from(0x4548_5543).to_string());
    let version: i64 =
        connect(&path).query_row("SELECT version FROM eventhubs_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(version, SCHEMA_VERSION);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused_with_both_versions() {
    let (_folder, path) = absent_file();
    open(&path).await;
    connect(&path).execute("INSERT INTO eventhubs_schema VALUES (7, 0)", []).unwrap();
    let error = refused(&path).await;
    assert_says(&error, ErrorKind::Protocol, "version 7 ");
    assert_says(&error, ErrorKind::Protocol, &format!("knows {SCHEMA_VERSION} "));
}

#[tokio::test]
async fn a_store_opens_while_an_application_writes() {
    let (_folder, path) = absent_file();
    open(&path).await;
    let application = connect(&path);
    application.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = SqliteCheckpointStore::builder(&path).synchronous(Synchronous::Full).open().await.unwrap();
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records, []);
}
