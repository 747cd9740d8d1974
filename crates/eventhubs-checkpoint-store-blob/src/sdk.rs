//! Which SDK makes the requests of a store.

use std::sync::Arc;

use eventhubs_checkpoint_store::Result;

use crate::access::Access;
use crate::backend::BlobBackend;
use crate::backend::container::Container;
use crate::backend::http::{Http, Network};
use crate::backend::legacy::Legacy;
#[cfg(feature = "official-sdk")]
use crate::backend::official::Official;

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
/// | log lines of the SDK | off: they hold credentials | at level `DEBUG`, at `INFO` where no answer came; the SDK never has a credential |
/// | `x-ms-client-request-id`, for support requests | not sent | sent, and in the log |
/// | known advisories | six, in the `deny.toml` of the repository with what of them is reached | none; the old crate is compiled all the same |
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

impl Sdk {
    /// Opens a container; nothing is sent.
    ///
    /// # Errors
    /// When the proxy or the certificates are unusable, or TLS is not to be had.
    pub(crate) fn open(
        self,
        name: String,
        access: Arc<Access>,
        network: &Network,
        version: String,
    ) -> Result<Arc<dyn BlobBackend>> {
        let account = access.account();
        let http = Http::new(&account.endpoint, network)?;
        Ok(match self {
            Self::Legacy => {
                let sdk = Legacy::new(&name, account, http, &version);
                Arc::new(Container { sdk, access, name, version })
            }
            #[cfg(feature = "official-sdk")]
            Self::Official => {
                let sdk = Official::new(&name, account, http, &version)?;
                Arc::new(Container { sdk, access, name, version })
            }
        })
    }
}
