//! The suite that every store must pass.

use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};
use eventhubs_test_harness::Azurite;

use crate::store_at;

async fn open(place: Place) -> BlobCheckpointStore {
    store_at(Azurite::shared().await.port(), place.name()).await
}

conformance_tests!(open, Capabilities::all().without_fence().without_watch());
