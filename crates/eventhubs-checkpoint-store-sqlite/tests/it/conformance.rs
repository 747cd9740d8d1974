//! The suite that every store must pass.

use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;

/// All properties on one file, each with a connection of its own. The file stays from run to run.
async fn store() -> SqliteCheckpointStore {
    SqliteCheckpointStore::open(concat!(env!("CARGO_TARGET_TMPDIR"), "/conformance.db")).await.unwrap()
}

eventhubs_checkpoint_store_testkit::conformance_tests!(store);
