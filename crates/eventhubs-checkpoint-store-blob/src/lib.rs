//! Ownership and checkpoints of Azure Event Hubs consumers in Azure Blob Storage, in the layout that every official SDK
//! shares.
//!
//! ```
//! use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
//!
//! // Azurite on its usual port; nothing is sent before the first use.
//! let store = BlobCheckpointStore::from_connection_string("UseDevelopmentStorage=true", "checkpoints")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Azure's crate for blobs, `azure_storage_blobs` 0.21, is frozen, logs credentials and repeats them in its errors. It
//! is used for building and signing requests only, inside one private module.

mod backend;
mod connect;
mod names;
mod records;
mod retry;
mod store;

pub use store::{BlobCheckpointStore, BlobCheckpointStoreBuilder, DEFAULT_CALL_TIMEOUT, MAX_LISTED};
