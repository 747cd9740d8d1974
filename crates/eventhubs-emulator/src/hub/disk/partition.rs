//! The events of one partition on disk, as a row of segments. What is in a segment is in `segment.rs`; which events are kept is for
//! `log.rs` to say.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::first_kept::FirstKept;
use super::open_files::OpenFiles;
use super::record::{self, IndexEntry};
use super::recovery::{recover, segments_in};
use super::segment::{End, Segment};
use crate::event::offset::Offset;
use crate::event::sections::Stamp;
use crate::hub::storage::{Entry, EventStore, State, StorageError, StoredEvent, within_limits};

/// The bytes of messages after which the next append begins a segment. As much may stay in the folder beyond what retention keeps.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// The same in events, since the index of small ones takes more than they do.
const SEGMENT_EVENTS: i64 = 128 * 1024;
/// How many entries of the index are read at once.
const READ_ENTRIES: i64 = 1024;
/// How many entries stay in memory after one of them was asked for, because those next to it often follow.
const BLOCK_ENTRIES: i64 = 64;

/// The events of one partition.
///
/// Nothing of an event stays in memory, except for a block of entries: where an event is follows from its sequence number.
#[derive(Debug)]
pub(super) struct PartitionStore {
    folder: PathBuf,
    files: Arc<OpenFiles>,
    /// Each begins where the one before it ends, and the last one ends at `end`. Only the last one may be empty, and only until it has
    /// got its first events.
    segments: VecDeque<Segment>,
    end: End,
    /// Whether an append that failed may have left something after the end. Nothing is written before that is cut off, since what comes
    /// after the end is taken for the beginning of one append at the next start.
    torn: bool,
    first_kept: FirstKept,
    /// Committed entries, which never change, beginning with the event of this sequence number.
    block: RefCell<(i64, Vec<IndexEntry>)>,
}

impl PartitionStore {
    /// Opens what is in the folder, which need not be there, and repairs what a killed process has left.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged where it begins or ends. Damage elsewhere is found by whoever reads that.
    pub(super) fn open(folder: PathBuf, files: &Arc<OpenFiles>) -> Result<(Self, State), StorageError> {
        let mut segments = segments_in(&folder, files)?;
        let first_kept = FirstKept::open(&folder, files)?;
        let last = recover(&mut segments)?;
        let end = last.map_or(End { number: 0, length: 0 }, |(end, _)| end);
        let mut store = Self {
            folder,
            files: Arc::clone(files),
            segments,
            end,
            torn: false,
            first_kept,
            block: RefCell::default(),
        };
        store.check_range()?;
        // A process may have been killed between writing where the events begin and removing the segments
        // before that.
        store.remove_unkept()?;
        let state = last.map_or_else(|| Ok(State::default()), |(_, entry)| store.state(entry.entry))?;
        Ok((store, state))
    }

    /// Fails when the segments lack events that are kept, as far as their names tell.
    fn check_range(&self) -> Result<(), StorageError> {
        let (first, end) = (self.first_kept.number(), self.end.number);
        let begin = self.segments.front().map_or(0, |segment| segment.first);
        if begin > first {
            return Err(self.damaged(&format!("has lost the events {first} to {}", begin - 1)));
        }
        if first > end {
            return Err(self.damaged(&format!("has lost the events from {end} on")));
        }
        Ok(())
    }

    fn state(&self, last: Entry) -> Result<State, StorageError> {
        let first = self.first_kept.number();
        let head = Stamp {
            sequence_number: self.end.number - 1,
            offset: Offset { era: 0, position: last.position },
            enqueued_ms: last.enqueued_ms,
        };
        let oldest = (first < self.end.number).then(|| self.entry(first)).transpose()?;
        Ok(State { head, next_position: last.next_position(), first, oldest })
    }

    /// Returns the segment with an event, and the sequence number at which it ends.
    fn segment_of(&self, number: i64) -> Result<(&Segment, i64), StorageError> {
        let after = self.segments.partition_point(|segment| segment.first <= number);
        let segment = after.checked_sub(1).and_then(|index| self.segments.get(index));
        let segment = segment.ok_or_else(|| self.damaged(&format!("has no event {number}")))?;
        let end = self.segments.get(after).map_or(self.end.number, |next| next.first);
        Ok((segment, end))
    }

    /// Reads events of one segment as long as they fit, and says whether the next ones may fit too.
    fn read_run(
        &self,
        from: i64,
        limit: usize,
        fits: &mut impl FnMut(usize) -> bool,
    ) -> Result<(Vec<StoredEvent>, bool), StorageError> {
        let (segment, end) = self.segment_of(from)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).min(READ_ENTRIES);
        let entries = segment.entries(from, limit.min(end - from))?;
        let fitting = entries.iter().take_while(|entry| fits(entry.length as usize)).count();
        let events = segment.events(from, &entries[..fitting])?;
        let more = events.len() == entries.len();
        Ok((events, more))
    }

    /// Makes the last segment one that takes the next append, and returns where that begins.
    fn prepare_append(&mut self) -> Result<End, StorageError> {
        self.cut_torn()?;
        let is_full = self.segments.back().is_none_or(|last| {
            self.end.length >= SEGMENT_BYTES || self.end.number - last.first >= SEGMENT_EVENTS
        });
        if is_full {
            if self.segments.is_empty() {
                fs::create_dir_all(&self.folder)
                    .map_err(|error| self.damaged(&format!("cannot be made: {error}")))?;
            }
            let segment = Segment::new(&self.folder, self.end.number, &self.files);
            segment.create()?;
            self.segments.push_back(segment);
            self.end.length = 0;
        }
        Ok(self.end)
    }

    /// Cuts off what an append that failed has left.
    fn cut_torn(&mut self) -> Result<(), StorageError> {
        if self.torn
            && let Some(last) = self.segments.back()
        {
            last.cut(self.end)?;
        }
        self.torn = false;
        Ok(())
    }

    fn write(&mut self, events: &[StoredEvent]) -> Result<(), StorageError> {
        let end = self.prepare_append()?;
        debug_assert!(events.first().is_none_or(|event| event.stamp.sequence_number == end.number));
        let encoded = record::encode(events.iter(), end.length)
            .ok_or_else(|| self.damaged("takes no append of 4 GiB"))?;
        let Some(last) = self.segments.back() else { return Ok(()) };
        if let Err(error) = last.append(end, &encoded) {
            self.torn = true;
            // The append is refused whether this works or not; if not, the next one tries again.
            let _ = self.cut_torn();
            return Err(error);
        }
        self.end.number += i64::try_from(events.len()).unwrap_or(i64::MAX);
        self.end.length += encoded.events.len() as u64;
        self.check();
        Ok(())
    }

    /// Removes segments of which no event is kept, except for the last one: it has the number and the position to continue with.
    fn remove_unkept(&mut self) -> Result<(), StorageError> {
        let first = self.first_kept.number();
        // A segment without events cannot be the one to continue with.
        while self.segments.get(1).is_some_and(|next| next.first <= first && next.first < self.end.number) {
            if let Some(unkept) = self.segments.front() {
                unkept.remove()?;
            }
            self.segments.pop_front();
        }
        self.check();
        Ok(())
    }

    /// Reads the block of entries that this event belongs to.
    fn read_block(&self, number: i64) -> Result<(i64, Vec<IndexEntry>), StorageError> {
        let (segment, end) = self.segment_of(number)?;
        let begin = number - (number - segment.first) % BLOCK_ENTRIES;
        Ok((begin, segment.entries(begin, BLOCK_ENTRIES.min(end - begin))?))
    }

    /// What holds after each change.
    fn check(&self) {
        let firsts = self.segments.iter().map(|segment| segment.first);
        debug_assert!(firsts.is_sorted_by(|one, next| one < next), "segments follow each other");
        debug_assert!(self.segments.back().is_none_or(|last| last.first <= self.end.number));
        debug_assert!(self.first_kept.number() <= self.end.number);
    }

    fn damaged(&self, how: &str) -> StorageError {
        StorageError(format!("{} {how}", self.folder.display()))
    }
}

impl EventStore for PartitionStore {
    fn append(&mut self, events: Vec<StoredEvent>, first_kept: i64) -> Result<(), StorageError> {
        if events.is_empty() {
            return Ok(());
        }
        self.write(&events)?;
        if let Err(StorageError(why)) = self.drop_before(first_kept) {
            // The events are kept, so the append must not fail; the next one tries again.
            tracing::warn!("events beyond the retention are still on disk: {why}");
        }
        Ok(())
    }

    fn read(&self, from: i64, limit: usize) -> Result<Vec<StoredEvent>, StorageError> {
        let mut fits = within_limits(limit);
        let (mut events, mut next) = (Vec::new(), from);
        while next < self.end.number && events.len() < limit {
            let (read, more) = match self.read_run(next, limit - events.len(), &mut fits) {
                // What comes before damage is delivered; whoever asks for the next event is told of it.
                Err(_) if !events.is_empty() => break,
                read => read?,
            };
            next = next.saturating_add_unsigned(read.len() as u64);
            events.extend(read);
            if !more {
                break;
            }
        }
        Ok(events)
    }

    fn entry(&self, sequence_number: i64) -> Result<Entry, StorageError> {
        let mut block = self.block.borrow_mut();
        let find = |(begin, entries): &(i64, Vec<IndexEntry>)| {
            let index = usize::try_from(sequence_number.checked_sub(*begin)?).ok()?;
            entries.get(index).map(|found| found.entry)
        };
        if let Some(entry) = find(&block) {
            return Ok(entry);
        }
        *block = self.read_block(sequence_number)?;
        find(&block).ok_or_else(|| self.damaged(&format!("has no event {sequence_number}")))
    }

    fn drop_before(&mut self, sequence_number: i64) -> Result<(), StorageError> {
        debug_assert!(sequence_number <= self.end.number, "events to come are not dropped");
        if sequence_number > self.first_kept.number() {
            self.first_kept.advance_to(sequence_number)?;
        }
        self.remove_unkept()
    }
}
