//! The end of the SDK's pipeline: our HTTP client, with one pool, time limits and size limits.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use azure_core::headers::{HeaderName, HeaderValue, Headers};
use azure_core::{Body, BytesStream, Context, Policy, PolicyResult, Request, Response, StatusCode};
use eventhubs_checkpoint_store::{Error, ErrorKind, Result, Version, async_trait};
use reqwest::header::HeaderMap;
use reqwest::redirect;

use super::Exchange;
use crate::backend::Stamp;
use crate::records::Metadata;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one request, from the first byte sent to the last byte read.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

const MAX_IDLE_CONNECTIONS: usize = 16;

/// The longest body that is read. A thousand blobs with all the metadata they may have fit in.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The most of a header that an error repeats.
const MAX_SHOWN: usize = 64;

/// Where the transport leaves the answer for whoever sent the request, past the SDK.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Exchange>>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, answer: Exchange) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
}

impl Transport {
    pub(super) fn new() -> Result<Self> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .redirect(redirect::Policy::none());
        let http = builder.build().map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the HTTP client could not be made").with_source(error)
        })?;
        Ok(Self { http })
    }

    async fn perform(&self, request: &Request) -> Exchange {
        let request = convert(request)?;
        let mut response = self
            .http
            .execute(request)
            .await
            .map_err(|error| NoAnswer::broken("no answer", error))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| NoAnswer::broken("half an answer", error))?
        {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(NoAnswer::new(ErrorKind::Protocol, "the answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
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
        let response = match &answer {
            Ok(answer) => Ok(answer.for_sdk()),
            Err(_) => Err(azure_core::Error::message(
                azure_core::error::ErrorKind::Io,
                "see the slot",
            )),
        };
        if let Some(slot) = context.get::<Slot>() {
            slot.put(answer);
        }
        response
    }
}

fn convert(request: &Request) -> std::result::Result<reqwest::Request, NoAnswer> {
    let unusable = || NoAnswer::new(ErrorKind::InvalidArgument, "the request could not be built");
    let method = request.method().as_ref().parse().map_err(|_| unusable())?;
    let Body::Bytes(body) = request.body().clone() else {
        return Err(unusable());
    };
    let mut converted = reqwest::Request::new(method, request.url().clone());
    for (name, value) in request.headers().iter() {
        let name: reqwest::header::HeaderName = name.as_str().parse().map_err(|_| unusable())?;
        converted
            .headers_mut()
            .insert(name, value.as_str().parse().map_err(|_| unusable())?);
    }
    *converted.body_mut() = Some(body.into());
    Ok(converted)
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) kind: ErrorKind,
    pub(super) reason: &'static str,
    pub(super) source: Option<reqwest::Error>,
}

impl NoAnswer {
    pub(super) fn new(kind: ErrorKind, reason: &'static str) -> Self {
        Self {
            kind,
            reason,
            source: None,
        }
    }

    fn broken(reason: &'static str, error: reqwest::Error) -> Self {
        let kind = if error.is_timeout() {
            ErrorKind::Timeout
        } else {
            ErrorKind::Unavailable
        };
        // The URL may hold a signature.
        Self {
            kind,
            reason,
            source: Some(error.without_url()),
        }
    }
}

/// What the service answered.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// The service's word for what went wrong; empty if it gave none.
    pub(super) fn code(&self) -> &str {
        self.header("x-ms-error-code").unwrap_or_default()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The service's clock.
    pub(super) fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("date")?).ok()
    }

    pub(super) fn stamp(&self) -> Result<Stamp> {
        let etag = self
            .header("etag")
            .map(|etag| etag.trim_matches('"'))
            .filter(|etag| !etag.is_empty());
        let etag = etag.ok_or_else(|| Error::new(ErrorKind::Protocol, "the answer has no etag"))?;
        let modified = self
            .header("last-modified")
            .and_then(|date| httpdate::parse_http_date(date).ok());
        Ok(Stamp {
            version: Version::new(etag),
            modified,
        })
    }

    pub(super) fn metadata(&self) -> Metadata {
        let named = self.headers.iter().filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix("x-ms-meta-")?;
            Some((key, value.to_str().ok()?))
        });
        named.collect()
    }

    /// How long to wait before the next try: a number of seconds, or a date by the service's own clock.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Some(millis) = self
            .header("x-ms-retry-after-ms")
            .and_then(|millis| millis.parse().ok())
        {
            return Some(Duration::from_millis(millis));
        }
        let wait = self.header("retry-after")?;
        let seconds = wait.parse().map(Duration::from_secs);
        seconds.ok().or_else(|| {
            httpdate::parse_http_date(wait)
                .ok()?
                .duration_since(self.date()?)
                .ok()
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The answer without its body, so that the SDK's XML parser, which has open advisories, reads none.
    fn for_sdk(&self) -> Response {
        let mut headers = Headers::new();
        for (name, value) in &self.headers {
            if let Ok(value) = value.to_str() {
                headers.insert(
                    HeaderName::from(name.as_str().to_owned()),
                    HeaderValue::from(value.to_owned()),
                );
            }
        }
        let status = StatusCode::try_from(self.status).unwrap_or(StatusCode::InternalServerError);
        Response::new(status, headers, Box::pin(BytesStream::new_empty()))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        for (label, header) in [("code", "x-ms-error-code"), ("request", "x-ms-request-id")] {
            if let Some(value) = self.header(header) {
                write!(f, ", {label} {}", value.get(..MAX_SHOWN).unwrap_or(value))?;
            }
        }
        Ok(())
    }
}
