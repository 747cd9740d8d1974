//! The SQLite store on real files, from several threads and processes.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, reason = "a process of a test says what it did")]

mod calls;
mod conformance;
mod dead_letters;
mod opening;
#[cfg(unix)]
mod permissions;
mod processes;
mod records;
mod thieves;
mod transactions;
mod watching;

use std::path::{Path, PathBuf};
use std::time::Duration;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointStore, Claim, ClaimOutcome, Expected, FenceToken, Ownership,
};
use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
use eventhubs_checkpoint_store_sqlite::rusqlite::Connection;
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use tempfile::TempDir;

/// How long whatever must happen may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own, and the path of a file in it that does not exist.
fn absent_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints.db");
    (folder, path)
}

async fn open(path: &Path) -> SqliteCheckpointStore {
    SqliteCheckpointStore::open(path).await.unwrap()
}

/// A store that waits for this long for the lock.
async fn open_with_limit(path: &Path, limit: Duration) -> SqliteCheckpointStore {
    SqliteCheckpointStore::builder(path).call_timeout(limit).open().await.unwrap()
}

/// A connection of an application.
fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection
}

fn scope() -> ConsumerScope {
    ConsumerScope::new("n.example.net".parse().unwrap(), "hub".parse().unwrap(), "group".parse().unwrap())
}

fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

fn claim(id: &str, owner: Option<&str>, expected: Expected) -> Claim {
    Claim::new(partition(id), owner.map(|owner| OwnerId::new(owner).unwrap()), expected)
}

fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}

async fn won(store: &SqliteCheckpointStore, claim: &Claim) -> Ownership {
    match store.claim_ownership(&scope(), claim).await {
        ClaimOutcome::Won(record) => record,
        other => panic!("{claim:?}: {other:?}"),
    }
}

/// The checkpoint of partition 0 after an event.
fn at(number: i64) -> Checkpoint {
    Checkpoint::new(partition("0"), Some(number.to_string().into()), Some(number.into()))
}

/// Begins an ownership of partition 0.
async fn fence(store: &SqliteCheckpointStore) -> (FenceToken, Option<Checkpoint>) {
    let fenced = store.fence(&scope(), &partition("0")).await.unwrap();
    (fenced.token.unwrap(), fenced.checkpoint)
}

async fn sequence_number(store: &SqliteCheckpointStore) -> Option<i64> {
    let found = store.checkpoint(&scope(), &partition("0")).await.unwrap();
    found.map(|checkpoint| checkpoint.sequence_number.unwrap().value())
}
