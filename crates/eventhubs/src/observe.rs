//! What a client tells those who watch it: rare observations, and its calls of the callback. What can be asked at any time
//! is in `status.rs`.

use std::borrow::Cow;
use std::time::Duration;

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId, SequenceNumber};

pub use eventhubs_load_balancer::{LossReason, Origin};

use crate::policy::failure::Panicked;
use crate::status::{Stall, StatusReader};
use crate::{Error, ErrorKind, HandlerError};

/// Watches a client: `eventhubs-opentelemetry` has one that makes metrics and spans.
///
/// All methods are called in place, on the tasks that read and balance, so they must neither block nor wait. One that
/// panics is logged, and nothing else happens.
///
/// ```
/// # #![allow(unused)]
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
/// # #[tokio::main] async fn main() -> Result {
/// # let (_emulator, connection_string) = orders().await?;
/// use eventhubs::observe::{Observation, Observer};
///
/// struct Moves;
///
/// impl Observer for Moves {
///     fn observe(&self, _: &ConsumerScope, observation: &Observation<'_>) {
///         if let Observation::Lost { partition, to, .. } = observation {
///             println!("partition {partition} went to {to:?}");
///         }
///     }
/// }
///
/// let client = ConsumerClient::builder(connection_string, "$Default").observer(Moves).build()?;
/// # read(client.receive(handle)).await }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// The client was built. Its status can be read for as long as it exists.
    fn started(&self, status: StatusReader) {
        let _ = status;
    }

    /// Something happened that does not happen for each event, in the client of this consumer group.
    fn observe(&self, scope: &ConsumerScope, observation: &Observation<'_>) {
        let _ = (scope, observation);
    }

    /// A partition is about to be read. Returns what watches its calls of the callback; `None`, the default, costs nothing
    /// for each call. With a [`concurrency`](crate::Receive::concurrency) it is asked for each of the calls that there may
    /// be at once.
    fn calls(&self, partition: &ObservedPartition<'_>) -> Option<Box<dyn CallObserver>> {
        let _ = partition;
        None
    }
}

/// A partition whose calls may be watched.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ObservedPartition<'a> {
    /// The event hub and consumer group.
    pub scope: &'a ConsumerScope,
    /// The instance.
    pub owner: &'a OwnerId,
    /// The partition.
    pub partition: &'a PartitionId,
    /// Whether the callback takes batches.
    pub is_batch: bool,
}

/// Watches the calls of the callback for one partition.
pub trait CallObserver: Send + Sync {
    /// The callback is about to be called. Returns what surrounds the call, or `None` where there is nothing to do.
    fn begin(&self, call: &Call<'_>) -> Option<Box<dyn CallScope>>;
}

/// A call of the callback, before it begins.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The events of the call: one, or a batch.
    pub events: &'a [ReceivedEvent],
    /// How often the callback is called with the first of these events; 1 the first time.
    pub attempt: u32,
}

/// What surrounds one call of the callback.
pub trait CallScope: Send {
    /// Polls the callback once, by calling `poll` exactly once. What has to be current while the callback runs, a span for
    /// example, is entered before it and left after it.
    fn poll(&mut self, poll: &mut dyn FnMut());

    /// The call has ended.
    fn end(self: Box<Self>, outcome: CallOutcome<'_>);
}

/// How a call of the callback ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum CallOutcome<'a> {
    /// It returned `Ok`.
    Handled,
    /// It returned this error, or panicked.
    Failed(&'a HandlerError),
    /// It did not end within its [`deadline`](crate::Receive::deadline).
    DeadlineExceeded,
    /// It was dropped, because the partition was lost or the run ended.
    Cancelled,
}

impl CallOutcome<'_> {
    /// Returns what the semantic conventions of OpenTelemetry call `error.type`; `None` after a success. The number of
    /// values is small: conditions of AMQP, kinds of errors in snake case, `panic`, `timeout`, `cancelled` and `_OTHER`.
    pub fn error_type(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Handled => None,
            Self::Failed(error) => Some(error_type_of(error)),
            Self::DeadlineExceeded => Some("timeout".into()),
            Self::Cancelled => Some("cancelled".into()),
        }
    }
}

fn error_type_of(error: &HandlerError) -> Cow<'static, str> {
    if error.downcast_ref::<Panicked>().is_some() {
        return "panic".into();
    }
    error.downcast_ref::<Error>().map_or("_OTHER".into(), error_type)
}

/// The same of an error of this crate: the condition of AMQP where the service sent one, or else the kind.
pub fn error_type(error: &Error) -> Cow<'static, str> {
    match error.condition() {
        Some(condition) => condition.to_owned().into(),
        None => error.kind().as_str().into(),
    }
}

/// Something that happened. None of these is made for each event.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Observation<'a> {
    /// The instance has got a partition.
    Acquired {
        /// The partition.
        partition: &'a PartitionId,
        /// Where it came from.
        origin: &'a Origin,
    },
    /// The instance has lost a partition without having been asked for it.
    Lost {
        /// The partition.
        partition: &'a PartitionId,
        /// Why.
        reason: LossReason,
        /// Who has it, where that is known.
        to: Option<&'a OwnerId>,
    },
    /// The instance has handed a partition over: no event is handled twice.
    HandedOver {
        /// The partition.
        partition: &'a PartitionId,
        /// Who asked for it.
        to: Option<&'a OwnerId>,
        /// The time between the request and the answer.
        after: Duration,
    },
    /// The instance has released a partition, because it stops.
    Released {
        /// The partition.
        partition: &'a PartitionId,
    },
    /// A load-balancing round has ended.
    Round {
        /// How long it took.
        duration: Duration,
        /// How many partitions the instance owns now.
        owned: usize,
        /// How many calls of the store failed.
        failures: usize,
    },
    /// Claims of one kind in a round.
    Claims {
        /// `renew`, `claim`, `steal`, `release` or `hand_over`.
        operation: &'static str,
        /// `won`, `lost` or `failed`.
        outcome: &'static str,
        /// How many.
        count: u64,
    },
    /// A call of the checkpoint store has ended.
    StoreCall {
        /// The method of the [`CheckpointStore`](crate::CheckpointStore), for example `list_ownership`. Each write of a
        /// checkpoint that reaches the store is an `update_checkpoint`.
        operation: &'static str,
        /// The partition, where the call was about one.
        partition: Option<&'a PartitionId>,
        /// The checkpoint, of `update_checkpoint`.
        sequence_number: Option<SequenceNumber>,
        /// How long it took.
        duration: Duration,
        /// Why it failed, if it did.
        error: Option<&'a eventhubs_checkpoint_store::Error>,
    },
    /// The event hub was asked about itself or a partition.
    Lookup {
        /// `get_event_hub_properties` or `get_partition_properties`.
        operation: &'static str,
        /// The partition.
        partition: Option<&'a PartitionId>,
        /// How long it took.
        duration: Duration,
        /// Why it failed, if it did.
        error: Option<&'a Error>,
    },
    /// A call of the callback failed, and this becomes of its events.
    Failure {
        /// The partition.
        partition: &'a PartitionId,
        /// The event, or the first one of a batch.
        sequence_number: SequenceNumber,
        /// What becomes of the events.
        consequence: Consequence,
        /// How many events.
        events: usize,
    },
    /// An error was reported, as to [`on_error`](crate::Receive::on_error).
    Error(&'a Error),
    /// A partition could not be read for a time, and is read again.
    Recovered {
        /// The partition.
        partition: &'a PartitionId,
        /// How long it could not be read.
        after: Duration,
        /// [`error_type`] of the first failure.
        error_type: &'a str,
    },
    /// A partition makes no progress.
    Stalled {
        /// The partition.
        partition: &'a PartitionId,
        /// Why.
        stall: Stall,
    },
    /// A partition that was stalled makes progress again.
    StallEnded {
        /// The partition.
        partition: &'a PartitionId,
        /// How long it was stalled.
        after: Duration,
    },
    /// Events after the checkpoint are gone: they expired before they were read, or compaction removed them.
    Expired {
        /// The partition.
        partition: &'a PartitionId,
        /// The checkpoint.
        checkpoint: SequenceNumber,
        /// The first event that is still there.
        first: SequenceNumber,
    },
}

/// What becomes of the events of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Consequence {
    /// The callback is called with them again.
    Retried,
    /// They are skipped.
    Skipped,
    /// They went to the dead letters.
    DeadLettered,
    /// The partition is restarted from its checkpoint.
    Restarted,
    /// The run ends.
    Stopped,
}

impl Consequence {
    /// Returns the name in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Skipped => "skipped",
            Self::DeadLettered => "dead_lettered",
            Self::Restarted => "restarted",
            Self::Stopped => "stopped",
        }
    }
}

impl ErrorKind {
    /// Returns the name in snake case, for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnershipLost => "ownership_lost",
            Self::OwnerIdInUse => "owner_id_in_use",
            Self::Unauthorized => "unauthorized",
            Self::Credential => "credential",
            Self::NotFound => "not_found",
            Self::EntityDisabled => "entity_disabled",
            Self::QuotaExceeded => "quota_exceeded",
            Self::InvalidPosition => "invalid_position",
            Self::InvalidArgument => "invalid_argument",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::HostNotFound => "host_not_found",
            Self::UntrustedCertificate => "untrusted_certificate",
            Self::Transport => "transport",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Store => "store",
            Self::Handler => "handler",
            Self::DeadLetter => "dead_letter",
            Self::DeadLetterLimit => "dead_letter_limit",
        }
    }
}
