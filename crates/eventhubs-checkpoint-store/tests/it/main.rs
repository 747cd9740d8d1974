//! The memory store against the suite that every store must pass, and what operators do with a store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;

use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_checkpoint_store_testkit::conformance_tests;

conformance_tests!(async || MemoryCheckpointStore::new());
