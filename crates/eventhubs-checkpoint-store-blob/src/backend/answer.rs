//! What the service answered, and why there may be nothing to use.

use std::borrow::Cow;
use std::error::Error as _;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{ErrorKind, Version};
use eventhubs_types::says_unknown_host;
use reqwest::header::HeaderMap;

use super::Stamp;
use crate::records::Metadata;
use crate::tokens::NoToken;

/// The answer to a request, or why there is none.
pub(crate) type Exchange = Result<Answer, Failure>;

/// The most of a header that an error repeats, in bytes.
const MAX_SHOWN: usize = 64;

/// An error that does not yet say what was tried. It holds no text of an SDK's and no URL.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) reason: Cow<'static, str>,
    pub(super) retry_after: Option<Duration>,
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None, source: None }
    }

    /// The connection failed, or a time limit was over.
    pub(super) fn broken(reason: &'static str, error: reqwest::Error) -> Self {
        let kind = kind_of(&error);
        // The query of the URL may hold a signature.
        Self { source: Some(error.without_url().into()), ..Self::new(kind, reason) }
    }
}

impl From<NoToken> for Failure {
    fn from(NoToken { kind, reason, source }: NoToken) -> Self {
        Self { source, ..Self::new(kind, reason) }
    }
}

/// What is most likely a mistake is told from what may pass. The HTTP library keeps both to itself, so the
/// texts of their causes decide.
fn kind_of(error: &reqwest::Error) -> ErrorKind {
    let causes = std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
    let causes: Vec<_> = causes.collect();
    if error.is_timeout() {
        ErrorKind::Timeout
    } else if causes.iter().any(|cause| cause.contains("invalid peer certificate")) {
        ErrorKind::UntrustedCertificate
    } else if causes.iter().any(|cause| says_unknown_host(cause)) {
        ErrorKind::NotFound
    } else {
        ErrorKind::Unavailable
    }
}

/// A whole answer, good or bad.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The service's word for what is wrong; empty if it gave none.
    pub(super) fn code(&self) -> &str {
        self.header("x-ms-error-code").unwrap_or_default()
    }

    /// The service's clock.
    pub(super) fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("date")?).ok()
    }

    pub(super) fn stamp(&self) -> Result<Stamp, Failure> {
        let etag = self.header("etag").map(|etag| etag.trim_matches('"')).filter(|etag| !etag.is_empty());
        let etag = etag.ok_or_else(|| Failure::new(ErrorKind::Protocol, "the answer has no etag"))?;
        let modified = self.header("last-modified").and_then(|date| httpdate::parse_http_date(date).ok());
        let is_versioned = self.header("x-ms-version-id").is_some();
        Ok(Stamp { version: Version::new(etag), modified, is_versioned })
    }

    pub(super) fn metadata(&self) -> Metadata {
        let named = self.headers.iter().filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix("x-ms-meta-")?;
            Some((key, value.to_str().ok()?))
        });
        named.collect()
    }

    /// Whether the service does not take the version that the request asked for. The answer to a HEAD has no
    /// body that would name the header, and emulators name the version only.
    pub(super) fn refuses_version(&self, version: &str) -> bool {
        let body = String::from_utf8_lossy(&self.body);
        let names_it = || body.contains("x-ms-version") || body.contains(version);
        self.status == 400 && self.code() == "InvalidHeaderValue" && (body.is_empty() || names_it())
    }

    /// The failure that an unexpected answer means.
    pub(super) fn into_failure(self) -> Failure {
        let shown = |label, header| {
            let value = self.header(header).map(|value| value.get(..MAX_SHOWN).unwrap_or(value));
            value.map(|value| format!(", {label} {value}")).unwrap_or_default()
        };
        let (code, request) = (shown("code", "x-ms-error-code"), shown("request", "x-ms-request-id"));
        let advice = match self.code() {
            "ContainerNotFound" => "; create it, or call create_container_if_absent",
            "AuthorizationPermissionMismatch" => {
                "; the identity needs the role Storage Blob Data Contributor, or the signature more permissions"
            }
            "BlobArchived" | "BlobBeingRehydrated" => {
                "; records cannot be changed in the archive tier: move the blob to the hot tier, and leave the container out of the account's life-cycle rules"
            }
            "BlobImmutableDueToPolicy" => {
                "; records change all the time, so the container must have no immutability policy and no legal hold"
            }
            "KeyBasedAuthenticationNotPermitted" => {
                "; the account takes no keys and no signatures made with them: use a token credential"
            }
            _ => "",
        };
        let reason = format!("status {}{code}{request}{advice}", self.status);
        Failure { retry_after: self.retry_after(), ..Failure::new(self.kind(), reason) }
    }

    fn kind(&self) -> ErrorKind {
        match (self.status, self.code()) {
            (_, "ContainerNotFound") => ErrorKind::NotFound,
            (_, "OperationTimedOut") | (408 | 504, _) => ErrorKind::Timeout,
            (401 | 403, _) => ErrorKind::Unauthorized,
            (429 | 503, _) => ErrorKind::Throttled,
            (500.., _) | (_, "ContainerBeingDeleted") => ErrorKind::Unavailable,
            (400, _) | (_, "BlobArchived" | "BlobBeingRehydrated" | "BlobImmutableDueToPolicy") => {
                ErrorKind::InvalidArgument
            }
            _ => ErrorKind::Protocol,
        }
    }

    /// A number of milliseconds or seconds, or a date by the service's own clock.
    fn retry_after(&self) -> Option<Duration> {
        if let Some(millis) = self.header("x-ms-retry-after-ms").and_then(|millis| millis.parse().ok()) {
            return Some(Duration::from_millis(millis));
        }
        let wait = self.header("retry-after")?;
        let seconds = wait.parse().map(Duration::from_secs);
        seconds.ok().or_else(|| httpdate::parse_http_date(wait).ok()?.duration_since(self.date()?).ok())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<const N: usize>(status: u16, headers: [(&'static str, &str); N]) -> Answer {
        let headers =
            headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Answer { status, headers: headers.collect(), body: Vec::new() }
    }

    #[test]
    fn each_answer_has_its_kind() {
        for (status, code, kind) in [
            (404, "ContainerNotFound", ErrorKind::NotFound),
            (404, "ResourceNotFound", ErrorKind::Protocol),
            (403, "AuthenticationFailed", ErrorKind::Unauthorized),
            (401, "", ErrorKind::Unauthorized),
            (503, "ServerBusy", ErrorKind::Throttled),
            (429, "", ErrorKind::Throttled),
            (500, "OperationTimedOut", ErrorKind::Timeout),
            (500, "InternalError", ErrorKind::Unavailable),
            (502, "", ErrorKind::Unavailable),
            (504, "", ErrorKind::Timeout),
            (409, "ContainerBeingDeleted", ErrorKind::Unavailable),
            (412, "LeaseIdMissing", ErrorKind::Protocol),
            (400, "InvalidMetadata", ErrorKind::InvalidArgument),
            (409, "BlobArchived", ErrorKind::InvalidArgument),
            (409, "BlobImmutableDueToPolicy", ErrorKind::InvalidArgument),
            (302, "", ErrorKind::Protocol),
        ] {
            let failure = answer(status, [("x-ms-error-code", code)]).into_failure();
            assert_eq!(failure.kind, kind, "{status} {code}");
            assert!(failure.reason.contains(&status.to_string()) && failure.reason.contains(code));
        }
    }

    #[test]
    fn a_failure_tells_the_request_and_cuts_what_is_long() {
        let id = "x".repeat(1_000);
        let reason = answer(500, [("x-ms-request-id", &id)]).into_failure().reason;
        assert_eq!(reason, format!("status 500, request {}", "x".repeat(MAX_SHOWN)));
    }

    #[test]
    fn the_wait_is_given_in_one_of_three_ways() {
        let now = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        for headers in [
            [now, ("x-ms-retry-after-ms", "7000")],
            [now, ("retry-after", "7")],
            [now, ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")],
        ] {
            assert_eq!(answer(503, headers).retry_after(), Some(Duration::from_secs(7)), "{headers:?}");
        }
        assert_eq!(answer(503, [now, ("retry-after", "soon")]).retry_after(), None);
        assert_eq!(answer(503, [now, ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")]).retry_after(), None);
    }

    #[test]
    fn an_etag_loses_its_quotes_and_must_be_there() {
        let stamp = answer(200, [("etag", "\"0x8D1\"")]).stamp().unwrap();
        assert_eq!(stamp, Stamp { version: Version::new("0x8D1"), modified: None, is_versioned: false });
        assert_eq!(answer(200, [("etag", "\"\"")]).stamp().unwrap_err().kind, ErrorKind::Protocol);
    }

    #[test]
    fn metadata_is_what_the_headers_say() {
        let headers = [("x-ms-meta-ownerid", "me"), ("x-ms-version", "1"), ("x-ms-meta-offset", "")];
        let metadata = answer(200, headers).metadata();
        assert_eq!(
            (metadata.get("OwnerId"), metadata.get("offset"), metadata.get("version")),
            (Some("me"), Some(""), None)
        );
    }
}
