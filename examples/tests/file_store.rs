//! The store of the example against the suite that every store must pass.

#[path = "../file_store/store.rs"]
mod store;

use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};

use store::FileStore;

conformance_tests!(
    async |place: Place| FileStore(place.folder().into()),
    Capabilities::all().without_fence().without_watch().without_deletion()
);
