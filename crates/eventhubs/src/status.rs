//! What a client is at, as a snapshot that can be read at any time. It is put together in `board.rs`; whether it means
//! that the process lives is decided in `status/health.rs`.

mod health;
mod prometheus;
#[cfg(feature = "serde")]
mod serialized;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventhubs_types::{ConsumerScope, OwnerId, PartitionId, SequenceNumber};

use crate::ErrorKind;

/// What a client is at: see [`ConsumerClient::status`](crate::ConsumerClient::status).
///
/// Ages and durations are as of the snapshot. With the feature `serde` it can be serialized: durations are seconds, times
/// are seconds since 1970, and what is not known is `null`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The event hub and consumer group.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::scope"))]
    pub scope: ConsumerScope,
    /// The id under which the instance owns partitions.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::text"))]
    pub owner_id: OwnerId,
    /// How long ago the client was built.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
    pub uptime: Duration,
    /// What its runs are at.
    pub run: RunState,
    /// The load balancing; `None` where nothing is balanced.
    pub rounds: Option<Rounds>,
    /// Whether the checkpoint store answers.
    pub store: StoreState,
    /// Every partition that the client has read, in the order of the ids; those that it does not read now have the state
    /// [`Released`](PartitionState::Released).
    pub partitions: Vec<PartitionStatus>,
}

/// What the runs of a client are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RunState {
    /// `receive` is not running.
    NotRunning,
    /// The event hub and the checkpoint store have not both answered yet, or the first round has not ended.
    Starting,
    /// It receives.
    Running,
    /// It was told to stop, and closes its partitions.
    Stopping,
}

/// The load-balancing rounds of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Rounds {
    /// How many have ended.
    pub count: u64,
    /// How long ago the last one ended, or the run began.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
    pub since_last: Duration,
    /// How long the last one took.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_seconds"))]
    pub duration: Option<Duration>,
    /// The longest time that may be between the ends of two rounds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
    pub limit: Duration,
    /// How many hints of the store were followed by a round that came earlier.
    pub hints: u64,
}

/// Whether the checkpoint store answers.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case", tag = "state"))]
#[non_exhaustive]
pub enum StoreState {
    /// It was not asked yet.
    Unknown,
    /// The last call had an answer.
    Answering,
    /// All calls have failed for this long.
    Failing {
        /// Since the first failure.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
        since: Duration,
        /// The last error.
        error: String,
    },
}

/// What a client is at with one partition.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartitionStatus {
    /// The partition.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::text"))]
    pub partition: PartitionId,
    /// What is done there.
    pub state: PartitionState,
    /// How long the client has read the partition; `None` while it does not.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_seconds"))]
    pub owned_for: Option<Duration>,
    /// How many events were handed to the callback. One that came twice counts twice. Never goes back.
    pub delivered: u64,
    /// How many events are done: handled, skipped or dead-lettered. Never goes back.
    pub done: u64,
    /// How many calls of the callback have failed. Never goes back.
    pub failed: u64,
    /// How many events were handed to the callback, or wait for a free call, and are not done.
    pub in_flight: u64,
    /// The last event that is done, as are all before it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_number"))]
    pub position: Option<SequenceNumber>,
    /// When the service enqueued that event.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_time"))]
    pub position_enqueued: Option<SystemTime>,
    /// The checkpoint in the store, as it was last read or written.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_number"))]
    pub checkpoint: Option<SequenceNumber>,
    /// How long ago the client has written or read it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_seconds"))]
    pub checkpoint_age: Option<Duration>,
    /// Whether a checkpoint waits for the store to be reachable.
    pub is_checkpoint_pending: bool,
    /// How far the position is from the newest event; `None` while that is not known.
    pub lag: Option<Lag>,
    /// The event that holds the partition, because its callback fails.
    pub held_by: Option<HeldBy>,
    /// The last error that was reported for the partition.
    pub last_error: Option<LastError>,
}

/// What is done with a partition.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case", tag = "name"))]
#[non_exhaustive]
pub enum PartitionState {
    /// It is not read by this client.
    Released,
    /// The link is being attached.
    Opening,
    /// Events are read and handled.
    Reading,
    /// All events that have come are done.
    Idle,
    /// It is [paused](crate::PartitionContext::pause).
    Paused,
    /// A call of the callback or of a hook has waited for this long.
    Handling {
        /// Since the call began to wait.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
        since: Duration,
    },
    /// An event whose callback failed, or a link that failed, is tried again after a pause.
    BackingOff {
        /// The rest of the pause.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
        rest: Duration,
    },
    /// Another instance waits for the partition, or the run stops.
    Closing,
    /// It makes no progress although there is something to do.
    Stalled {
        /// Since it counts as stalled.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
        since: Duration,
        /// Why.
        stall: Stall,
    },
}

/// Why a partition makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case", tag = "why"))]
#[non_exhaustive]
pub enum Stall {
    /// A call of the callback or of a hook runs longer than [`stall_after`](crate::Receive::stall_after).
    Call {
        /// The event, or the last one of the batch; `None` of a hook.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_number"))]
        sequence_number: Option<SequenceNumber>,
    },
    /// The event hub has events after `reached`, and none comes over the link. It is cut and attached again.
    Link {
        /// The last event that has come.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_number"))]
        reached: Option<SequenceNumber>,
        /// The newest event of the partition.
        #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::number"))]
        newest: SequenceNumber,
    },
}

/// The event that holds its partition: it fails again and again, and no later one may be handled before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HeldBy {
    /// The event.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::number"))]
    pub sequence_number: SequenceNumber,
    /// How often its callback has failed.
    pub attempts: u32,
}

/// How far the last event that is done is from the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Lag {
    /// In events.
    pub events: u64,
    /// In time: the age of the last event that is done, and zero if it is the newest one. `None` if no event is done.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::some_seconds"))]
    pub time: Option<Duration>,
    /// How long ago the service said what the newest event is.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
    pub age: Duration,
}

/// An error that was reported.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LastError {
    /// Its kind.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::kind"))]
    pub kind: ErrorKind,
    /// Its text, which has no secret.
    pub text: String,
    /// How long ago it was reported.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialized::seconds"))]
    pub age: Duration,
}

impl PartitionStatus {
    /// Returns whether the client reads the partition now.
    pub fn is_owned(&self) -> bool {
        self.state != PartitionState::Released
    }

    /// Returns how many events are done and not covered by the checkpoint, so that a crash repeats them; `None` while one
    /// of both is not known. Numbers that compaction has removed count too.
    pub fn after_checkpoint(&self) -> Option<u64> {
        let after = self.position?.value().saturating_sub(self.checkpoint?.value());
        Some(u64::try_from(after).unwrap_or(0))
    }

    pub(crate) fn released(partition: PartitionId) -> Self {
        Self {
            partition,
            state: PartitionState::Released,
            owned_for: None,
            delivered: 0,
            done: 0,
            failed: 0,
            in_flight: 0,
            position: None,
            position_enqueued: None,
            checkpoint: None,
            checkpoint_age: None,
            is_checkpoint_pending: false,
            lag: None,
            held_by: None,
            last_error: None,
        }
    }
}

impl PartitionState {
    /// Returns the name in snake case, for labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Opening => "opening",
            Self::Reading => "reading",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Handling { .. } => "handling",
            Self::BackingOff { .. } => "backing_off",
            Self::Closing => "closing",
            Self::Stalled { .. } => "stalled",
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { sequence_number: Some(number) } => {
                write!(f, "the callback at sequence number {number} does not end")
            }
            Self::Call { sequence_number: None } => f.write_str("a hook does not end"),
            Self::Link { newest, .. } => write!(f, "no event comes, although the newest one is {newest}"),
        }
    }
}

/// Reads the status of a client for as long as that exists, without keeping it alive.
#[derive(Clone)]
pub struct StatusReader(Arc<dyn Fn() -> Option<Status> + Send + Sync>);

impl StatusReader {
    pub(crate) fn new(read: impl Fn() -> Option<Status> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Returns the status, or `None` when the client and its runs are gone.
    pub fn status(&self) -> Option<Status> {
        (self.0)()
    }
}

impl fmt::Debug for StatusReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusReader").finish_non_exhaustive()
    }
}
