//! Errors of the AMQP library as errors of this crate.
//!
//! Tests: `link/source.rs` and `tests/it/refusals.rs`, which name the errors that come out.

use fe2o3_amqp::connection::{self, OpenError};
use fe2o3_amqp::link::{
    DetachError, IllegalLinkStateError, LinkStateError, ReceiverAttachError, RecvError, SendError,
    SenderAttachError, SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp_types::definitions::{self, ErrorCondition};
use serde_amqp::primitives::Symbol;

use crate::recovery::conditions::Recovery;
use crate::{Error, ErrorKind};

/// What became of an operation on a link.
#[derive(Debug, Clone)]
pub(crate) enum LinkFailure {
    /// This error says it all.
    Known(Error),
    /// The connection ended; only its engine knows why.
    ConnectionEnded,
}

/// A failure of a link, session or connection, before it is put into words.
pub(crate) trait Failure {
    fn failure(self, context: &str) -> LinkFailure;
}

/// An error that the peer sent.
#[allow(
    unreachable_patterns,
    clippy::match_wildcard_for_single_variants,
    reason = "a variant comes with a feature that another crate of the program may turn on"
)]
pub(crate) fn remote(context: &str, error: &definitions::Error) -> Error {
    let symbol = match &error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
        _ => Symbol::from("amqp:transaction"),
    };
    Error::remote(context.to_owned(), symbol.as_str(), error.description.as_deref())
}

fn known(error: Error) -> LinkFailure {
    LinkFailure::Known(error)
}

/// The link is gone without a word; a new one may do.
fn lost(context: &str, source: impl std::error::Error + Send + Sync + 'static) -> LinkFailure {
    known(transport(context).with_recovery(Recovery::Reattach).with_source(source))
}

fn transport(context: &str) -> Error {
    Error::new(ErrorKind::Transport, context.to_owned())
}

fn stopped(context: &str, reason: &SessionStopReason) -> LinkFailure {
    match reason {
        SessionStopReason::ConnectionStopped(_) => LinkFailure::ConnectionEnded,
        SessionStopReason::RemoteEndedWithError(error) => known(remote(context, error)),
        _ => known(transport(context).with_recovery(Recovery::Reattach)),
    }
}

impl Failure for RecvError {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::LinkStateError(error) => error.failure(context),
            // What the peer sent beyond its credit is lost below us; a new link reads it again.
            Self::TransferLimitExceeded => lost(context, self),
            other => known(Error::new(ErrorKind::Protocol, context.to_owned()).with_source(other)),
        }
    }
}

impl Failure for LinkStateError {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::SessionStopped(reason) => stopped(context, &reason),
            Self::RemoteDetachedWithError(error) | Self::RemoteClosedWithError(error) => {
                known(remote(context, &error))
            }
            other => lost(context, other),
        }
    }
}

impl Failure for IllegalLinkStateError {
    fn failure(self, context: &str) -> LinkFailure {
        LinkStateError::from(self).failure(context)
    }
}

impl Failure for DetachError {
    fn failure(self, context: &str) -> LinkFailure {
        LinkStateError::from(self).failure(context)
    }
}

impl Failure for SendError {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::LinkStateError(error) => error.failure(context),
            Self::Detached(error) => error.failure(context),
            other => known(Error::new(ErrorKind::Protocol, context.to_owned()).with_source(other)),
        }
    }
}

impl Failure for ReceiverAttachError {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::SessionStopped(reason) => stopped(context, &reason),
            Self::RemoteClosedWithError(error) => known(remote(context, &error)),
            other => lost(context, other),
        }
    }
}

impl Failure for SenderAttachError {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::SessionStopped(reason) => stopped(context, &reason),
            Self::RemoteClosedWithError(error) => known(remote(context, &error)),
            other => lost(context, other),
        }
    }
}

impl Failure for BeginError {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::ConnectionStopped(_) => LinkFailure::ConnectionEnded,
            Self::RemoteEndedWithError(error) => known(remote(context, &error)),
            other => lost(context, other),
        }
    }
}

/// Why a connection could not be opened.
pub(crate) fn open_error(context: &str, error: OpenError) -> Error {
    reconnecting(match error {
        OpenError::RemoteClosedWithError(error) => remote(context, &error),
        OpenError::SaslError { .. } => {
            Error::new(ErrorKind::Unauthorized, context.to_owned()).with_source(error)
        }
        // What the stream found wrong; the library would print it as a Rust value.
        OpenError::Io(error) => transport(context).with_source(error),
        other => transport(context).with_source(other),
    })
}

/// Why a connection ended.
pub(crate) fn close_error(context: &str, error: connection::Error) -> Error {
    reconnecting(match error {
        connection::Error::RemoteClosedWithError(error) => remote(context, &error),
        other => transport(context).with_source(other),
    })
}

/// Whatever else the condition asks for, this connection is gone.
fn reconnecting(error: Error) -> Error {
    if error.is_transient() { error.with_recovery(Recovery::Reconnect) } else { error }
}
