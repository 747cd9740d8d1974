//! Azure Blob Storage through `azure_storage_blobs` 0.21, the only module that knows its types.
//!
//! The SDK builds and signs the requests. What it cannot be trusted with is kept from it: it has no retries,
//! no HTTP client, no body of an answer, no log and no say in errors. Its retries would repeat a write whose
//! answer was lost and call the result a conflict, its client opens a connection per request and waits
//! forever, and its logs and error texts hold keys and signatures.

mod answer;
mod prepare;
mod transport;

pub(crate) use self::transport::Network;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use azure_core::auth::Secret as SdkSecret;
use azure_core::headers::Headers;
use azure_core::request_options::{IfMatchCondition, Metadata as SdkMetadata};
use azure_core::{ClientOptions, Context, Method, Pipeline, RetryOptions, TransportOptions};
use azure_storage::clients::{ServiceType, finalize_request, new_pipeline_from_options};
use azure_storage::{CloudLocation, StorageCredentials};
use azure_storage_blobs::prelude::{ClientBuilder, ContainerClient};
use eventhubs_checkpoint_store::{Error, ErrorKind, Expected, Result, Version, async_trait};
use secrecy::ExposeSecret;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use self::answer::{Answer, Failure};
use self::prepare::Prepare;
use self::transport::{Slot, Transport};
use super::list_xml::{Malformed, read_page};
use super::{Blob, BlobBackend, Page, Stamp};
use crate::access::{Access, Proof};
use crate::account::{Account, Secret};
use crate::records::Metadata;
use crate::tokens::NoToken;
use crate::version;

/// How many blobs one page of a listing is asked to hold; the service may give fewer.
const PAGE_SIZE: u32 = 1_000;

type Exchange = std::result::Result<Answer, Failure>;

/// A container, opened through the SDK.
pub(crate) struct LegacyBackend {
    container: ContainerClient,
    /// For errors.
    host: String,
    /// For requests whose answers the SDK would parse itself.
    pipeline: Pipeline,
    /// For errors.
    version: String,
    access: Arc<Access>,
    signer: Signer,
}

/// What the SDK signs with: the account's key, or nothing at all.
struct Signer {
    account: String,
    credentials: StorageCredentials,
    /// The secret that `credentials` were made from.
    made_from: Mutex<Option<Arc<Secret>>>,
}

impl LegacyBackend {
    /// Opens the container; nothing is sent.
    ///
    /// # Errors
    /// When the proxy or the certificates are unusable, or TLS is not to be had.
    pub(crate) fn new(
        container: &str,
        access: Arc<Access>,
        network: &Network,
        api_version: Option<&str>,
    ) -> Result<Self> {
        let Account { name, endpoint } = access.account();
        let transport = TransportOptions::new_custom_policy(Arc::new(Transport::new(endpoint, network)?));
        let mut options = ClientOptions::new(transport).retry(RetryOptions::none());
        let prepare = Prepare { version: api_version.map(str::to_owned) };
        options.per_call_policies_mut().push(Arc::new(prepare));
        let signer = Signer {
            account: name.clone(),
            credentials: StorageCredentials::anonymous(),
            made_from: Mutex::default(),
        };
        let location = CloudLocation::Custom { account: name.clone(), uri: access.account().url() };
        let pipeline = new_pipeline_from_options(options.clone(), signer.credentials.clone());
        let client =
            ClientBuilder::with_location(location, signer.credentials.clone()).client_options(options);
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        let version = api_version.unwrap_or(version::DEFAULT).to_owned();
        Ok(Self { container: client.container_client(container), host, pipeline, version, access, signer })
    }

    /// Runs one operation of the SDK and gives the service's answer, as our transport saw it. A request whose
    /// token or signature is refused is sent once more if there is another one by now; it had no effect.
    async fn exchange<T, F>(&self, operation: impl Fn(Context) -> F) -> Exchange
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        let proof = self.access.proof().await?;
        let answer = self.exchange_once(&operation, &proof).await?;
        match self.access.after_refusal(&proof, answer.status).await? {
            Some(other) => self.exchange_once(&operation, &other).await,
            None => Ok(answer),
        }
    }

    /// The operation's own result counts only if nothing was sent: the SDK calls a good answer bad if its
    /// request id is no UUID, and a bad one hides its headers.
    async fn exchange_once<T, F>(&self, operation: &impl Fn(Context) -> F, proof: &Proof) -> Exchange
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        self.signer.sign_with(proof).await;
        let (slot, mut context) = (Slot::default(), Context::new());
        context.insert(slot.clone()).insert(ServiceType::Blob).insert(proof.clone());
        let result = operation(context).with_subscriber(NoSubscriber::default()).await;
        slot.take().unwrap_or_else(|| Err(unsent(result.err().as_ref())))
    }

    /// The one request of a write; which one depends on what is expected.
    async fn put(&self, name: &str, metadata: &Metadata, expected: &Expected) -> Exchange {
        let (blob, metadata) = (self.container.blob_client(name), sdk_metadata(metadata));
        match expected {
            Expected::Absent => {
                // Not "set metadata" on the same condition: Azurite ignores the condition there.
                let put = blob.put_block_blob("").metadata(metadata);
                let put = put.if_match(IfMatchCondition::NotMatch("*".to_owned()));
                self.exchange(|context| put.clone().context(context).into_future()).await
            }
            Expected::Version(version) => {
                // Not "put blob": with soft delete on, each would leave a deleted version behind (contract
                // §9.4).
                let set = blob.set_metadata().metadata(metadata).if_match(quoted(version));
                self.exchange(|context| set.clone().context(context).into_future()).await
            }
        }
    }

    fn list_request(
        &self,
        prefix: &str,
        marker: Option<&str>,
        delimiter: Option<&str>,
    ) -> azure_core::Result<azure_core::Request> {
        let mut url = self.container.url()?;
        url.query_pairs_mut()
            .extend_pairs([("restype", "container"), ("comp", "list"), ("prefix", prefix)])
            .extend_pairs([("include", "metadata"), ("maxresults", &PAGE_SIZE.to_string())])
            .extend_pairs(delimiter.map(|delimiter| ("delimiter", delimiter)))
            .extend_pairs(marker.map(|marker| ("marker", marker)));
        finalize_request(url, Method::Get, Headers::new(), None)
    }

    async fn page(&self, prefix: &str, marker: Option<&str>, delimiter: Option<&str>) -> Result<Page> {
        let send = |context| async move {
            self.pipeline.send(&context, &mut self.list_request(prefix, marker, delimiter)?).await
        };
        let page = match self.exchange(send).await {
            Ok(answer) if answer.is_success() => read_page(&answer.body)
                .map(|page| Page { now: answer.date(), ..page })
                .map_err(|Malformed| Failure::new(ErrorKind::Protocol, "the page is malformed")),
            other => Err(self.failure_of(other)),
        };
        page.map_err(|failure| self.error(format_args!("listing `{prefix}`"), failure))
    }

    fn failure_of(&self, answer: Exchange) -> Failure {
        match answer {
            Ok(answer) if answer.refuses_version(&self.version) => Failure::new(
                ErrorKind::InvalidArgument,
                format!(
                    "status 400, code InvalidHeaderValue: the service does not know version {} of the storage API; \
                     choose another one with api_version",
                    self.version
                ),
            ),
            Ok(answer) => answer.into_failure(),
            Err(failure) => failure,
        }
    }

    /// Says what was tried when it failed.
    fn error(&self, what: fmt::Arguments<'_>, failure: Failure) -> Error {
        let container = self.container.container_name();
        let text = format!("container `{container}` at {}: {what}: {}", self.host, failure.reason);
        let mut error = Error::new(failure.kind, text);
        if let Some(wait) = failure.retry_after {
            error = error.with_retry_after(wait);
        }
        match failure.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

#[async_trait]
impl BlobBackend for LegacyBackend {
    async fn create_container(&self) -> Result<()> {
        let create = self.container.create();
        let created = match self.exchange(|context| create.clone().context(context).into_future()).await {
            Ok(answer) if answer.is_success() || answer.code() == "ContainerAlreadyExists" => Ok(()),
            other => Err(self.failure_of(other)),
        };
        created.map_err(|failure| self.error(format_args!("creating it"), failure))
    }

    async fn write(&self, name: &str, metadata: &Metadata, expected: &Expected) -> Result<Option<Stamp>> {
        let is_lost = |code| matches!(code, "BlobAlreadyExists" | "ConditionNotMet" | "BlobNotFound");
        let written = match self.put(name, metadata, expected).await {
            Ok(answer) if answer.is_success() => answer.stamp().map(Some),
            Ok(answer) if is_lost(answer.code()) => Ok(None),
            other => Err(self.failure_of(other)),
        };
        written.map_err(|failure| self.error(format_args!("writing blob `{name}`"), failure))
    }

    async fn read(&self, name: &str) -> Result<Option<Blob>> {
        let get = self.container.blob_client(name).get_properties();
        let blob =
            |answer: &Answer, stamp| Blob { name: name.to_owned(), metadata: answer.metadata(), stamp };
        let found = match self.exchange(|context| get.clone().context(context).into_future()).await {
            Ok(answer) if answer.is_success() => answer.stamp().map(|stamp| Some(blob(&answer, stamp))),
            Ok(answer) if answer.code() == "BlobNotFound" => Ok(None),
            other => Err(self.failure_of(other)),
        };
        found.map_err(|failure| self.error(format_args!("reading blob `{name}`"), failure))
    }

    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let send = |context| async move {
            let url = self.container.blob_client(name).url()?;
            let mut request = finalize_request(url, Method::Get, Headers::new(), None)?;
            self.pipeline.send(&context, &mut request).await
        };
        let content = match self.exchange(send).await {
            Ok(answer) if answer.is_success() => Ok(Some(answer.body)),
            Ok(answer) if answer.code() == "BlobNotFound" => Ok(None),
            other => Err(self.failure_of(other)),
        };
        content.map_err(|failure| self.error(format_args!("reading blob `{name}`"), failure))
    }

    async fn delete(&self, name: &str, version: &Version) -> Result<bool> {
        let delete = self.container.blob_client(name).delete().if_match(quoted(version));
        let deleted = match self.exchange(|context| delete.clone().context(context).into_future()).await {
            Ok(answer) if answer.is_success() => Ok(true),
            Ok(answer) if matches!(answer.code(), "BlobNotFound" | "ConditionNotMet") => Ok(false),
            other => Err(self.failure_of(other)),
        };
        deleted.map_err(|failure| self.error(format_args!("deleting blob `{name}`"), failure))
    }

    async fn list(&self, prefix: &str, marker: Option<&str>) -> Result<Page> {
        self.page(prefix, marker, None).await
    }

    async fn list_folder(&self, prefix: &str, marker: Option<&str>) -> Result<Page> {
        self.page(prefix, marker, Some("/")).await
    }
}

impl fmt::Debug for LegacyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.container.url().map(|url| url.to_string()).unwrap_or_default();
        f.debug_struct("LegacyBackend").field("url", &url).finish_non_exhaustive()
    }
}

impl Signer {
    /// Makes the SDK sign with the key that the proof holds, or not at all.
    async fn sign_with(&self, proof: &Proof) {
        let Proof::Given(secret) = proof else { return };
        let known = {
            let mut made_from = self.made_from.lock().unwrap_or_else(PoisonError::into_inner);
            made_from.replace(Arc::clone(secret))
        };
        if known.is_some_and(|known| Arc::ptr_eq(&known, secret)) {
            return;
        }
        let new = match &**secret {
            Secret::Key(key) => {
                let key = SdkSecret::new(key.expose_secret().to_owned());
                StorageCredentials::access_key(self.account.clone(), key)
            }
            Secret::Sas(_) => StorageCredentials::anonymous(),
        };
        // Fails never; a request that overtakes it is refused, and sent again because the secret has changed.
        let _ = self.credentials.replace(new).await;
    }
}

impl From<NoToken> for Failure {
    fn from(NoToken { kind, reason, source }: NoToken) -> Self {
        Self { source, ..Self::new(kind, reason) }
    }
}

fn quoted(version: &Version) -> IfMatchCondition {
    IfMatchCondition::Match(format!("\"{}\"", version.as_str()))
}

fn sdk_metadata(metadata: &Metadata) -> SdkMetadata {
    let mut converted = SdkMetadata::new();
    for (key, value) in metadata.iter() {
        converted.insert(key.to_owned(), value.to_owned());
    }
    converted
}

/// Why an operation never reached our transport; the SDK's kind is all that is taken from its error.
fn unsent(error: Option<&azure_core::Error>) -> Failure {
    match error.map(azure_core::Error::kind) {
        Some(azure_core::error::ErrorKind::Credential) => {
            Failure::new(ErrorKind::Unauthorized, "the request could not be signed")
        }
        _ => Failure::new(ErrorKind::InvalidArgument, "the request could not be built"),
    }
}
