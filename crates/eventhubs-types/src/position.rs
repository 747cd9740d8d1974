//! Offsets, sequence numbers and starting positions.

use std::fmt;
use std::time::SystemTime;

use smol_str::SmolStr;

/// The position of an event in its partition, as opaque text.
///
/// Geo-replicated hubs hand out composite, non-numeric offsets, so an offset is never parsed or compared for
/// order; order comes from [`SequenceNumber`] alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Offset(SmolStr);

impl Offset {
    /// Takes an offset as the service or a checkpoint gave it.
    pub fn new(offset: impl AsRef<str>) -> Self {
        Self(SmolStr::new(offset))
    }

    /// The offset as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Offset {
    fn from(offset: &str) -> Self {
        Self::new(offset)
    }
}

impl From<String> for Offset {
    fn from(offset: String) -> Self {
        Self(offset.into())
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The number of an event in its partition: it grows by one with each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(i64);

impl SequenceNumber {
    /// Takes the number as the service gave it; -1 is before the first event of a partition.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The plain number.
    pub const fn value(self) -> i64 {
        self.0
    }
}

impl From<i64> for SequenceNumber {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where reading a partition starts when no checkpoint says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartingPosition {
    /// At the oldest event that the hub still keeps.
    Earliest,
    /// After the newest event at the time of the first attach.
    #[default]
    Latest,
    /// At or after an offset.
    Offset {
        /// The offset.
        offset: Offset,
        /// Whether the event at the offset itself is read.
        inclusive: bool,
    },
    /// At or after a sequence number.
    SequenceNumber {
        /// The sequence number.
        number: SequenceNumber,
        /// Whether the event with this number itself is read.
        inclusive: bool,
    },
    /// At or after the time at which the service enqueued an event; the service counts in milliseconds.
    EnqueuedTime {
        /// The time.
        time: SystemTime,
        /// Whether an event enqueued at exactly this time is read.
        inclusive: bool,
    },
}

impl StartingPosition {
    /// Behind the event at `offset`.
    pub fn after_offset(offset: impl Into<Offset>) -> Self {
        Self::Offset { offset: offset.into(), inclusive: false }
    }

    /// At the event at `offset`.
    pub fn from_offset(offset: impl Into<Offset>) -> Self {
        Self::Offset { offset: offset.into(), inclusive: true }
    }

    /// Behind the event with this sequence number.
    pub fn after_sequence_number(number: impl Into<SequenceNumber>) -> Self {
        Self::SequenceNumber { number: number.into(), inclusive: false }
    }

    /// At the event with this sequence number.
    pub fn from_sequence_number(number: impl Into<SequenceNumber>) -> Self {
        Self::SequenceNumber { number: number.into(), inclusive: true }
    }

    /// At the first event enqueued later than `time`.
    pub fn after_enqueued_time(time: SystemTime) -> Self {
        Self::EnqueuedTime { time, inclusive: false }
    }

    /// At the first event enqueued at `time` or later.
    pub fn from_enqueued_time(time: SystemTime) -> Self {
        Self::EnqueuedTime { time, inclusive: true }
    }
}
