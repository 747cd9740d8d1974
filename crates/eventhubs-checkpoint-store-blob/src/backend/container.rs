//! A container by any of the SDKs: which requests there are, and what the service's answers to them mean.

use std::fmt;
use std::sync::Arc;

use eventhubs_checkpoint_store::{Error, ErrorKind, Expected, Result, Version, async_trait};
use reqwest::Url;

use super::answer::{Answer, Exchange, Failure};
use super::list_xml::{Malformed, read_page};
use super::{Blob, BlobBackend, Page, Stamp};
use crate::access::{Access, Proof};
use crate::records::Metadata;

/// How many blobs one page of a listing is asked to hold; the service may give fewer.
const PAGE_SIZE: u32 = 1_000;

/// What an SDK is needed for: it makes requests of the service, and nothing of what follows from them.
#[async_trait]
pub(crate) trait Requests: Send + Sync {
    /// Sends one request, once, with this proof, and gives the whole answer.
    async fn send(&self, operation: &Operation<'_>, proof: &Proof) -> Exchange;
}

/// One request.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    CreateContainer,
    /// Puts an empty blob there unless there is one.
    Create {
        name: &'a str,
        metadata: &'a Metadata,
    },
    /// Replaces the metadata of a blob that has this version.
    SetMetadata {
        name: &'a str,
        metadata: &'a Metadata,
        version: &'a Version,
    },
    Properties {
        name: &'a str,
    },
    Content {
        name: &'a str,
    },
    Delete {
        name: &'a str,
        version: &'a Version,
    },
    List(Listing<'a>),
}

/// What is listed of a container.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    prefix: &'a str,
    marker: Option<&'a str>,
    delimiter: Option<&'a str>,
}

impl Listing<'_> {
    /// The URL of the request; `container` is that of the container. No SDK makes it: the old one would read the page
    /// itself, the official one has no delimiter.
    pub(crate) fn url(&self, mut container: Url) -> Url {
        container
            .query_pairs_mut()
            .extend_pairs([("restype", "container"), ("comp", "list"), ("prefix", self.prefix)])
            .extend_pairs([("include", "metadata"), ("maxresults", &PAGE_SIZE.to_string())])
            .extend_pairs(self.delimiter.map(|delimiter| ("delimiter", delimiter)))
            .extend_pairs(self.marker.map(|marker| ("marker", marker)));
        container
    }
}

/// A container, opened through an SDK.
pub(crate) struct Container<S> {
    pub(crate) sdk: S,
    pub(crate) access: Arc<Access>,
    /// For errors.
    pub(crate) name: String,
    /// For errors.
    pub(crate) version: String,
}

impl<S: Requests> Container<S> {
    /// Sends a request and gives the service's answer. One whose token or signature is refused is sent once more if
    /// there is another one by now; it had no effect.
    async fn exchange(&self, operation: Operation<'_>) -> Exchange {
        let proof = self.access.proof().await?;
        let answer = self.sdk.send(&operation, &proof).await?;
        match self.access.after_refusal(&proof, answer.status).await? {
            Some(other) => self.sdk.send(&operation, &other).await,
            None => Ok(answer),
        }
    }

    async fn page(&self, listing: Listing<'_>) -> Result<Page> {
        let prefix = listing.prefix;
        let page = match self.exchange(Operation::List(listing)).await {
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
        let (container, host) = (&self.name, self.access.account().endpoint.host_str().unwrap_or_default());
        let text = format!("container `{container}` at {host}: {what}: {}", failure.reason);
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
impl<S: Requests> BlobBackend for Container<S> {
    async fn create_container(&self) -> Result<()> {
        let created = match self.exchange(Operation::CreateContainer).await {
            Ok(answer) if answer.is_success() || answer.code() == "ContainerAlreadyExists" => Ok(()),
            other => Err(self.failure_of(other)),
        };
        created.map_err(|failure| self.error(format_args!("creating it"), failure))
    }

    async fn write(&self, name: &str, metadata: &Metadata, expected: &Expected) -> Result<Option<Stamp>> {
        let is_lost = |code| matches!(code, "BlobAlreadyExists" | "ConditionNotMet" | "BlobNotFound");
        let operation = match expected {
            // Not "set metadata" on the same condition: Azurite ignores the condition there.
            Expected::Absent => Operation::Create { name, metadata },
            // Not "put blob": with soft delete on, each would leave a deleted version (contract §9.4).
            Expected::Version(version) => Operation::SetMetadata { name, metadata, version },
        };
        let written = match self.exchange(operation).await {
            Ok(answer) if answer.is_success() => answer.stamp().map(Some),
            Ok(answer) if is_lost(answer.code()) => Ok(None),
            other => Err(self.failure_of(other)),
        };
        written.map_err(|failure| self.error(format_args!("writing blob `{name}`"), failure))
    }

    async fn read(&self, name: &str) -> Result<Option<Blob>> {
        let blob =
            |answer: &Answer, stamp| Blob { name: name.to_owned(), metadata: answer.metadata(), stamp };
        let found = match self.exchange(Operation::Properties { name }).await {
            Ok(answer) if answer.is_success() => answer.stamp().map(|stamp| Some(blob(&answer, stamp))),
            Ok(answer) if answer.code() == "BlobNotFound" => Ok(None),
            other => Err(self.failure_of(other)),
        };
        found.map_err(|failure| self.error(format_args!("reading blob `{name}`"), failure))
    }

    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let content = match self.exchange(Operation::Content { name }).await {
            Ok(answer) if answer.is_success() => Ok(Some(answer.body)),
            Ok(answer) if answer.code() == "BlobNotFound" => Ok(None),
            other => Err(self.failure_of(other)),
        };
        content.map_err(|failure| self.error(format_args!("reading blob `{name}`"), failure))
    }

    async fn delete(&self, name: &str, version: &Version) -> Result<bool> {
        let deleted = match self.exchange(Operation::Delete { name, version }).await {
            Ok(answer) if answer.is_success() => Ok(true),
            Ok(answer) if matches!(answer.code(), "BlobNotFound" | "ConditionNotMet") => Ok(false),
            other => Err(self.failure_of(other)),
        };
        deleted.map_err(|failure| self.error(format_args!("deleting blob `{name}`"), failure))
    }

    async fn list(&self, prefix: &str, marker: Option<&str>) -> Result<Page> {
        self.page(Listing { prefix, marker, delimiter: None }).await
    }

    async fn list_folder(&self, prefix: &str, marker: Option<&str>) -> Result<Page> {
        self.page(Listing { prefix, marker, delimiter: Some("/") }).await
    }
}

impl<S> fmt::Debug for Container<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = format!("{}/{}", self.access.account().url(), self.name);
        f.debug_struct("Container").field("url", &url).finish_non_exhaustive()
    }
}
