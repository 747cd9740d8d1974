//! Ownership and checkpoints of Azure Event Hubs consumers in Azure Blob Storage, in the layout that every
//! official SDK shares.
//!
//! ```
//! use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
//!
//! // Azurite on its usual port; nothing is sent before the first use.
//! let store = BlobCheckpointStore::from_connection_string("UseDevelopmentStorage=true", "checkpoints")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! One empty blob for each record, named in lower case; what the record says is the blob's metadata.
//!
//! | record | name | metadata |
//! |---|---|---|
//! | ownership | `<namespace>/<event hub>/<consumer group>/ownership/<partition>` | `ownerid`, empty if released |
//! | checkpoint | `<namespace>/<event hub>/<consumer group>/checkpoint/<partition>` | `offset`, `sequencenumber` |
//!
//! The version of a record is the blob's etag. Records of other SDKs are read leniently: metadata in any
//! case, `None`, `no offset` and spaces for what is missing, owner ids that ours may not have. A blob that
//! makes no sense is left out and never fails a listing.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | a call, retries included | 30 s, unless set otherwise |
//! | to connect; one request | 5 s; 15 s |
//! | attempts of one request | 4, with pauses of up to 0.2 s, 0.4 s and 0.8 s |
//! | a pause that the service asks for | 2 s; if it asks for more, the caller is told |
//! | a listing | about 8000 blobs, 64 pages |
//! | a list of scopes | 1000 folders on each level |
//! | the JSON of an older checkpoint | 64 KiB |
//! | a token credential | 15 s for a token, which is kept for 24 hours at most |
//! | one page; the metadata of one blob in it | 16 MiB; 8 KiB |
//!
//! # Two SDKs
//!
//! Azure has two crates for blobs, and either can make the requests: `azure_storage_blobs` 0.21, which is the default, and
//! `azure_storage_blob` 1, the official one, with the cargo feature `official-sdk`. The feature alone changes nothing, since another
//! crate of the program may have turned it on: a store chooses by [`sdk`](BlobCheckpointStoreBuilder::sdk). [`Sdk`] has a table of
//! what each can do.
//!
//! ```
//! use eventhubs_checkpoint_store_blob::{BlobCheckpointStore, Sdk};
//!
//! let builder = BlobCheckpointStore::builder("UseDevelopmentStorage=true", "checkpoints");
//! let store = builder.sdk(Sdk::Official).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Secrets
//!
//! `azure_storage_blobs` 0.21 is frozen, logs credentials and repeats them in its errors. It is used for building and signing requests
//! only, inside one private module, with its logs off. The official SDK builds requests and never has what opens them. No key,
//! signature, token or connection string is in any log, error or `Debug` output of this crate.

mod access;
mod account;
mod backend;
mod builder;
mod connect;
mod listing;
mod names;
mod older;
mod records;
mod retry;
mod sdk;
mod spellings;
mod store;
mod tokens;
mod tools;
mod version;

pub use builder::{BlobCheckpointStoreBuilder, DEFAULT_CALL_TIMEOUT};
pub use names::Naming;
pub use sdk::Sdk;
pub use store::{BlobCheckpointStore, MAX_LISTED};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
