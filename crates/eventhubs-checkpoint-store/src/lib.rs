//! Where the instances of a consumer group agree on who owns which partition, and how far each partition is.
//!
//! A store implements [`CheckpointStore`]; [`MemoryCheckpointStore`] is the one that needs nothing else. The feature
//! `admin`, off by default, adds what operators do with any store.

#[cfg(feature = "admin")]
pub mod admin;
mod checkpoint;
mod error;
mod fence;
mod memory;
mod ownership;
mod store;
mod watch;

pub use async_trait::async_trait;
pub use checkpoint::{Checkpoint, CheckpointOutcome, DeleteOutcome};
pub use error::{Error, ErrorKind, Result};
pub use fence::{FenceToken, Fenced, TransactionalCheckpoint};
pub use futures_util::stream::BoxStream;
pub use memory::MemoryCheckpointStore;
pub use ownership::{Claim, ClaimOutcome, Expected, Mark, Ownership, OwnershipList, RejectedRecord, Version};
pub use store::CheckpointStore;
pub use watch::{Audience, Hint};
