//! The memory store against the suite that every store must pass.

use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};

conformance_tests!(
    async |place: Place| place.shared(MemoryCheckpointStore::new),
    Capabilities::all().without_durability().without_fence().without_watch().racing_rounds(500)
);
