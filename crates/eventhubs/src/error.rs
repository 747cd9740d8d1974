//! The error of this crate: its kind, its partition, and the whole chain in one line.

use std::borrow::Cow;
use std::fmt;

use eventhubs_types::{PartitionId, write_with_causes};

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What a callback returns when it fails: any error.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What a callback returns.
pub type HandlerResult = std::result::Result<(), HandlerError>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong while receiving.
///
/// Match on [`kind`](Self::kind); the text and the sources are for people and may change. `Display` prints
/// what failed and the whole chain of causes in one line, so a printer of chains would repeat them. No text,
/// `Debug` included, holds a secret.
pub struct Error {
    kind: ErrorKind,
    partition: Option<PartitionId>,
    context: Cow<'static, str>,
    transient: bool,
    /// Whether it is a mistake of the program, which no retry of a callback mends.
    is_mistake: bool,
    source: Option<Source>,
}

/// The kinds of error that an application may want to treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another instance owns the partition now.
    OwnershipLost,
    /// Another live process uses the owner id of this one.
    OwnerIdInUse,
    /// The credential was refused.
    Unauthorized,
    /// The [`TokenCredential`](crate::TokenCredential) has no token.
    Credential,
    /// The namespace, event hub, consumer group or partition does not exist.
    NotFound,
    /// The event hub is disabled.
    EntityDisabled,
    /// A quota is exhausted, for example five readers of a partition.
    QuotaExceeded,
    /// The service does not know the position to start at.
    InvalidPosition,
    /// The caller gave something that cannot be used; the text names the field.
    InvalidArgument,
    /// The service asks to slow down.
    Busy,
    /// There was no answer in time.
    Timeout,
    /// The host name of the namespace is not known.
    HostNotFound,
    /// The certificate of the service, or of what answers in its place, is not trusted.
    UntrustedCertificate,
    /// The connection could not be made, or broke.
    Transport,
    /// The client or the run is closed.
    Closed,
    /// The peer said something that is not understood.
    Protocol,
    /// The checkpoint store failed, or panicked.
    Store,
    /// A callback of the application failed, or a credential of its own panicked.
    Handler,
    /// A dead-letter sink failed.
    DeadLetter,
    /// More events would go to the dead letters than the policy allows within a minute.
    DeadLetterLimit,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        let context = context.into();
        Self { kind, partition: None, context, transient: false, is_mistake: false, source: None }
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, context)
    }

    pub(crate) fn amqp(context: impl Into<Cow<'static, str>>, source: eventhubs_amqp::Error) -> Self {
        let transient = source.is_transient();
        Self { transient, ..Self::new(kind_of(source.kind()), context).caused_by(source) }
    }

    pub(crate) fn store(
        context: impl Into<Cow<'static, str>>,
        source: eventhubs_checkpoint_store::Error,
    ) -> Self {
        let transient = source.is_transient();
        Self { transient, ..Self::new(ErrorKind::Store, context).caused_by(source) }
    }

    pub(crate) fn handler(context: impl Into<Cow<'static, str>>, source: HandlerError) -> Self {
        Self { transient: true, ..Self::new(ErrorKind::Handler, context).caused_by(source) }
    }

    /// A callback failed by a mistake of the program.
    pub(crate) fn mistaken(context: impl Into<Cow<'static, str>>, source: HandlerError) -> Self {
        Self::invalid(context).caused_by(source).mistake()
    }

    pub(crate) fn dead_letter(context: impl Into<Cow<'static, str>>, source: HandlerError) -> Self {
        Self { transient: true, ..Self::new(ErrorKind::DeadLetter, context).caused_by(source) }
    }

    /// The same thing may succeed later.
    pub(crate) fn passing(mut self) -> Self {
        self.transient = true;
        self
    }

    /// A callback that fails with it ends its run.
    pub(crate) fn mistake(mut self) -> Self {
        self.is_mistake = true;
        self
    }

    pub(crate) fn is_mistake(&self) -> bool {
        self.is_mistake
    }

    pub(crate) fn on_partition(mut self, partition: &PartitionId) -> Self {
        self.partition = Some(partition.clone());
        self
    }

    fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The partition that the error is about.
    pub fn partition(&self) -> Option<&PartitionId> {
        self.partition.as_ref()
    }

    /// Whether the same thing may succeed later without a change of configuration.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The AMQP error condition that the service sent, for example `com.microsoft:server-busy`.
    pub fn condition(&self) -> Option<&str> {
        self.cause::<eventhubs_amqp::Error>()?.condition()
    }

    /// The text that the service sent with the condition.
    pub fn description(&self) -> Option<&str> {
        self.cause::<eventhubs_amqp::Error>()?.description()
    }

    /// The id under which Azure support finds the failure.
    pub fn tracking_id(&self) -> Option<&str> {
        self.cause::<eventhubs_amqp::Error>()?.tracking_id()
    }

    /// What went wrong in the checkpoint store, for example [`NotFound`](crate::store::ErrorKind::NotFound)
    /// where its container does not exist.
    pub fn store_kind(&self) -> Option<eventhubs_checkpoint_store::ErrorKind> {
        Some(self.cause::<eventhubs_checkpoint_store::Error>()?.kind())
    }

    /// The first cause of this type, so that users need not depend on the crate that defines it.
    fn cause<T: std::error::Error + 'static>(&self) -> Option<&T> {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.into_iter().find_map(|error| error.downcast_ref())
    }
}

fn kind_of(kind: eventhubs_amqp::ErrorKind) -> ErrorKind {
    use eventhubs_amqp::ErrorKind as Amqp;
    match kind {
        Amqp::OwnershipLost => ErrorKind::OwnershipLost,
        Amqp::Unauthorized => ErrorKind::Unauthorized,
        Amqp::Credential => ErrorKind::Credential,
        Amqp::NotFound => ErrorKind::NotFound,
        Amqp::EntityDisabled => ErrorKind::EntityDisabled,
        Amqp::QuotaExceeded => ErrorKind::QuotaExceeded,
        Amqp::InvalidPosition => ErrorKind::InvalidPosition,
        Amqp::InvalidArgument => ErrorKind::InvalidArgument,
        Amqp::Busy => ErrorKind::Busy,
        Amqp::Timeout => ErrorKind::Timeout,
        Amqp::HostNotFound => ErrorKind::HostNotFound,
        Amqp::UntrustedCertificate => ErrorKind::UntrustedCertificate,
        Amqp::Transport => ErrorKind::Transport,
        Amqp::Closed => ErrorKind::Closed,
        _ => ErrorKind::Protocol,
    }
}

impl From<eventhubs_types::InvalidName> for Error {
    fn from(name: eventhubs_types::InvalidName) -> Self {
        Self::invalid(name.to_string())
    }
}

impl From<eventhubs_amqp::Error> for Error {
    fn from(source: eventhubs_amqp::Error) -> Self {
        let text = match source.kind() {
            eventhubs_amqp::ErrorKind::InvalidArgument => "the client could not be made",
            _ => "the event hub could not be used",
        };
        Self::amqp(text, source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.partition {
            Some(partition) => format!("{} (partition {partition})", self.context),
            None => self.context.to_string(),
        };
        write_with_causes(f, &text, std::error::Error::source(self))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("partition", &self.partition)
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

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store as store;

    use super::*;

    #[test]
    fn the_kind_of_a_store_error_is_found_however_deep_it_is() {
        let container = store::Error::new(store::ErrorKind::NotFound, "the container");
        let written = Error::store("the checkpoint could not be written", container);
        assert_eq!(written.store_kind(), Some(store::ErrorKind::NotFound));
        let failed = Error::handler("the callback failed", written.into());
        assert_eq!(failed.store_kind(), Some(store::ErrorKind::NotFound));
        assert_eq!((failed.condition(), failed.tracking_id()), (None, None));
    }
}
