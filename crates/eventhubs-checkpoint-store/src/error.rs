//! The error of a store: its kind says whether to try again.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use eventhubs_types::write_with_causes;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong in a store.
///
/// Match on [`kind`](Self::kind); the text and the sources are for people and may change. `Display` prints
/// the whole chain of causes in one line. No text, `Debug` included, holds a secret.
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

/// The kinds of error that a caller may want to treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The container, table, database or host of the store does not exist.
    NotFound,
    /// The certificate of the store is not trusted.
    UntrustedCertificate,
    /// The store refused the credential.
    Unauthorized,
    /// The store asks to slow down; see [`Error::retry_after`].
    Throttled,
    /// The store did not answer in time. A write may have been applied.
    Timeout,
    /// The store could not be reached, or the connection broke. A write may have been applied.
    Unavailable,
    /// The caller gave something that the store cannot take; the text names the field.
    InvalidArgument,
    /// The store answered with something that is not understood.
    Protocol,
    /// The store does not have this operation, which no run of `eventhubs` needs.
    Unsupported,
    /// A live owner holds the partition that an operator wants to change.
    Owned,
    /// Somebody else wrote the record that an operator wants to change.
    Conflict,
}

impl ErrorKind {
    /// Returns the name in snake case, for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::UntrustedCertificate => "untrusted_certificate",
            Self::Unauthorized => "unauthorized",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::InvalidArgument => "invalid_argument",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::Owned => "owned",
            Self::Conflict => "conflict",
        }
    }
}

impl Error {
    /// An error of this kind; `context` says what was tried, or which field is wrong, and holds no secret.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), retry_after: None, source: None }
    }

    /// Adds the cause; its own text must hold no secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the time to wait that the store asked for.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The time that the store asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Throttled | ErrorKind::Timeout | ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}: {}", self.kind, self.context);
        write_with_causes(f, &text, std::error::Error::source(self))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("context", &self.context)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the store was not found",
            Self::UntrustedCertificate => "the certificate of the store is not trusted",
            Self::Unauthorized => "the store refused the credential",
            Self::Throttled => "the store asks to slow down",
            Self::Timeout => "the store did not answer in time",
            Self::Unavailable => "the store cannot be reached",
            Self::InvalidArgument => "invalid argument",
            Self::Protocol => "the store gave an answer that is not understood",
            Self::Unsupported => "the store does not have this operation",
            Self::Owned => "a live owner holds the partition",
            Self::Conflict => "the record has changed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_error_prints_its_cause_and_chains_it() {
        let error = Error::new(ErrorKind::Unavailable, "list ownership").with_source("connection refused");
        assert_eq!(error.to_string(), "the store cannot be reached: list ownership: connection refused");
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        let is_transient = |kind| Error::new(kind, "").is_transient();
        assert!(
            [ErrorKind::Throttled, ErrorKind::Timeout, ErrorKind::Unavailable].into_iter().all(is_transient)
        );
        let lasting =
            [ErrorKind::NotFound, ErrorKind::Unauthorized, ErrorKind::InvalidArgument, ErrorKind::Protocol];
        assert!(!lasting.into_iter().any(is_transient));
    }
}
