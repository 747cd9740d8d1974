//! The kinds of error.

use std::fmt;

/// The kinds of error that a caller may want to treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another receiver took the partition. Final: attaching again would only steal it back.
    OwnershipLost,
    /// The service refused the credential, also after a fresh token.
    Unauthorized,
    /// The [`TokenCredential`](crate::TokenCredential) has no token.
    Credential,
    /// The namespace, event hub or consumer group does not exist.
    NotFound,
    /// The event hub is disabled.
    EntityDisabled,
    /// A limit of the service is reached, for example five receivers on one partition.
    QuotaExceeded,
    /// The service does not know the position to start at, for example after the hub was re-created.
    InvalidPosition,
    /// An argument cannot be used; the text names it.
    InvalidArgument,
    /// The service asks to slow down.
    Busy,
    /// The service did not answer in time.
    Timeout,
    /// The host name is not known. Final, since it is most likely misspelt.
    HostNotFound,
    /// The certificate of the peer is not trusted.
    UntrustedCertificate,
    /// The connection, session or link broke.
    Transport,
    /// The client or receiver was closed by its owner.
    Closed,
    /// The peer violated the protocol.
    Protocol,
}

impl ErrorKind {
    /// Whether the same call may succeed later.
    pub(super) fn is_transient(self) -> bool {
        matches!(self, Self::Credential | Self::Busy | Self::Timeout | Self::Transport)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnershipLost => "ownership of the partition was lost",
            Self::Unauthorized => "the service refused the credential",
            Self::Credential => "the credential has no token",
            Self::NotFound => "not found",
            Self::EntityDisabled => "the event hub is disabled",
            Self::QuotaExceeded => "a limit of the service is reached",
            Self::InvalidPosition => "the position is not valid in this partition",
            Self::InvalidArgument => "invalid argument",
            Self::Busy => "the service asks to slow down",
            Self::Timeout => "no answer in time",
            Self::HostNotFound => "the host name is not known",
            Self::UntrustedCertificate => "the certificate of the peer is not trusted",
            Self::Transport => "the connection failed",
            Self::Closed => "closed",
            Self::Protocol => "the peer broke the protocol",
        })
    }
}
