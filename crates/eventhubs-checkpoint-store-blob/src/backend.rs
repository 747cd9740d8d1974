//! What the store needs of a blob service, in words that belong to no SDK.

mod answer;
pub(crate) mod container;
pub(crate) mod http;
pub(crate) mod legacy;
mod list_xml;
#[cfg(feature = "official-sdk")]
pub(crate) mod official;

#[cfg(test)]
pub(crate) mod fake;

use std::fmt::Debug;
use std::time::SystemTime;

use eventhubs_checkpoint_store::{Expected, RejectedRecord, Result, Version, async_trait};

use crate::records::Metadata;

/// The most pages that a listing reads, for a service may give short or empty ones.
pub(crate) const MAX_PAGES: usize = 64;

/// One container of a blob service. Each method is one request and is not repeated.
///
/// A read may be dropped at any time; a write that fails or is dropped may have been applied, unless the
/// error says that the service refused it.
#[async_trait]
pub(crate) trait BlobBackend: Debug + Send + Sync {
    /// Creates the container; one that is there already is fine.
    async fn create_container(&self) -> Result<()>;

    /// Sets the metadata of a blob, empty otherwise, if it is as expected; `None` if it is not.
    async fn write(&self, name: &str, metadata: &Metadata, expected: &Expected) -> Result<Option<Stamp>>;

    /// Reads a blob; `None` if there is none.
    async fn read(&self, name: &str) -> Result<Option<Blob>>;

    /// Reads what is in a blob; `None` if there is none.
    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Deletes a blob if it has this version; `false` if it has another one or is gone.
    async fn delete(&self, name: &str, version: &Version) -> Result<bool>;

    /// Lists the blobs whose names start with `prefix`; `marker` is where the page before ended.
    async fn list(&self, prefix: &str, marker: Option<&str>) -> Result<Page>;

    /// As [`list`](Self::list), without what is in folders below `prefix`; of those it gives the names.
    async fn list_folder(&self, prefix: &str, marker: Option<&str>) -> Result<Page>;
}

/// What a write gives a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The etag without quotes; lists and headers differ in that (docs/contract.md §9.4).
    pub(crate) version: Version,
    /// When it was last written, by the service's clock, in whole seconds.
    pub(crate) modified: Option<SystemTime>,
    /// Whether the service keeps what it had before as a version of its own; only an answer to a write tells.
    pub(crate) is_versioned: bool,
}

/// A blob as far as the store is concerned: nothing is in those that it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    /// From the container's root, with slashes.
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    pub(crate) stamp: Stamp,
}

/// A part of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// No directories.
    pub(crate) blobs: Vec<Blob>,
    /// With their last slash.
    pub(crate) folders: Vec<String>,
    /// Blobs that could not be read.
    pub(crate) rejected: Vec<RejectedRecord>,
    /// Where the next page starts; a page without blobs need not be the last one.
    pub(crate) next: Option<String>,
    /// The service's clock when it answered.
    pub(crate) now: Option<SystemTime>,
}
