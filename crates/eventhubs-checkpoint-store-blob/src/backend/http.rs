//! Our HTTP client at the end of each SDK's pipeline, with one pool, time limits and size limits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eventhubs_checkpoint_store::{Error, ErrorKind};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Proxy, Url, redirect};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{Answer, Exchange, Failure};
use crate::account::is_this_machine;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one request, from the first byte sent to the last byte read.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

const MAX_IDLE_CONNECTIONS: usize = 16;

/// The longest body that is read, in bytes. A thousand blobs with all the metadata they may have fit in.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Where the end of a pipeline leaves the answer for whoever sent the request, past the SDK.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Exchange>>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, answer: Exchange) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

/// How the service is reached.
#[derive(Clone, Default)]
pub(crate) struct Network {
    /// `http://user:password@host:port`; that of the environment if `None`.
    pub(crate) proxy: Option<SecretString>,
    /// Certificates of further authorities, as PEM.
    pub(crate) authorities: Vec<Vec<u8>>,
}

/// The client, which knows no SDK.
#[derive(Debug)]
pub(crate) struct Http(reqwest::Client);

impl Http {
    /// `endpoint` is where the requests go, through the given proxy or else that of the environment.
    ///
    /// # Errors
    /// When the proxy or the certificates are unusable, or TLS is not to be had.
    pub(crate) fn new(endpoint: &Url, network: &Network) -> eventhubs_checkpoint_store::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .use_preconfigured_tls(tls_config(&network.authorities)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .redirect(redirect::Policy::none());
        // Read even if it is not used, so that a mistake is found wherever the program runs.
        let proxy = network.proxy.as_ref().map(parse_proxy).transpose()?;
        if is_this_machine(endpoint) && endpoint.scheme() == "http" {
            // A signature that may be sent in clear text to this machine must not reach a proxy.
            builder = builder.no_proxy();
        } else if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        } else if is_this_machine(endpoint) {
            builder = builder.no_proxy();
        }
        builder.build().map(Self).map_err(|error| not_made().with_source(error))
    }

    /// Sends the request once, and reads the whole answer.
    pub(super) async fn send(&self, request: reqwest::Request) -> Exchange {
        let sent = self.0.execute(request).await;
        let mut response = sent.map_err(|error| Failure::broken("no answer", error))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let body = read_body(response).await?;
        Ok(Answer { status, headers, body })
    }
}

/// Trusts what the system trusts and the further authorities, as the AMQP side does, and nothing else. The provider is given here, so
/// that no default of the process is needed or changed.
fn tls_config(authorities: &[Vec<u8>]) -> eventhubs_checkpoint_store::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: rustls::Error| not_made().with_source(error);
    let verifier = Verifier::new_with_extra_roots(certificates(authorities)?, Arc::clone(&provider));
    let verifier = verifier.map_err(failed)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let trusting = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(trusting.with_no_client_auth())
}

fn certificates(authorities: &[Vec<u8>]) -> eventhubs_checkpoint_store::Result<Vec<CertificateDer<'static>>> {
    let invalid = |reason| Error::new(ErrorKind::InvalidArgument, reason);
    let mut all = Vec::new();
    for pem in authorities {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| invalid("certificates: not PEM").with_source(error))?;
        if found.is_empty() {
            return Err(invalid("certificates: none in the PEM text"));
        }
        all.extend(found);
    }
    Ok(all)
}

/// Reads the URL of a proxy. No value of it is repeated: it may hold a password.
fn parse_proxy(url: &SecretString) -> eventhubs_checkpoint_store::Result<Proxy> {
    let url = url.expose_secret();
    let parsed = url.starts_with("http://").then(|| Proxy::all(url));
    let Some(Ok(proxy)) = parsed else {
        let reason = "proxy: is not a URL that begins with http://";
        return Err(Error::new(ErrorKind::InvalidArgument, reason));
    };
    Ok(proxy)
}

fn not_made() -> Error {
    Error::new(ErrorKind::Unavailable, "the HTTP client could not be made")
}

async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let broken = |error| Failure::broken("half an answer", error);
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::new(ErrorKind::Protocol, "the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A request in the types of the client; what cannot be sent is refused, not repaired.
pub(super) fn request<'a>(
    method: &str,
    url: &Url,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: Bytes,
) -> Result<reqwest::Request, Failure> {
    let unusable = || Failure::new(ErrorKind::InvalidArgument, "the request could not be built");
    let method = method.parse().map_err(|_| unusable())?;
    let mut request = reqwest::Request::new(method, url.clone());
    for (name, value) in headers {
        let name: HeaderName = name.parse().map_err(|_| unusable())?;
        let value: HeaderValue = value.parse().map_err(|_| unusable())?;
        request.headers_mut().insert(name, value);
    }
    *request.body_mut() = Some(body.into());
    Ok(request)
}
