//! Where hubs and events are kept.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use crate::condition::{Condition, INTERNAL_ERROR};
use crate::error::{Error, ErrorKind};
use crate::log::State;
use crate::sections::{Stamp, StampedMessage};

/// How many bytes of messages are looked up at once, but for the last message.
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
    /// The hubs of an earlier run.
    fn hubs(&self) -> Result<Vec<SavedHub>, ShelfError>;

    /// Writes what a hub is, over what it was.
    fn save_hub(&self, hub: &SavedHub) -> Result<(), ShelfError>;

    /// Removes a hub and its events.
    fn delete_hub(&self, name: &str) -> Result<(), ShelfError>;

    /// The shelf of a partition of a hub that is saved, and what is on it.
    fn partition(&self, hub: &str, partition: u32) -> Result<(Box<dyn Shelf>, State), ShelfError>;
}

/// An event of a partition.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) stamp: Stamp,
    /// How much it counts: the bytes of its body.
    pub(crate) size: u32,
    pub(crate) message: StampedMessage,
}

/// Events with sequence numbers that follow each other.
pub(crate) trait Shelf: Debug + Send {
    /// Keeps events behind those that are there, and forgets those before `first_kept`: all of it, or nothing. `next_position` is
    /// that of the event after them.
    fn append(
        &mut self,
        events: &[Arc<StoredEvent>],
        next_position: i64,
        first_kept: Option<i64>,
    ) -> Result<(), ShelfError>;

    /// Up to `limit` events from this sequence number on, or from the first one kept.
    fn read(&self, from: i64, limit: usize) -> Result<Vec<Arc<StoredEvent>>, ShelfError>;

    /// Forgets the events before this sequence number.
    fn drop_before(&mut self, sequence_number: i64) -> Result<(), ShelfError>;
}

/// Why events cannot be kept or read now.
#[derive(Debug)]
pub(crate) struct ShelfError(pub(crate) String);

impl From<ShelfError> for Condition {
    /// One that producers and consumers take for transient (contract §5.4).
    fn from(ShelfError(why): ShelfError) -> Self {
        Self::new(INTERNAL_ERROR, why)
    }
}

impl From<ShelfError> for Error {
    fn from(ShelfError(why): ShelfError) -> Self {
        Self::new(ErrorKind::Storage, why)
    }
}

/// Takes events as long as they are few and small enough to be in memory at once.
pub(crate) fn within_limits(limit: usize) -> impl FnMut(usize) -> bool {
    let (mut count, mut bytes) = (0, 0);
    move |length| {
        let fits = count < limit && bytes < READ_BYTES;
        count += 1;
        bytes += length;
        fits
    }
}

/// Hubs that end with the process.
#[derive(Debug)]
pub(crate) struct InMemory;

impl Storage for InMemory {
    fn hubs(&self) -> Result<Vec<SavedHub>, ShelfError> {
        Ok(Vec::new())
    }

    fn save_hub(&self, _hub: &SavedHub) -> Result<(), ShelfError> {
        Ok(())
    }

    fn delete_hub(&self, _name: &str) -> Result<(), ShelfError> {
        Ok(())
    }

    fn partition(&self, _hub: &str, _partition: u32) -> Result<(Box<dyn Shelf>, State), ShelfError> {
        Ok((Box::new(Memory::default()), State::default()))
    }
}

/// Events that end with the process.
#[derive(Debug, Default)]
pub(crate) struct Memory(VecDeque<Arc<StoredEvent>>);

impl Shelf for Memory {
    fn append(
        &mut self,
        events: &[Arc<StoredEvent>],
        _next_position: i64,
        first_kept: Option<i64>,
    ) -> Result<(), ShelfError> {
        self.0.extend(events.iter().cloned());
        first_kept.map_or(Ok(()), |first| self.drop_before(first))
    }

    fn read(&self, from: i64, limit: usize) -> Result<Vec<Arc<StoredEvent>>, ShelfError> {
        let first = self.0.front().map_or(from, |event| event.stamp.sequence_number);
        let skipped = usize::try_from(from - first).unwrap_or(0);
        let mut fits = within_limits(limit);
        Ok(self.0.iter().skip(skipped).take_while(|event| fits(event.message.bytes.len())).cloned().collect())
    }

    fn drop_before(&mut self, sequence_number: i64) -> Result<(), ShelfError> {
        while self.0.front().is_some_and(|event| event.stamp.sequence_number < sequence_number) {
            self.0.pop_front();
        }
        Ok(())
    }
}
