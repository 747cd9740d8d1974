//! The suite that every store must pass.

use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
use eventhubs_checkpoint_store_testkit::{Place, conformance_tests};

async fn open(place: Place) -> SqliteCheckpointStore {
    SqliteCheckpointStore::open(place.folder().join("checkpoints.db")).await.unwrap()
}

conformance_tests!(open);
