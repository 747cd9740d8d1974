//! The memory store against the suite that every store must pass, and what operators do with a store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;

use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};

conformance_tests!(
    async |place: Place| place.shared(MemoryCheckpointStore::new),
    Capabilities::all().without_durability().without_fence().racing_rounds(500)
);
