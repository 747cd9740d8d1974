//! Requests of `azure_storage_blob` 1, Microsoft's SDK; with its folder, the only module that knows its types.
//!
//! The SDK builds the requests. It has no retries, since they would repeat a write whose answer was lost and call
//! the result a conflict, and no body of an answer. It never sees what opens a request: our end of its pipeline adds
//! that, so its logs may stay on.

mod shared_key;
mod transport;

use std::collections::HashMap;
use std::sync::Arc;

use azure_core_1::http::{
    ClientMethodOptions, ClientOptions, Context, Etag, Method, Pipeline, PipelineSendOptions, Request,
    RequestContent, RetryOptions, Transport as SdkTransport,
};
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientGetPropertiesOptions, BlobClientSetMetadataOptions,
    BlobContainerClientCreateOptions, BlockBlobClientUploadOptions,
};
use azure_storage_blob::{BlobClient, BlobClientOptions, BlobContainerClient, BlobContainerClientOptions};
use eventhubs_checkpoint_store::{Error, ErrorKind, Result, Version, async_trait};
use reqwest::Url;

use self::transport::Transport;
use super::answer::{Exchange, Failure};
use super::container::{Operation, Requests};
use super::http::{Http, Slot};
use crate::access::Proof;
use crate::account::Account;
use crate::records::Metadata;

/// A container, opened through the SDK.
pub(crate) struct Official {
    container: BlobContainerClient,
    /// For requests that the SDK does not have, or whose answers it would parse itself.
    pipeline: Pipeline,
    options: ClientOptions,
    version: String,
}

impl Official {
    /// Opens the container; nothing is sent.
    ///
    /// # Errors
    /// When the endpoint cannot have a container.
    pub(crate) fn new(container: &str, account: &Account, http: Http, version: &str) -> Result<Self> {
        let transport = Transport { http, account: account.name.clone() };
        let options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(SdkTransport::with_policy(Arc::new(transport))),
            ..ClientOptions::default()
        };
        let container_options =
            BlobContainerClientOptions { client_options: options.clone(), version: version.to_owned() };
        let url = below(&account.endpoint, [container]);
        let container = BlobContainerClient::new(url, None, Some(container_options));
        let unusable = |_| Error::new(ErrorKind::InvalidArgument, "endpoint: cannot have a container");
        let (name, release) = (Some(env!("CARGO_PKG_NAME")), Some(env!("CARGO_PKG_VERSION")));
        Ok(Self {
            container: container.map_err(unusable)?,
            pipeline: Pipeline::new(name, release, options.clone(), Vec::new(), Vec::new(), None),
            options,
            version: version.to_owned(),
        })
    }

    fn blob_url(&self, name: &str) -> Url {
        below(self.container.url(), name.split('/'))
    }

    /// Not the container's own client of a blob: it sends each slash of a name as `%2F`, which
    /// the SDKs of other languages keep.
    fn blob(&self, name: &str) -> azure_core_1::Result<BlobClient> {
        let options =
            BlobClientOptions { client_options: self.options.clone(), version: self.version.clone() };
        BlobClient::new(self.blob_url(name), None, Some(options))
    }

    /// Runs one operation of the SDK, whose own result does not count.
    async fn run(&self, operation: &Operation<'_>, context: Context<'_>) -> azure_core_1::Result<()> {
        let method_options = ClientMethodOptions { context };
        match *operation {
            Operation::CreateContainer => {
                let options = BlobContainerClientCreateOptions { method_options, ..Default::default() };
                self.container.create(Some(options)).await.map(drop)
            }
            Operation::Create { name, metadata } => {
                let metadata = Some(sdk_metadata(metadata));
                let options = BlockBlobClientUploadOptions { metadata, method_options, ..Default::default() };
                let nothing = RequestContent::from_static(b"");
                self.blob(name)?.upload(nothing, Some(options.if_not_exists())).await.map(drop)
            }
            Operation::SetMetadata { name, metadata, version } => {
                let if_match = Some(quoted(version));
                let options = BlobClientSetMetadataOptions { if_match, method_options, ..Default::default() };
                self.blob(name)?.set_metadata(&sdk_metadata(metadata), Some(options)).await.map(drop)
            }
            Operation::Properties { name } => {
                let options = BlobClientGetPropertiesOptions { method_options, ..Default::default() };
                self.blob(name)?.get_properties(Some(options)).await.map(drop)
            }
            Operation::Delete { name, version } => {
                let if_match = Some(quoted(version));
                let options = BlobClientDeleteOptions { if_match, method_options, ..Default::default() };
                self.blob(name)?.delete(Some(options)).await.map(drop)
            }
            // Not the SDK's download: it asks for a range, which an empty blob does not have, and spawns tasks.
            Operation::Content { name } => self.get(self.blob_url(name), &method_options.context).await,
            Operation::List(ref listing) => {
                self.get(listing.url(self.container.url().clone()), &method_options.context).await
            }
        }
    }

    async fn get(&self, url: Url, context: &Context<'_>) -> azure_core_1::Result<()> {
        let mut request = Request::new(url, Method::Get);
        request.insert_header("x-ms-version", self.version.clone());
        let unchecked = PipelineSendOptions { skip_checks: true, ..Default::default() };
        self.pipeline.send(context, &mut request, Some(unchecked)).await.map(drop)
    }
}

#[async_trait]
impl Requests for Official {
    async fn send(&self, operation: &Operation<'_>, proof: &Proof) -> Exchange {
        let slot = Slot::default();
        let context = Context::new().with_value(slot.clone()).with_value(proof.clone());
        let _ = self.run(operation, context).await;
        let unsent = || Failure::new(ErrorKind::InvalidArgument, "the request could not be built");
        slot.take().unwrap_or_else(|| Err(unsent()))
    }
}

/// The URL with more segments; dots are left out, as in every URL.
fn below<'a>(url: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

fn quoted(version: &Version) -> Etag {
    format!("\"{}\"", version.as_str()).into()
}

fn sdk_metadata(metadata: &Metadata) -> HashMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
