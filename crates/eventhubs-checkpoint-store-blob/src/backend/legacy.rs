//! Requests of `azure_storage_blobs` 0.21; with its folder, the only module that knows its types.
//!
//! The SDK builds and signs the requests. What it cannot be trusted with is kept from it: it has no retries,
//! no HTTP client, no body of an answer, no log and no say in errors. Its retries would repeat a write whose
//! answer was lost and call the result a conflict, its client opens a connection per request and waits
//! forever, and its logs and error texts hold keys and signatures.

mod prepare;
mod transport;

use std::future::IntoFuture;
use std::sync::{Arc, Mutex, PoisonError};

use azure_core::auth::Secret as SdkSecret;
use azure_core::headers::Headers;
use azure_core::request_options::{IfMatchCondition, Metadata as SdkMetadata};
use azure_core::{ClientOptions, Context, Method, Pipeline, RetryOptions, TransportOptions, Url};
use azure_storage::clients::{ServiceType, finalize_request, new_pipeline_from_options};
use azure_storage::{CloudLocation, StorageCredentials};
use azure_storage_blobs::prelude::{ClientBuilder, ContainerClient};
use eventhubs_checkpoint_store::{ErrorKind, Version, async_trait};
use secrecy::ExposeSecret;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use self::prepare::Prepare;
use self::transport::Transport;
use super::answer::{Exchange, Failure};
use super::container::{Operation, Requests};
use super::http::{Http, Slot};
use crate::access::Proof;
use crate::account::{Account, Secret};
use crate::records::Metadata;

/// A container, opened through the SDK.
pub(crate) struct Legacy {
    container: ContainerClient,
    /// For requests whose answers the SDK would parse itself.
    pipeline: Pipeline,
    signer: Signer,
}

/// What the SDK signs with: the account's key, or nothing at all.
struct Signer {
    account: String,
    credentials: StorageCredentials,
    /// The secret that `credentials` were made from.
    made_from: Mutex<Option<Arc<Secret>>>,
}

impl Legacy {
    /// Opens the container; nothing is sent.
    pub(crate) fn new(container: &str, account: &Account, http: Http, version: &str) -> Self {
        let transport = TransportOptions::new_custom_policy(Arc::new(Transport { http }));
        let mut options = ClientOptions::new(transport).retry(RetryOptions::none());
        options.per_call_policies_mut().push(Arc::new(Prepare { version: version.to_owned() }));
        let signer = Signer {
            account: account.name.clone(),
            credentials: StorageCredentials::anonymous(),
            made_from: Mutex::default(),
        };
        let location = CloudLocation::Custom { account: account.name.clone(), uri: account.url() };
        let pipeline = new_pipeline_from_options(options.clone(), signer.credentials.clone());
        let client =
            ClientBuilder::with_location(location, signer.credentials.clone()).client_options(options);
        Self { container: client.container_client(container), pipeline, signer }
    }

    /// Runs one operation of the SDK and gives the service's answer, as our transport saw it.
    ///
    /// The operation's own result counts only if nothing was sent: the SDK calls a good answer bad if its
    /// request id is no UUID, and a bad one hides its headers.
    async fn exchange<T, F>(&self, proof: &Proof, operation: impl FnOnce(Context) -> F) -> Exchange
    where
        F: IntoFuture<Output = azure_core::Result<T>>,
        F::IntoFuture: Send,
    {
        self.signer.sign_with(proof).await;
        let (slot, mut context) = (Slot::default(), Context::new());
        context.insert(slot.clone()).insert(ServiceType::Blob).insert(proof.clone());
        let result = operation(context).into_future().with_subscriber(NoSubscriber::default()).await;
        slot.take().unwrap_or_else(|| Err(unsent(result.err().as_ref())))
    }

    /// Gets something whose body the SDK would parse.
    async fn get(&self, context: Context, url: azure_core::Result<Url>) -> azure_core::Result<()> {
        let mut request = finalize_request(url?, Method::Get, Headers::new(), None)?;
        self.pipeline.send(&context, &mut request).await.map(drop)
    }
}

#[async_trait]
impl Requests for Legacy {
    async fn send(&self, operation: &Operation<'_>, proof: &Proof) -> Exchange {
        let blob = |name| self.container.blob_client(name);
        match *operation {
            Operation::CreateContainer => {
                self.exchange(proof, |context| self.container.create().context(context)).await
            }
            Operation::Create { name, metadata } => {
                let put = blob(name).put_block_blob("").metadata(sdk_metadata(metadata));
                let put = put.if_match(IfMatchCondition::NotMatch("*".to_owned()));
                self.exchange(proof, |context| put.context(context)).await
            }
            Operation::SetMetadata { name, metadata, version } => {
                let set = blob(name).set_metadata().metadata(sdk_metadata(metadata));
                self.exchange(proof, |context| set.if_match(quoted(version)).context(context)).await
            }
            Operation::Properties { name } => {
                self.exchange(proof, |context| blob(name).get_properties().context(context)).await
            }
            Operation::Content { name } => {
                self.exchange(proof, |context| self.get(context, blob(name).url())).await
            }
            Operation::Delete { name, version } => {
                let delete = blob(name).delete().if_match(quoted(version));
                self.exchange(proof, |context| delete.context(context)).await
            }
            Operation::List(ref listing) => {
                let url = self.container.url().map(|container| listing.url(container));
                self.exchange(proof, |context| self.get(context, url)).await
            }
        }
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
