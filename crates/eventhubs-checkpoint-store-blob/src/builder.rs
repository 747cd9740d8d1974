//! How a store is opened, and its options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::Result;
use eventhubs_types::TokenCredential;
use secrecy::{ExposeSecret, SecretString};

use crate::access::Access;
use crate::account::{Connection, Credential};
use crate::backend::http::Network;
use crate::names::{self, Naming};
use crate::sdk::Sdk;
use crate::store::{BlobCheckpointStore, Options};
use crate::version;

/// How long one call of the store may take, its retries included, unless
/// [`call_timeout`](BlobCheckpointStoreBuilder::call_timeout) says otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of a [`BlobCheckpointStore`].
#[derive(Clone)]
pub struct BlobCheckpointStoreBuilder {
    opening: Opening,
    network: Network,
    sdk: Sdk,
    api_version: Option<String>,
    options: Options,
}

/// What the store was opened with.
#[derive(Clone)]
enum Opening {
    ConnectionString { text: SecretString, container: String },
    SasUrl(SecretString),
    Tokens { endpoint: String, container: String, credential: Arc<dyn TokenCredential> },
}

impl Opening {
    fn connection(&self) -> Result<(Connection, String)> {
        let (connection, container) = match self {
            Self::SasUrl(url) => Connection::of_sas_url(url.expose_secret())?,
            Self::ConnectionString { text, container } => {
                (Connection::parse(text.expose_secret())?, container.clone())
            }
            Self::Tokens { endpoint, container, credential } => {
                (Connection::with_tokens(endpoint, Arc::clone(credential))?, container.clone())
            }
        };
        names::check_container(&container)?;
        Ok((connection, container))
    }
}

impl BlobCheckpointStore {
    /// Returns a store in a container of the account that the connection string names. Nothing is sent yet.
    ///
    /// The string is the one that the Azure portal shows, with an account key or a shared access signature, of
    /// any cloud; `BlobEndpoint` names any other endpoint. `UseDevelopmentStorage=true` means Azurite on port
    /// 10000 of this machine, with `DevelopmentStorageProxyUri=http://host` of another one.
    ///
    /// # Errors
    /// As [`BlobCheckpointStoreBuilder::build`].
    pub fn from_connection_string(connection_string: &str, container: &str) -> Result<Self> {
        Self::builder(connection_string, container).build()
    }

    /// Returns a builder for [`from_connection_string`](Self::from_connection_string) with options.
    pub fn builder(connection_string: &str, container: &str) -> BlobCheckpointStoreBuilder {
        let (text, container) = (connection_string.into(), container.to_owned());
        BlobCheckpointStoreBuilder::new(Opening::ConnectionString { text, container })
    }

    /// Returns a builder for a store in the container of this URL, which ends in a shared access signature. The
    /// signature must allow to read, write, list and create, and to delete if tools shall.
    ///
    /// ```
    /// use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
    ///
    /// let url = "https://contoso.blob.core.windows.net/checkpoints?sv=2022-11-02&sr=c&sp=rcwdl&sig=c2ln";
    /// let store = BlobCheckpointStore::with_sas_url(url).build()?;
    /// // Before it expires:
    /// store.update_shared_access_signature("sv=2022-11-02&sr=c&sp=rcwdl&sig=bmV3")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_sas_url(url: &str) -> BlobCheckpointStoreBuilder {
        BlobCheckpointStoreBuilder::new(Opening::SasUrl(url.into()))
    }

    /// Returns a builder for a store that authenticates with a token credential, the same that the event hub
    /// takes. `endpoint` is the URL of the account's blob service, in any cloud. The identity needs the role
    /// *Storage Blob Data Contributor* for the container.
    ///
    /// Tokens are for `https://storage.azure.com/.default`. They are kept until five minutes before they expire,
    /// and one that is refused is fetched again once.
    ///
    /// ```
    /// # use eventhubs_types::{AccessToken, TokenCredential, TokenError};
    /// # #[derive(Debug)]
    /// # struct ManagedIdentity;
    /// # #[eventhubs_checkpoint_store::async_trait]
    /// # impl TokenCredential for ManagedIdentity {
    /// #     async fn token(&self, _: &str) -> Result<AccessToken, TokenError> {
    /// #         Err("not here".into())
    /// #     }
    /// # }
    /// use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
    ///
    /// let account = "https://contoso.blob.core.windows.net";
    /// let store = BlobCheckpointStore::with_credential(account, "checkpoints", ManagedIdentity).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_credential(
        endpoint: &str,
        container: &str,
        credential: impl TokenCredential + 'static,
    ) -> BlobCheckpointStoreBuilder {
        let (endpoint, container) = (endpoint.to_owned(), container.to_owned());
        let credential = Arc::new(credential);
        BlobCheckpointStoreBuilder::new(Opening::Tokens { endpoint, container, credential })
    }
}

impl BlobCheckpointStoreBuilder {
    fn new(opening: Opening) -> Self {
        Self {
            opening,
            network: Network::default(),
            sdk: Sdk::default(),
            api_version: None,
            options: Options {
                naming: Naming::default(),
                call_timeout: DEFAULT_CALL_TIMEOUT,
                takes_older: false,
            },
        }
    }

    /// Chooses the crate of Azure's that makes the requests. Default: [`Sdk::Legacy`], whatever features are on.
    #[must_use]
    pub fn sdk(mut self, sdk: Sdk) -> Self {
        self.sdk = sdk;
        self
    }

    /// Sets the version of the storage API that requests ask for, `2019-07-07` for example. Azure Stack Hub
    /// knows none newer than that, or than `2017-11-09`, depending on its release. A shared access signature has
    /// a version of its own, `sv`, which must be one that the service knows too.
    ///
    /// Default: `2022-11-02`.
    #[must_use]
    pub fn api_version(mut self, version: &str) -> Self {
        self.api_version = Some(version.to_owned());
        self
    }

    /// Goes through an HTTP proxy, `http://user:password@host:port`. Plain http to this machine never does.
    ///
    /// Default: the proxy that the environment names in `HTTPS_PROXY` (`HTTP_PROXY` for an endpoint without
    /// TLS) or `ALL_PROXY`, unless `NO_PROXY` has the host or the host is this machine. Event hubs are reached
    /// through it too, over a WebSocket.
    #[must_use]
    pub fn proxy(mut self, url: &str) -> Self {
        self.network.proxy = Some(url.into());
        self
    }

    /// Trusts these certificate authorities in addition to those of the system: one or more certificates, as
    /// PEM. Default: those of the system only.
    #[must_use]
    pub fn trust(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.network.authorities.push(pem.as_ref().to_owned());
        self
    }

    /// How names are spelled. Default: [`Naming::LowerCase`].
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.options.naming = naming;
        self
    }

    /// How long one call may take, its retries included. Default: 30 seconds.
    #[must_use]
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.options.call_timeout = limit;
        self
    }

    /// Starts a partition that has no checkpoint from the one that an older SDK left in the same container. The
    /// first of these blobs that has a position is taken; it is not changed:
    ///
    /// | blob | of |
    /// |---|---|
    /// | `<namespace>/<event hub>/<consumer group>/checkpoint/<partition>`, in the other [`Naming`] | Go, Rust |
    /// | `<namespace>/<event hub>/<consumer group>/<partition>`, JSON | Azure Functions, extension 3 and 4 |
    /// | `<consumer group>/<partition>`, JSON | the event processor host of .NET, Java and Python |
    /// | `dapr-<event hub>-<consumer group>-<partition>`, JSON | Dapr before 1.10 |
    /// | `<partition>`, JSON | the Go SDK 3 |
    ///
    /// The last two and the host's do not name the namespace or the event hub, so ask for it only where the
    /// container was used for one. It costs up to nine requests for each partition without a checkpoint.
    ///
    /// Default: older checkpoints are not used, and a warning names one that is there.
    #[must_use]
    pub fn take_older_checkpoints(mut self) -> Self {
        self.options.takes_older = true;
        self
    }

    /// Makes the store. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](eventhubs_checkpoint_store::ErrorKind::InvalidArgument) with the part of
    /// the connection string or URL, the option, or the rule for container names that is not kept. No value is
    /// repeated, except that of the API version.
    pub fn build(self) -> Result<BlobCheckpointStore> {
        let (connection, container) = self.opening.connection()?;
        if let Some(version) = &self.api_version {
            version::check(version, matches!(connection.credential, Credential::Tokens(_)))?;
        }
        let access = Arc::new(Access::new(connection));
        let version = self.api_version.unwrap_or_else(|| version::DEFAULT.to_owned());
        let backend = self.sdk.open(container, Arc::clone(&access), &self.network, version)?;
        Ok(BlobCheckpointStore::new(backend, access, self.options))
    }
}

/// Nothing of what opens the store.
impl fmt::Debug for BlobCheckpointStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobCheckpointStoreBuilder")
            .field("authorities", &self.network.authorities.len())
            .field("sdk", &self.sdk)
            .field("api_version", &self.api_version)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
