//! The end of the SDK's pipeline: our HTTP client, with one pool, time limits and size limits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::headers::{HeaderName, HeaderValue, Headers};
use azure_core::{Body, BytesStream, Context, Policy, PolicyResult, Request, Response, StatusCode};
use eventhubs_checkpoint_store::{Error, ErrorKind, async_trait};
use reqwest::{Proxy, Url, redirect};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{Answer, Failure};
use crate::account::is_this_machine;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one request, from the first byte sent to the last byte read.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

const MAX_IDLE_CONNECTIONS: usize = 16;

/// The longest body that is read, in bytes. A thousand blobs with all the metadata they may have fit in.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Where the transport leaves the answer for whoever sent the request, past the SDK.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Result<Answer, Failure>>>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Result<Answer, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, answer: Result<Answer, Failure>) {
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

/// Takes the SDK's signed requests, and goes no further into the SDK than its request and answer types.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
}

impl Transport {
    /// `endpoint` is where the requests go, through the given proxy or else that of the environment.
    ///
    /// # Errors
    /// When the proxy or the certificates are unusable, or TLS is not to be had.
    pub(super) fn new(endpoint: &Url, network: &Network) -> eventhubs_checkpoint_store::Result<Self> {
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
        let http = builder.build().map_err(|error| not_made().with_source(error))?;
        Ok(Self { http })
    }

    async fn perform(&self, request: &Request) -> Result<Answer, Failure> {
        let sent = self.http.execute(convert(request)?).await;
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

#[async_trait]
impl Policy for Transport {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        _next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        let answer = self.perform(request).await;
        let response = answer.as_ref().map(for_sdk);
        let response = response.map_err(|_| {
            azure_core::Error::message(azure_core::error::ErrorKind::Io, "the slot has the reason")
        });
        if let Some(slot) = context.get::<Slot>() {
            slot.put(answer);
        }
        response
    }
}

/// The same request in the types of the client; what cannot be sent is refused, not repaired.
fn convert(request: &Request) -> Result<reqwest::Request, Failure> {
    let unusable = || Failure::new(ErrorKind::InvalidArgument, "the request could not be built");
    let method = request.method().as_ref().parse().map_err(|_| unusable())?;
    let Body::Bytes(body) = request.body().clone() else {
        return Err(unusable());
    };
    let mut converted = reqwest::Request::new(method, request.url().clone());
    for (name, value) in request.headers().iter() {
        let name: reqwest::header::HeaderName = name.as_str().parse().map_err(|_| unusable())?;
        converted.headers_mut().insert(name, value.as_str().parse().map_err(|_| unusable())?);
    }
    *converted.body_mut() = Some(body.into());
    Ok(converted)
}

/// The answer without its body: the SDK's XML parser has open advisories, so it gets nothing to read.
fn for_sdk(answer: &Answer) -> Response {
    let mut headers = Headers::new();
    for (name, value) in &answer.headers {
        if let Ok(value) = value.to_str() {
            headers.insert(HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value.to_owned()));
        }
    }
    let status = StatusCode::try_from(answer.status).unwrap_or(StatusCode::InternalServerError);
    Response::new(status, headers, Box::pin(BytesStream::new_empty()))
}
