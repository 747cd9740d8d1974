//! Ownership and checkpoints of Azure Event Hubs consumers in Redis or Valkey.

mod builder;
mod checkpoints;
mod error;
mod link;
mod listing;
mod look;
mod masters;
mod names;
mod nodes;
mod ownership;
mod records;
mod replicas;
mod scopes;
mod scripts;
mod store;
mod subscription;
mod watch;

pub use builder::{DEFAULT_CALL_TIMEOUT, RedisCheckpointStoreBuilder};
pub use names::DEFAULT_KEY_PREFIX;
pub use records::MAX_LISTED;
pub use store::{MAX_CLAIMS, RedisCheckpointStore};
