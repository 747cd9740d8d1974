//! The memory store against the suite that every store must pass.

use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_checkpoint_store_testkit::conformance_tests;

conformance_tests!(async || MemoryCheckpointStore::new());
