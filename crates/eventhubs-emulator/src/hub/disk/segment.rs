//! A segment: two files with events that follow each other, and the index of them. How their bytes are laid out is in `record.rs`, which
//! segments a partition has in `partition.rs`, whose tests cover this file as well.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::open_files::{DataFile, OpenFiles};
use super::record::{self, APPEND_HEADER, ENTRY, Encoded, IndexEntry, RECORD_HEADER, Tail};
use crate::event::offset::Offset;
use crate::event::sections::{Stamp, StampedMessage};
use crate::hub::storage::{StorageError, StoredEvent};

/// The extension of the file with the messages.
pub(super) const EVENTS: &str = "events";
/// The extension of the file with the entries.
pub(super) const INDEX: &str = "index";
/// How many entries of the index are looked at first for the last append that is complete.
const TAIL: u64 = 64;

/// The files of a segment. The one with the messages is written first and removed first, so that it never has content when there is no
/// index.
#[derive(Debug)]
pub(super) struct Segment {
    /// The sequence number of its first event, which its files are named by.
    pub(super) first: i64,
    events: DataFile,
    index: DataFile,
}

/// Where a segment ends: what follows is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The sequence number after that of its last event.
    pub(super) number: i64,
    /// The bytes of all its events.
    pub(super) length: u64,
}

impl Segment {
    pub(super) fn new(folder: &Path, first: i64, files: &Arc<OpenFiles>) -> Self {
        let file = |extension| DataFile::new(folder.join(format!("{first:020}.{extension}")), files);
        Self { first, events: file(EVENTS), index: file(INDEX) }
    }

    pub(super) fn create(&self) -> Result<(), StorageError> {
        self.events.create()?;
        self.index.create()
    }

    pub(super) fn remove(&self) -> Result<(), StorageError> {
        self.events.remove()?;
        self.index.remove()
    }

    /// Returns the bytes of its messages, committed or not.
    pub(super) fn length(&self) -> Result<u64, StorageError> {
        self.events.length()
    }

    /// Adds an append at the end; when this fails, what is there of it has to be [cut off](Self::cut).
    pub(super) fn append(&self, end: End, encoded: &Encoded) -> Result<(), StorageError> {
        // The messages first: an index entry is what makes an event exist, so it is written when all of the
        // event is there.
        self.events.write(&encoded.events, end.length)?;
        self.index.write(&encoded.index, self.index_offset(end.number))
    }

    /// Removes what comes after the end.
    pub(super) fn cut(&self, end: End) -> Result<(), StorageError> {
        // The index first: its entries never point to what is not there.
        self.index.truncate(self.index_offset(end.number))?;
        self.events.truncate(end.length)
    }

    /// Finds the end, cuts off what a killed process has left after it, and returns it with the last entry; `None` when no append is
    /// complete.
    ///
    /// Takes as long for two events as for two millions: only the last append is looked at, and of it the last event.
    pub(super) fn recover(&self) -> Result<Option<(End, IndexEntry)>, StorageError> {
        let count = self.index.length()? / ENTRY as u64;
        let last = self.last_committed(count)?;
        let end = last.map_or(End { number: self.first, length: 0 }, |(number, entry)| End {
            number: number + 1,
            length: entry.end(),
        });
        self.check_rest(end)?;
        let Some((number, entry)) = last else { return Ok(None) };
        self.events(number, &[entry])?;
        if self.events.length()? > end.length || self.index.length()? > self.index_offset(end.number) {
            self.cut(end)?;
        }
        Ok(Some((end, entry)))
    }

    fn last_committed(&self, count: u64) -> Result<Option<(i64, IndexEntry)>, StorageError> {
        let mut looked_at = TAIL.min(count);
        loop {
            let first = self.first.saturating_add_unsigned(count - looked_at);
            match record::tail(first, &self.index_bytes(first, looked_at)?) {
                Tail::Committed(number, entry) => return Ok(Some((number, entry))),
                Tail::Open if looked_at == count => return Ok(None),
                // An append may be larger than what was looked at; growing by four keeps the sum of all looks
                // near the last one.
                Tail::Open => looked_at = (4 * looked_at).min(count),
                Tail::Damaged(number) => return Err(self.damaged_entry(number)),
            }
        }
    }

    /// Fails when what comes after the end is not what a killed process leaves.
    fn check_rest(&self, end: End) -> Result<(), StorageError> {
        let length = self.events.length()?;
        let rest = length.checked_sub(end.length).ok_or_else(|| self.events.damaged("is cut short"))?;
        let beginning = usize::try_from(rest).map_or(APPEND_HEADER, |rest| rest.min(APPEND_HEADER));
        let beginning = if beginning == 0 { Vec::new() } else { self.events.read(end.length, beginning)? };
        if record::is_torn_append(end.number, &beginning, rest) {
            Ok(())
        } else {
            Err(self.index.damaged("is cut short"))
        }
    }

    /// Returns the entries of events that are committed, up to the first one that is damaged.
    ///
    /// # Errors
    /// When the first one is damaged or cannot be read.
    pub(super) fn entries(&self, from: i64, count: i64) -> Result<Vec<IndexEntry>, StorageError> {
        let bytes = self.index_bytes(from, count.unsigned_abs())?;
        let entries = (from..).zip(bytes.chunks_exact(ENTRY));
        let intact = entries.map_while(|(number, bytes)| IndexEntry::decode(number, bytes));
        some(intact.collect()).ok_or_else(|| self.damaged_entry(from))
    }

    /// Returns the events with these entries, which begin with this sequence number and follow each other, up to the first one that is
    /// damaged. They share one buffer, which one read fills.
    ///
    /// # Errors
    /// When the first one is damaged or cannot be read.
    pub(super) fn events(
        &self,
        first: i64,
        entries: &[IndexEntry],
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let (Some(start), Some(end)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        let start = u64::from(start.start);
        let length = usize::try_from(end.end().saturating_sub(start)).unwrap_or_default();
        let run = Bytes::from(self.events.read(start, length)?);
        let intact = (first..).zip(entries).map_while(|(number, entry)| event(number, *entry, start, &run));
        some(intact.collect()).ok_or_else(|| self.events.damaged(&format!("is damaged at event {first}")))
    }

    fn index_bytes(&self, from: i64, count: u64) -> Result<Vec<u8>, StorageError> {
        let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(ENTRY);
        if length == 0 { Ok(Vec::new()) } else { self.index.read(self.index_offset(from), length) }
    }

    fn index_offset(&self, number: i64) -> u64 {
        debug_assert!(number >= self.first, "an earlier segment has {number}");
        (number - self.first).unsigned_abs() * ENTRY as u64
    }

    fn damaged_entry(&self, number: i64) -> StorageError {
        self.index.damaged(&format!("is damaged at event {number}"))
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Returns an event out of the bytes of a run that begins at `start`; `None` when it is damaged.
fn event(sequence_number: i64, entry: IndexEntry, start: u64, run: &Bytes) -> Option<StoredEvent> {
    let begin = usize::try_from(u64::from(entry.start).checked_sub(start)?).ok()?;
    let end = usize::try_from(entry.end() - start).ok()?;
    if !record::is_intact(sequence_number, run.get(begin..end)?) {
        return None;
    }
    let stamp = Stamp {
        sequence_number,
        offset: Offset { era: 0, position: entry.entry.position },
        enqueued_ms: entry.entry.enqueued_ms,
    };
    let message = StampedMessage { header: entry.header, bytes: run.slice(begin + RECORD_HEADER..end) };
    Some(StoredEvent { stamp, size: entry.entry.size, message })
}
