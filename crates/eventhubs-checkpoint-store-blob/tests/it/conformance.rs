//! The suite that every store must pass.

eventhubs_checkpoint_store_testkit::conformance_tests!(crate::store);
