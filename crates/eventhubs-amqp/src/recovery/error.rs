//! The error of this crate: its text, its chain of causes, and what the receiver does about it.
//!
//! Tests: below.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use eventhubs_types::write_with_causes;

use crate::recovery::conditions::{Recovery, classify};
use crate::recovery::kind::ErrorKind;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Text from the peer is cut to this many characters before it is kept.
const MAX_REMOTE_TEXT: usize = 1024;

/// The error of this crate.
///
/// Match on [`kind`](Self::kind); the text and the sources are for people and may change. `Display` prints
/// the whole chain of causes in one line, so a printer of chains would repeat them. No text, `Debug`
/// included, holds a secret. Clones share their content.
///
/// ```
/// use eventhubs_amqp::{Error, ErrorKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind() {
///         ErrorKind::OwnershipLost => "another instance reads this partition now",
///         ErrorKind::InvalidPosition => "choose another starting position",
///         _ if error.is_transient() => "try again: it may work later",
///         _ => "give up",
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    condition: Option<String>,
    description: Option<String>,
    source: Option<Source>,
    recovery: Recovery,
}

impl Error {
    /// An error of this kind; `context` says what was tried, or which field is wrong, and holds no secret.
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            context: context.into(),
            condition: None,
            description: None,
            source: None,
            recovery: if kind.is_transient() { Recovery::Retry } else { Recovery::Final },
        }))
    }

    /// Shorthand for the most common kind of caller error.
    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, context)
    }

    /// What the service refused or ended, and why.
    pub(crate) fn remote(
        context: impl Into<Cow<'static, str>>,
        condition: &str,
        description: Option<&str>,
    ) -> Self {
        let (kind, recovery) = classify(condition, description.unwrap_or_default());
        Self::new(kind, context).with_remote(Some(condition), description).with_recovery(recovery)
    }

    /// Adds what the peer said, cut to a sane length and without control characters.
    #[must_use]
    pub(crate) fn with_remote(mut self, condition: Option<&str>, description: Option<&str>) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.condition = condition.map(printable);
        inner.description = description.map(printable);
        self
    }

    /// Says in the course of what it happened.
    #[must_use]
    pub(crate) fn within(mut self, what: &str) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.context = format!("{what}: {}", inner.context).into();
        self
    }

    #[must_use]
    pub(crate) fn with_recovery(mut self, recovery: Recovery) -> Self {
        Arc::make_mut(&mut self.0).recovery = recovery;
        self
    }

    /// What the receiver does about it.
    pub(crate) fn recovery(&self) -> Recovery {
        self.0.recovery
    }

    /// Adds the cause; its own text must hold no secret.
    #[must_use]
    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// The same for a cause of unknown type.
    #[must_use]
    pub(crate) fn with_boxed_source(mut self, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(source.into());
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the AMQP error condition that the service sent, for example `amqp:link:stolen`.
    pub fn condition(&self) -> Option<&str> {
        self.0.condition.as_deref()
    }

    /// Returns the text that the service sent with the condition.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Returns the id by which Azure support finds the failure: the `TrackingId:` in the service's text.
    pub fn tracking_id(&self) -> Option<&str> {
        let (_, rest) = self.description()?.split_once("TrackingId:")?;
        let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    }

    /// Returns whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        self.kind().is_transient()
    }
}

fn printable(text: &str) -> String {
    text.chars().take(MAX_REMOTE_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = match (self.condition(), self.description()) {
            (Some(condition), Some(description)) => format!(" ({condition}: {description})"),
            (Some(only), None) | (None, Some(only)) => format!(" ({only})"),
            (None, None) => String::new(),
        };
        let text = format!("{}: {}{remote}", self.kind(), self.0.context);
        write_with_causes(f, &text, std::error::Error::source(self))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("condition", &self.0.condition)
            .field("description", &self.0.description)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stolen(description: &str) -> Error {
        Error::remote("receiving", "amqp:link:stolen", Some(description))
    }

    #[test]
    fn the_tracking_id_is_found_in_the_services_text() {
        let error =
            stolen("New receiver 'b' with higher epoch. TrackingId:2b5e_G1_B7, SystemTracker:x, Timestamp:y");
        assert_eq!(error.tracking_id(), Some("2b5e_G1_B7"));
        assert_eq!(stolen("TrackingId:abc").tracking_id(), Some("abc"));
        assert_eq!(stolen("TrackingId:").tracking_id(), None);
        assert_eq!(stolen("nothing").tracking_id(), None);
    }

    #[test]
    fn text_of_the_peer_is_cut_and_printable() {
        let error = stolen(&format!("a\r\nforged log line {}", "x".repeat(5_000)));
        let text = error.to_string();
        assert!(
            text.starts_with("ownership of the partition was lost: receiving (amqp:link:stolen: a  forged"),
            "{text}"
        );
        assert!(text.len() < 1_200);
    }
}
