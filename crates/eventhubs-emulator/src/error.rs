//! The error of the emulator's own API. What clients are told is in `condition.rs`.

use std::borrow::Cow;
use std::fmt;

/// The result of an emulator operation.
pub type Result<T> = std::result::Result<T, Error>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong in a call of the in-process API.
///
/// Match on [`kind`](Self::kind); the text is for people and may change. `Display` prints this level only.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Source>,
}

/// The kinds of error that a caller may want to treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The event hub or the partition does not exist.
    NotFound,
    /// The event hub exists already.
    AlreadyExists,
    /// The caller gave something that cannot be used; the text names the field.
    InvalidArgument,
    /// The loopback port could not be opened.
    Unavailable,
    /// The data folder cannot be used, or not be read or written now.
    Storage,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, context)
    }

    pub(crate) fn exists(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::AlreadyExists, context)
    }

    pub(crate) fn not_found(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, context)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.context)
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
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::InvalidArgument => "invalid argument",
            Self::Unavailable => "the emulator cannot listen",
            Self::Storage => "the data cannot be used",
        })
    }
}
