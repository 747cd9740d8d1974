//! What a namespace keeps, as traits, and the storage in memory. What is kept in a folder is in `disk.rs`; which events are kept is for
//! `log.rs` to say, whose tests use the storage in memory.

use std::collections::VecDeque;
use std::fmt::Debug;

use crate::condition::{Condition, INTERNAL_ERROR};
use crate::error::{Error, ErrorKind};
use crate::event::offset::Offset;
use crate::event::sections::{Stamp, StampedMessage};

/// Offsets are byte positions that count this in addition to each body, so that no offset but the first equals a sequence number.
const EVENT_OVERHEAD: i64 = 64;

/// The time that a partition reports before its first event: 0001-01-01, in milliseconds (docs/contract.md
/// §4.2).
pub(crate) const NEVER_MS: i64 = -62_135_596_800_000;

/// How many bytes of messages one read returns at most, not counting its last message.
const READ_BYTES: usize = 1024 * 1024;

/// An event hub as it outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedHub {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) created_ms: i64,
    /// All of them.
    pub(crate) consumer_groups: Vec<String>,
    /// How often it has failed over.
    pub(crate) era: u16,
}

/// What a namespace keeps.
pub(crate) trait Storage: Debug + Send + Sync {
    /// Returns the hubs of an earlier run.
    fn hubs(&self) -> Result<Vec<SavedHub>, StorageError>;

    /// Writes a hub, in place of what was written about it before.
    fn save_hub(&self, hub: &SavedHub) -> Result<(), StorageError>;

    /// Removes a hub and its events.
    fn delete_hub(&self, name: &str) -> Result<(), StorageError>;

    /// Opens a partition of a hub that is saved.
    fn partition(&self, hub: &str, partition: u32) -> Result<(Box<dyn EventStore>, State), StorageError>;
}

/// An event of a partition; a copy shares the bytes.
#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    pub(crate) stamp: Stamp,
    /// How much it counts: the bytes of its body.
    pub(crate) size: u32,
    pub(crate) message: StampedMessage,
}

impl StoredEvent {
    pub(crate) fn entry(&self) -> Entry {
        let Stamp { offset, enqueued_ms, .. } = self.stamp;
        Entry { position: offset.position, enqueued_ms, size: self.size }
    }
}

/// What starting positions and retention need to know of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// In bytes, the same in every era. It grows from event to event by [`Entry::next_position`], so that the bytes of any run of
    /// events follow from the positions at its two ends.
    pub(crate) position: i64,
    /// Never less than that of the event before.
    pub(crate) enqueued_ms: i64,
    pub(crate) size: u32,
}

impl Entry {
    /// Returns the position of the event after this one.
    pub(crate) fn next_position(self) -> i64 {
        self.position + i64::from(self.size) + EVENT_OVERHEAD
    }
}

/// Returns the bytes of the bodies of this many events that lie between two positions.
pub(crate) fn bytes_between(start: i64, end: i64, events: i64) -> u64 {
    debug_assert!(end - start >= events * EVENT_OVERHEAD, "each event has moved the position");
    u64::try_from(end - start - events * EVENT_OVERHEAD).unwrap_or(0)
}

/// What a partition is known by when it is opened.
#[derive(Debug)]
pub(crate) struct State {
    /// Of the last event, kept or not.
    pub(crate) head: Stamp,
    /// Of the event to come.
    pub(crate) next_position: i64,
    /// The sequence number of the oldest event kept; that of the next event when none is.
    pub(crate) first: i64,
    /// Of the event `first`, unless none is kept.
    pub(crate) oldest: Option<Entry>,
}

impl Default for State {
    fn default() -> Self {
        let head =
            Stamp { sequence_number: -1, offset: Offset { era: 0, position: -1 }, enqueued_ms: NEVER_MS };
        Self { head, next_position: 0, first: 0, oldest: None }
    }
}

/// The events of one partition, with sequence numbers that follow each other. Its methods block, below the lock of the partition.
pub(crate) trait EventStore: Debug + Send {
    /// Keeps events after those that are there, all of them or none, and then forgets those before `first_kept`.
    fn append(&mut self, events: Vec<StoredEvent>, first_kept: i64) -> Result<(), StorageError>;

    /// Returns up to `limit` events from this sequence number on, which is not before the first one kept; fewer when they are large.
    fn read(&self, from: i64, limit: usize) -> Result<Vec<StoredEvent>, StorageError>;

    /// Returns the entry of an event that is kept.
    fn entry(&self, sequence_number: i64) -> Result<Entry, StorageError>;

    /// Forgets the events before this sequence number.
    fn drop_before(&mut self, sequence_number: i64) -> Result<(), StorageError>;
}

/// Why events cannot be kept or read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageError(pub(crate) String);

impl From<StorageError> for Condition {
    /// One that producers and consumers take for transient (docs/contract.md §5.4).
    fn from(StorageError(why): StorageError) -> Self {
        Self::new(INTERNAL_ERROR, why)
    }
}

impl From<StorageError> for Error {
    fn from(StorageError(why): StorageError) -> Self {
        Self::new(ErrorKind::Storage, why)
    }
}

/// Decides which messages, given by their lengths, belong to one read: at most `limit`, and none after [`READ_BYTES`] are reached.
pub(crate) fn within_limits(limit: usize) -> impl FnMut(usize) -> bool {
    let (mut count, mut bytes) = (0, 0);
    move |length| {
        let fits = count < limit && bytes < READ_BYTES;
        count += 1;
        bytes += length;
        fits
    }
}

/// Registry that end with the process.
#[derive(Debug)]
pub(crate) struct InMemory;

impl Storage for InMemory {
    fn hubs(&self) -> Result<Vec<SavedHub>, StorageError> {
        Ok(Vec::new())
    }

    fn save_hub(&self, _hub: &SavedHub) -> Result<(), StorageError> {
        Ok(())
    }

    fn delete_hub(&self, _name: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn partition(&self, _hub: &str, _partition: u32) -> Result<(Box<dyn EventStore>, State), StorageError> {
        Ok((Box::new(Memory::default()), State::default()))
    }
}

/// Events that end with the process.
#[derive(Debug, Default)]
pub(crate) struct Memory(VecDeque<StoredEvent>);

impl Memory {
    /// Returns how many events there are before this sequence number.
    fn index(&self, sequence_number: i64) -> usize {
        let first = self.0.front().map_or(sequence_number, |event| event.stamp.sequence_number);
        usize::try_from(sequence_number - first).unwrap_or(0)
    }
}

impl EventStore for Memory {
    fn append(&mut self, events: Vec<StoredEvent>, first_kept: i64) -> Result<(), StorageError> {
        self.0.extend(events);
        self.drop_before(first_kept)
    }

    fn read(&self, from: i64, limit: usize) -> Result<Vec<StoredEvent>, StorageError> {
        let mut fits = within_limits(limit);
        let events = self.0.range(self.index(from).min(self.0.len())..);
        Ok(events.take_while(|event| fits(event.message.bytes.len())).cloned().collect())
    }

    fn entry(&self, sequence_number: i64) -> Result<Entry, StorageError> {
        let event = self.0.get(self.index(sequence_number));
        let missing = || StorageError(format!("there is no event {sequence_number}"));
        event.map(StoredEvent::entry).ok_or_else(missing)
    }

    fn drop_before(&mut self, sequence_number: i64) -> Result<(), StorageError> {
        while self.0.front().is_some_and(|event| event.stamp.sequence_number < sequence_number) {
            self.0.pop_front();
        }
        Ok(())
    }
}
