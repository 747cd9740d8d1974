//! How events are laid out in the two files of a segment, as pure functions over bytes. Who reads and writes the files is `segment.rs`.
//!
//! ```text
//! events   append: length u64 · count u32 · checksum u32        then count times    checksum u32 · message
//! index    entry:  position i64 · enqueued_ms i64 · start u32 · length u32 · header u32 · size u32 · following u32 · checksum u32
//! ```
//!
//! All numbers are little endian. An entry has a fixed width, so the entry of a sequence number is at a place that can be computed. Events
//! are written before their entries, and an append is committed by its last entry, the one that nothing follows. What a process that was
//! killed leaves after the last such entry is the beginning of one append, in either file, and is cut off. Each checksum covers the
//! sequence number too, so that bytes at a wrong place are found out.

use crate::hub::storage::{Entry, StoredEvent};

/// The width of an entry of the index, in bytes.
pub(super) const ENTRY: usize = 40;
/// What comes before the events of an append, in bytes.
pub(super) const APPEND_HEADER: usize = 16;
/// What comes before each message, in bytes.
pub(super) const RECORD_HEADER: usize = 4;

/// An entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) entry: Entry,
    /// Where the record is in the file of events, its checksum included.
    pub(super) start: u32,
    /// Of the message, in bytes.
    pub(super) length: u32,
    /// How much of it is the header section.
    pub(super) header: u32,
    /// How many events of the same append come after this one. Zero commits the append.
    pub(super) following: u32,
}

impl IndexEntry {
    /// Returns where the record ends in the file of events.
    pub(super) fn end(self) -> u64 {
        u64::from(self.start) + RECORD_HEADER as u64 + u64::from(self.length)
    }

    fn encode(self, sequence_number: i64, index: &mut Vec<u8>) {
        let begin = index.len();
        index.extend_from_slice(&self.entry.position.to_le_bytes());
        index.extend_from_slice(&self.entry.enqueued_ms.to_le_bytes());
        for number in [self.start, self.length, self.header, self.entry.size, self.following] {
            index.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = checksum(sequence_number, &index[begin..]);
        index.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Returns the entry of an event, or `None` when it is damaged.
    pub(super) fn decode(sequence_number: i64, bytes: &[u8]) -> Option<Self> {
        let (content, expected) = bytes.get(..ENTRY)?.split_last_chunk()?;
        if checksum(sequence_number, content) != u32::from_le_bytes(*expected) {
            return None;
        }
        let (position, content) = content.split_first_chunk()?;
        let (enqueued_ms, content) = content.split_first_chunk()?;
        let number = |index: usize| content.get(4 * index..)?.first_chunk().copied().map(u32::from_le_bytes);
        let (position, enqueued_ms) = (i64::from_le_bytes(*position), i64::from_le_bytes(*enqueued_ms));
        Some(Self {
            entry: Entry { position, enqueued_ms, size: number(3)? },
            start: number(0)?,
            length: number(1)?,
            header: number(2)?,
            following: number(4)?,
        })
    }
}

/// What one append adds to the two files of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) events: Vec<u8>,
    pub(super) index: Vec<u8>,
}

/// Lays out the events of one append, which begins at `start` in the file of events; `None` when it would end beyond 4 GiB there.
pub(super) fn encode<'a>(
    events: impl ExactSizeIterator<Item = &'a StoredEvent> + Clone,
    start: u64,
) -> Option<Encoded> {
    let first = events.clone().next()?.stamp.sequence_number;
    let lengths = events.clone().map(|event| RECORD_HEADER + event.message.bytes.len());
    let (length, count) = (lengths.sum::<usize>(), u32::try_from(events.len()).ok()?);
    u32::try_from(start + (APPEND_HEADER + length) as u64).ok()?;
    let mut encoded = Encoded {
        events: Vec::with_capacity(APPEND_HEADER + length),
        index: Vec::with_capacity(ENTRY * events.len()),
    };
    encoded.events.extend_from_slice(&append_header(first, length as u64, count));
    for (event, following) in events.zip((0..count).rev()) {
        let number = event.stamp.sequence_number;
        let message = &event.message.bytes;
        let entry = IndexEntry {
            entry: event.entry(),
            start: u32::try_from(start + encoded.events.len() as u64).ok()?,
            length: u32::try_from(message.len()).ok()?,
            header: event.message.header,
            following,
        };
        entry.encode(number, &mut encoded.index);
        encoded.events.extend_from_slice(&checksum(number, message).to_le_bytes());
        encoded.events.extend_from_slice(message);
    }
    Some(encoded)
}

fn append_header(sequence_number: i64, length: u64, count: u32) -> [u8; APPEND_HEADER] {
    let mut header = [0; APPEND_HEADER];
    header[..8].copy_from_slice(&length.to_le_bytes());
    header[8..12].copy_from_slice(&count.to_le_bytes());
    let checksum = checksum(sequence_number, &header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Returns whether a record holds what was written for this event.
pub(super) fn is_intact(sequence_number: i64, record: &[u8]) -> bool {
    let Some((expected, message)) = record.split_first_chunk() else { return false };
    checksum(sequence_number, message) == u32::from_le_bytes(*expected)
}

/// Returns whether bytes after the last committed append may be what a killed process has left: the beginning of the one append that
/// begins with this event.
///
/// More than that means that entries of the index are lost.
pub(super) fn is_torn_append(sequence_number: i64, beginning: &[u8], length: u64) -> bool {
    let Some(header) = beginning.first_chunk::<APPEND_HEADER>() else {
        return true;
    };
    let (content, expected) = header.split_at(12);
    let declared = content.first_chunk().copied().map_or(0, u64::from_le_bytes);
    checksum(sequence_number, content).to_le_bytes() == expected
        && length <= declared.saturating_add(APPEND_HEADER as u64)
}

/// What a part of the index says about the end of the last append that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The last committed event and its entry.
    Committed(i64, IndexEntry),
    /// The part has no entry that commits.
    Open,
    /// The entry of this event.
    Damaged(i64),
}

/// Finds the last committed event in a part of the index that begins with the entry of this event and ends with the file; a last
/// entry that is cut off does not count.
pub(super) fn tail(first: i64, index: &[u8]) -> Tail {
    for (offset, bytes) in index.chunks_exact(ENTRY).enumerate().rev() {
        let number = first.saturating_add_unsigned(offset as u64);
        match IndexEntry::decode(number, bytes) {
            Some(entry) if entry.following == 0 => return Tail::Committed(number, entry),
            Some(_) => {}
            None => return Tail::Damaged(number),
        }
    }
    Tail::Open
}

/// The CRC-32 of a sequence number and what is kept for it.
fn checksum(sequence_number: i64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence_number.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::offset::Offset;
    use crate::event::sections::{Stamp, StampedMessage};

    fn event(sequence_number: i64, text: &'static str) -> StoredEvent {
        let offset = Offset { era: 0, position: 100 * sequence_number };
        let message = StampedMessage { header: 2, bytes: text.into() };
        StoredEvent { stamp: Stamp { sequence_number, offset, enqueued_ms: -5 }, size: 1, message }
    }

    fn encoded(numbers: std::ops::Range<i64>, start: u64) -> Encoded {
        let events: Vec<_> = numbers.map(|number| event(number, "a message")).collect();
        encode(events.iter(), start).unwrap()
    }

    #[test]
    fn an_entry_says_where_its_record_is() {
        let Encoded { events, index } = encode([event(7, "one"), event(8, "three")].iter(), 1000).unwrap();
        assert_eq!(index.len(), 2 * ENTRY);
        let first = IndexEntry::decode(7, &index).unwrap();
        let second = IndexEntry::decode(8, &index[ENTRY..]).unwrap();
        assert_eq!((first.start, first.length, first.following), (1016, 3, 1));
        assert_eq!((second.start, second.length, second.following), (1023, 5, 0));
        assert_eq!(first.entry, Entry { position: 700, enqueued_ms: -5, size: 1 });
        assert_eq!((second.header, second.end()), (2, 1000 + events.len() as u64));
        let record = &events[second.start as usize - 1000..];
        assert!(is_intact(8, record));
        assert_eq!(&record[RECORD_HEADER..], b"three");
    }

    #[test]
    fn an_append_beyond_four_gib_is_refused() {
        let events = [event(0, "")];
        let room = (APPEND_HEADER + RECORD_HEADER) as u64;
        assert!(encode(events.iter(), u64::from(u32::MAX) - room).is_some());
        assert!(encode(events.iter(), u64::from(u32::MAX) - room + 1).is_none());
    }

    #[test]
    fn any_changed_bit_is_found_and_so_is_a_wrong_place() {
        let Encoded { events, index } = encoded(3..4, 0);
        let record = &events[APPEND_HEADER..];
        assert!(is_intact(3, record) && !is_intact(4, record));
        assert!(IndexEntry::decode(3, &index).is_some() && IndexEntry::decode(4, &index).is_none());
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..8 * index.len() {
            assert_eq!(IndexEntry::decode(3, &flipped(&index, bit)), None, "bit {bit}");
        }
        for bit in 0..8 * record.len() {
            assert!(!is_intact(3, &flipped(record, bit)), "bit {bit}");
        }
        for bit in 0..8 * APPEND_HEADER {
            assert!(!is_torn_append(3, &flipped(&events, bit), events.len() as u64), "bit {bit}");
        }
    }

    #[test]
    fn an_index_torn_at_any_byte_ends_with_the_last_complete_append() {
        let mut index = encoded(10..13, 0).index;
        index.extend(encoded(13..15, 500).index);
        for length in 0..=index.len() {
            let committed = match length / ENTRY {
                0..3 => None,
                3..5 => Some(12),
                _ => Some(14),
            };
            match tail(10, &index[..length]) {
                Tail::Committed(number, _) => assert_eq!(Some(number), committed, "{length} bytes"),
                Tail::Open => assert_eq!(None, committed, "{length} bytes"),
                Tail::Damaged(number) => panic!("{number} is not damaged with {length} bytes"),
            }
        }
        index[4 * ENTRY] ^= 1;
        assert_eq!(tail(10, &index), Tail::Damaged(14));
    }

    #[test]
    fn what_is_left_of_one_append_is_torn_and_more_is_a_loss() {
        let mut events = encoded(10..13, 0).events;
        for length in 0..=events.len() {
            assert!(is_torn_append(10, &events[..length], length as u64), "{length} bytes");
        }
        let complete = events.len();
        events.extend(encoded(13..14, complete as u64).events);
        for length in complete + 1..=events.len() {
            assert!(!is_torn_append(10, &events, length as u64), "{length} bytes");
        }
    }
}
