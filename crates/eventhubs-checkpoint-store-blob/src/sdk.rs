/// The crate of Azure's that makes a store's requests.
///
/// Both write the same names, metadata and conditions, so stores by either may share a container at any time.
///
/// | | [`Legacy`](Self::Legacy) | `Official` |
/// |---|---|---|
/// | crate | `azure_storage_blobs` 0.21 | `azure_storage_blob` 1.1 or later |
/// | upstream | frozen since January 2025 | maintained by Microsoft |
/// | cargo feature | none | `official-sdk` |
/// | account keys, connection strings | signed by the SDK | signed by this crate; the SDK has no keys |
/// | shared access signatures, and their exchange | yes | yes, added by this crate |
/// | token credentials | yes | yes, added by this crate |
/// | [`api_version`](crate::BlobCheckpointStoreBuilder::api_version) | 2015-02-21 or later, with tokens 2017-11-09 | the same |
/// | [`proxy`](crate::BlobCheckpointStoreBuilder::proxy), [`trust`](crate::BlobCheckpointStoreBuilder::trust) | by this crate's HTTP client | the same |
/// | retries, time limits, parsing of listings | by this crate | the same |
/// | log lines of the SDK | off: they hold credentials | at level `DEBUG`; the SDK never has a credential |
/// | `x-ms-client-request-id`, for support requests | not sent | sent, and in the log |
///
/// No option is refused with either of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Sdk {
    /// `azure_storage_blobs` 0.21.
    #[default]
    Legacy,
    /// `azure_storage_blob` 1. Needs the cargo feature `official-sdk`.
    #[cfg(feature = "official-sdk")]
    Official,
}
