//! What the driver reports, as errors of a store.

use std::error::Error as StdError;
use std::iter::successors;

use eventhubs_checkpoint_store::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

/// Why a statement has no answer, or a bad one.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The driver or the server says so.
    Database(tokio_postgres::Error),
    /// The time limit of the call was over first.
    Timeout,
}

impl Failure {
    pub(crate) fn is(&self, state: &SqlState) -> bool {
        matches!(self, Self::Database(error) if error.code() == Some(state))
    }

    /// The error of a call that was to do this.
    pub(crate) fn during(self, what: &'static str) -> Error {
        match self {
            Self::Database(error) => Error::new(kind(&error), what).with_source(error),
            Self::Timeout => Error::new(ErrorKind::Timeout, what),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

fn kind(error: &tokio_postgres::Error) -> ErrorKind {
    error.code().map_or_else(|| kind_of_driver(error), kind_of_state)
}

/// The class of an SQLSTATE is its first two characters; states of one class that mean different things come first.
fn kind_of_state(state: &SqlState) -> ErrorKind {
    match state.code() {
        // The statement or its wait for a lock took too long.
        "57014" | "55P03" => ErrorKind::Timeout,
        "25006" => ErrorKind::Unavailable,
        "42501" => ErrorKind::Unauthorized,
        // No table, no function, no schema.
        "42P01" | "42883" | "3F000" => ErrorKind::NotFound,
        // A text that the encoding of the database cannot hold.
        "22021" | "22P05" => ErrorKind::InvalidArgument,
        code => match code.get(..2) {
            Some("08" | "40" | "57") => ErrorKind::Unavailable,
            Some("53") => ErrorKind::Throttled,
            Some("28") => ErrorKind::Unauthorized,
            Some("3D") => ErrorKind::NotFound,
            _ => ErrorKind::Protocol,
        },
    }
}

/// The driver keeps the kinds of its own errors to itself, so the texts of their causes decide.
fn kind_of_driver(error: &tokio_postgres::Error) -> ErrorKind {
    let causes = successors(Some(error as &dyn StdError), |&cause| cause.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if says(&["invalid peer certificate"]) {
        ErrorKind::UntrustedCertificate
    } else if says(&["server does not support TLS"]) {
        ErrorKind::InvalidArgument
    } else if says(&["authentication error", "password missing"]) {
        ErrorKind::Unauthorized
    } else if says(&["Name or service not known", "nodename nor servname", "No such host is known"]) {
        ErrorKind::NotFound
    } else if says(&["error retrieving column", "error deserializing column", "unexpected message"]) {
        ErrorKind::Protocol
    } else if says(&["timed out", "timeout waiting"]) {
        ErrorKind::Timeout
    } else {
        ErrorKind::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_is_transient_and_a_mistake_is_not() {
        for (codes, expected) in [
            (["08006", "40P01", "57P01", "25006"].as_slice(), ErrorKind::Unavailable),
            (&["53300"], ErrorKind::Throttled),
            (&["57014", "55P03"], ErrorKind::Timeout),
            (&["28P01", "28000", "42501"], ErrorKind::Unauthorized),
            (&["3D000", "42P01", "3F000"], ErrorKind::NotFound),
            (&["22021"], ErrorKind::InvalidArgument),
            (&["XX000", "42601"], ErrorKind::Protocol),
        ] {
            for code in codes {
                assert_eq!(kind_of_state(&SqlState::from_code(code)), expected, "{code}");
            }
        }
    }

    #[test]
    fn a_call_that_was_too_slow_may_be_repeated() {
        assert!(Failure::Timeout.during("list").is_transient());
    }
}
