//! The file of dead letters: the suite, and what may happen to a file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod damage;
mod defective;
mod kills;
mod opening;

use std::path::{Path, PathBuf};

use eventhubs_dead_letters::{DeadLetter, FileDeadLetters};
use eventhubs_types::{ConsumerScope, EventData};
use tempfile::TempDir;

/// A folder of its own, and the path of a file in it that does not exist.
fn absent_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letters.jsonl");
    (folder, path)
}

async fn open(path: &Path) -> FileDeadLetters {
    FileDeadLetters::open(path).await.unwrap()
}

fn letter(number: i64) -> DeadLetter {
    let scope = ConsumerScope::new("n".parse().unwrap(), "hub".parse().unwrap(), "group".parse().unwrap());
    let event = EventData::new("body").property("secret", "canary");
    let owner = "owner".parse().unwrap();
    DeadLetter::new(scope, "0".parse().unwrap(), number, "0", event, owner).with_message(Some("raw".into()))
}

/// The numbers of the letters, and the lines of those that cannot be read.
fn read(path: &Path) -> Vec<Result<i64, Option<u64>>> {
    let letters = FileDeadLetters::read(path).unwrap();
    letters.map(|letter| letter.map(|found| found.sequence_number().value()).map_err(|e| e.line())).collect()
}
