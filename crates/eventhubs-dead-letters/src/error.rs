//! The error of this crate: its kind says whether to try again.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use eventhubs_types::write_with_causes;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Any error: what a sink returns, whatever it writes to.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong with a dead letter.
///
/// Match on [`kind`](Self::kind); the text and the sources are for people and may change. `Display` prints
/// the whole chain of causes in one line. No text, `Debug` included, holds any content of an event.
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    line: Option<u64>,
    source: Option<BoxError>,
}

/// The kinds of error that a caller may want to treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The folder or file does not exist.
    NotFound,
    /// This user may not read or write the file.
    Unauthorized,
    /// The path is not that of a file of dead letters, or the letter is too large; the text says which.
    InvalidArgument,
    /// Another process, or another sink of this one, writes to the file.
    InUse,
    /// The disk or the quota of the user is full.
    Full,
    /// The disk did not answer in time. The letter may be written twice.
    Timeout,
    /// The file could not be read or written.
    Unavailable,
    /// A letter cannot be read; [`Error::line`] says which.
    Malformed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), line: None, source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the number of the line that cannot be read, from 1.
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// Returns whether the same call may succeed later, without a change of the program.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::InUse | ErrorKind::Full | ErrorKind::Timeout | ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.line {
            Some(line) => format!("{}: {}, line {line}", self.kind, self.context),
            None => format!("{}: {}", self.kind, self.context),
        };
        write_with_causes(f, &text, StdError::source(self))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("context", &self.context)
            .field("line", &self.line)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Unauthorized => "no permission",
            Self::InvalidArgument => "invalid argument",
            Self::InUse => "in use",
            Self::Full => "the disk is full",
            Self::Timeout => "no answer in time",
            Self::Unavailable => "the file cannot be used",
            Self::Malformed => "a dead letter cannot be read",
        })
    }
}
