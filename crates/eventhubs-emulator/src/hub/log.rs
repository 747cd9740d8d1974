//! The log of one partition: numbers, positions and retention of its events. Pure but for the storage: time is an argument. Where the
//! events are is in `storage.rs`, how much of them stays in `retention.rs`.

use std::fmt::Display;
use std::ops::Range;

use bytes::BytesMut;
use eventhubs_types::StartingPosition;

use crate::clock;
use crate::condition::{ARGUMENT_ERROR, Condition, INVALID_OFFSET, NOT_FOUND};
use crate::event::offset::Offset;
use crate::event::sections::{Sections, Stamp};
use crate::hub::retention::{Retention, partition_point};
use crate::hub::storage::{Entry, EventStore, State, StorageError, StoredEvent, bytes_between};

#[derive(Debug)]
pub(crate) struct Log {
    /// `oldest` is the entry of the event `first`, and `None` exactly when `first` is the number of the event to come.
    state: State,
    retention: Retention,
    store: Box<dyn EventStore>,
    deleted: bool,
}

impl Log {
    pub(crate) fn new(retention: Retention, store: Box<dyn EventStore>, state: State) -> Self {
        Self { state, retention, store, deleted: false }
    }

    /// Numbers, stamps and keeps messages, all or none; drops the oldest ones beyond the retention.
    ///
    /// # Errors
    /// When they cannot be kept, or the hub is deleted.
    pub(crate) fn append(&mut self, messages: &[Sections<'_>], now_ms: i64) -> Result<(), Condition> {
        if self.deleted {
            return Err(Condition::new(
                NOT_FOUND,
                "The messaging entity could not be found: it was deleted.",
            ));
        }
        let events = self.stamped(messages, now_ms);
        let Some(last) = events.last() else { return Ok(()) };
        let (head, next_position) = (last.stamp, last.entry().next_position());
        // All that can fail comes before the state changes, so an append that fails leaves nothing behind.
        let (first, oldest) = self.kept_with(&events, next_position)?;
        self.store.append(events, first)?;
        self.state = State { head, next_position, first, oldest };
        self.check();
        Ok(())
    }

    /// Returns the messages as the events that follow the last one.
    fn stamped(&self, messages: &[Sections<'_>], now_ms: i64) -> Vec<StoredEvent> {
        let (mut head, mut next_position) = (self.state.head, self.state.next_position);
        let mut buffer = BytesMut::with_capacity(messages.iter().map(Sections::stamped_length).sum());
        let stamp = |message: &Sections<'_>| {
            head = Stamp {
                sequence_number: head.sequence_number + 1,
                offset: Offset { position: next_position, ..head.offset },
                // Never before the event before it, even if the wall clock was set back: a reader that starts
                // at a time is placed by binary search over these times.
                enqueued_ms: now_ms.max(head.enqueued_ms),
            };
            let stamped = message.put_stamped(head, &mut buffer);
            let event = StoredEvent { stamp: head, size: message.body_size(), message: stamped };
            next_position = event.entry().next_position();
            event
        };
        messages.iter().map(stamp).collect()
    }

    /// Returns the first event that stays when these come, which may be one of them; without an entry if none stays.
    fn kept_with(
        &self,
        events: &[StoredEvent],
        next_position: i64,
    ) -> Result<(i64, Option<Entry>), StorageError> {
        let next = self.next();
        let entry =
            |number: i64| match usize::try_from(number - next).ok().and_then(|index| events.get(index)) {
                Some(event) => Ok(event.entry()),
                None => self.entry(number),
            };
        let end = next.saturating_add_unsigned(events.len() as u64);
        let first = self.retention.first_kept(self.state.first..end, next_position, entry)?;
        Ok((first, (first < end).then(|| entry(first)).transpose()?))
    }

    /// Drops the events that are older than the retention allows.
    pub(crate) fn drop_expired(&mut self, now_ms: i64) {
        // Saturating: a retention without end is the largest number.
        let oldest_kept = now_ms.saturating_sub(self.retention.age_ms);
        let has_expired = |oldest: Entry| oldest.enqueued_ms < oldest_kept;
        // A link that is just ending may still look; the store may be that of the hub that was re-created.
        if self.deleted || !self.state.oldest.is_some_and(has_expired) {
            return;
        }
        if let Err(StorageError(why)) = self.drop_before_time(oldest_kept) {
            // They are out of sight if they could be found; the next ones that go take them along.
            tracing::warn!("expired events are still on disk: {why}");
        }
    }

    fn drop_before_time(&mut self, oldest_kept: i64) -> Result<(), StorageError> {
        let first = self.first_where(|event| event.enqueued_ms >= oldest_kept)?;
        self.state.oldest = (first < self.next()).then(|| self.entry(first)).transpose()?;
        self.state.first = first;
        self.check();
        self.store.drop_before(first)
    }

    /// Takes no more events.
    pub(crate) fn delete(&mut self) {
        self.deleted = true;
    }

    /// Up to `limit` events from this sequence number on, or from the oldest one kept.
    ///
    /// # Errors
    /// When they cannot be read now.
    pub(crate) fn read(&self, from: i64, limit: usize) -> Result<Vec<StoredEvent>, Condition> {
        if from > self.state.head.sequence_number {
            return Ok(Vec::new());
        }
        let events = self.store.read(from.max(self.state.first), limit)?;
        events.into_iter().map(|event| said_in(self.era(), event)).collect()
    }

    /// The sequence number that a reader of an empty [`read`](Self::read) waits for. What has expired never comes: to wait for its
    /// number would be no wait at all.
    pub(crate) fn awaited(&self, from: i64) -> i64 {
        from.max(self.state.first)
    }

    /// The sequence number at which a receiver starts.
    ///
    /// # Errors
    /// When the position lies ahead of the last event, or is no offset of this log (docs/contract.md §5.4),
    /// or the events cannot be read now.
    pub(crate) fn resolve(&self, position: &StartingPosition) -> Result<i64, Condition> {
        match position {
            StartingPosition::Latest => Ok(self.state.head.sequence_number + 1),
            StartingPosition::Offset { offset, inclusive } => {
                self.resolve_offset(offset.as_str(), *inclusive)
            }
            StartingPosition::SequenceNumber { number, inclusive } => {
                let number = number.value();
                if number > self.state.head.sequence_number {
                    return Err(ahead("sequence number", number, self.state.head.sequence_number));
                }
                Ok(if *inclusive { number } else { number + 1 })
            }
            StartingPosition::EnqueuedTime { time, inclusive } => {
                let time = clock::to_ms(*time);
                Ok(self.first_where(|event| {
                    event.enqueued_ms > time || *inclusive && event.enqueued_ms == time
                })?)
            }
            // `Earliest`, and what the non-exhaustive enum may get later: to read too much is safe.
            _ => Ok(self.state.first),
        }
    }

    fn resolve_offset(&self, text: &str, inclusive: bool) -> Result<i64, Condition> {
        let last = self.state.head.offset;
        match Offset::position_in(last.era, text) {
            Some(position) if position <= last.position => Ok(self
                .first_where(|event| event.position > position || inclusive && event.position == position)?),
            // Only after a fail-over: before it, a text that is no number is just a wrong offset.
            None if last.era > 0 => Err(not_replicated(text)),
            _ => Err(ahead("offset", text, last)),
        }
    }

    /// Returns the sequence number of the first kept event with a property that stays true once it is; the next one's if none.
    fn first_where(&self, property: impl Fn(&Entry) -> bool) -> Result<i64, StorageError> {
        let kept = Range { start: self.state.first, end: self.next() };
        partition_point(kept, |number| self.entry(number), |_, entry| property(&entry))
    }

    /// Returns the entry of an event that is kept.
    fn entry(&self, number: i64) -> Result<Entry, StorageError> {
        match self.state.oldest {
            Some(oldest) if number == self.state.first => Ok(oldest),
            _ => self.store.entry(number),
        }
    }

    /// Returns the sequence number of the oldest event kept; that of the next event when none is.
    pub(crate) fn first_sequence_number(&self) -> i64 {
        self.state.first
    }

    /// Returns the sequence number of the event to come.
    fn next(&self) -> i64 {
        self.state.head.sequence_number + 1
    }

    /// What holds after each change of the state.
    fn check(&self) {
        debug_assert!(self.state.first <= self.next());
        debug_assert_eq!(self.state.oldest.is_some(), self.state.first < self.next());
    }

    pub(crate) fn head(&self) -> Stamp {
        self.state.head
    }

    /// How often the hub has failed over.
    pub(crate) fn era(&self) -> u16 {
        self.state.head.offset.era
    }

    /// From now on all offsets, of earlier events too, are those of this era.
    pub(crate) fn enter(&mut self, era: u16) {
        self.state.head.offset.era = era;
    }

    /// Returns how many events are kept.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.next() - self.state.first).unwrap_or(0)
    }

    /// Returns the bytes of the bodies of the events that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        let State { oldest, next_position, first, .. } = &self.state;
        oldest.map_or(0, |oldest| bytes_between(oldest.position, *next_position, self.next() - first))
    }
}

/// The event with its offset as it is said in this era.
fn said_in(era: u16, event: StoredEvent) -> Result<StoredEvent, Condition> {
    // The store keeps the era in which an event came. Rewriting all of them at each fail-over would take as
    // long as the hub is large.
    if event.stamp.offset.era == era {
        return Ok(event);
    }
    let stamp = Stamp { offset: Offset { era, ..event.stamp.offset }, ..event.stamp };
    let message = Sections::read(&event.message.bytes)?.put_stamped(stamp, &mut BytesMut::new());
    Ok(StoredEvent { stamp, size: event.size, message })
}

/// The refusal of an offset that no era of this hub has given out (docs/contract.md §5.4).
fn not_replicated(supplied: &str) -> Condition {
    let text = format!(
        "The supplied offset '{supplied}' is invalid: the event hub is geo-replicated and has failed over"
    );
    Condition::new(INVALID_OFFSET, text)
}

/// The text of the service for a position after its last event.
fn ahead(what: &str, supplied: impl Display, last: impl Display) -> Condition {
    let text =
        format!("The supplied {what} '{supplied}' is invalid. The last {what} in the system is '{last}'");
    Condition::new(ARGUMENT_ERROR, text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use eventhubs_types::EventData;

    use super::*;
    use crate::event::message;
    use crate::hub::storage::{Memory, NEVER_MS};

    const RETENTION: Retention = Retention { events: 100, bytes: 1 << 20, age_ms: 60_000 };

    /// Five events of 10 bytes, enqueued at 1000, 1010, ... ms.
    fn log(retention: Retention) -> Log {
        let mut log = Log::new(retention, Box::new(Memory::default()), State::default());
        for time in 0..5 {
            let message = message::from_event(EventData::new("0123456789")).unwrap();
            log.append(&[message::sections(&message)], 1000 + 10 * time).unwrap();
        }
        log
    }

    fn numbers(log: &Log, from: i64) -> Vec<i64> {
        log.read(from, 100).unwrap().iter().map(|event| event.stamp.sequence_number).collect()
    }

    fn at(ms: u64) -> std::time::SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn every_starting_position_finds_its_event() {
        let log = log(RETENTION);
        for (position, expected) in [
            (StartingPosition::Earliest, 0),
            (StartingPosition::Latest, 5),
            (StartingPosition::after_offset("74"), 2),
            (StartingPosition::from_offset("74"), 1),
            (StartingPosition::after_offset("75"), 2),
            (StartingPosition::after_offset("296"), 5),
            (StartingPosition::after_sequence_number(-1), 0),
            (StartingPosition::from_sequence_number(3), 3),
            (StartingPosition::after_sequence_number(4), 5),
            (StartingPosition::after_enqueued_time(at(1010)), 2),
            (StartingPosition::from_enqueued_time(at(1010)), 1),
            (StartingPosition::after_enqueued_time(at(1040)), 5),
            (StartingPosition::after_enqueued_time(at(0)), 0),
        ] {
            assert_eq!(log.resolve(&position), Ok(expected), "{position:?}");
        }
    }

    #[test]
    fn a_reader_of_what_has_expired_waits_for_the_next_event() {
        let mut log = log(RETENTION);
        log.drop_expired(1040 + RETENTION.age_ms + 1);
        assert_eq!(numbers(&log, 3), Vec::<i64>::new());
        assert_eq!([0, 3, 4, 5, 9].map(|next| log.awaited(next)), [5, 5, 5, 5, 9]);
    }

    #[test]
    fn a_deleted_log_drops_nothing() {
        let mut log = log(RETENTION);
        log.delete();
        log.drop_expired(1040 + RETENTION.age_ms + 1);
        assert_eq!(log.len(), 5);
    }

    #[test]
    fn a_position_ahead_of_the_last_event_is_refused() {
        let log = log(RETENTION);
        for (position, text) in [
            (
                StartingPosition::after_offset("297"),
                "The supplied offset '297' is invalid. The last offset in the system is '296'",
            ),
            (
                StartingPosition::after_offset("1:2:3"),
                "The supplied offset '1:2:3' is invalid. The last offset in the system is '296'",
            ),
            (
                StartingPosition::from_sequence_number(5),
                "The supplied sequence number '5' is invalid. The last sequence number in the system is '4'",
            ),
        ] {
            let refusal = log.resolve(&position).unwrap_err();
            assert_eq!(
                (refusal.symbol.as_ref(), refusal.description.as_str()),
                ("com.microsoft:argument-error", text)
            );
        }
    }

    #[test]
    fn an_empty_log_has_nothing_before_its_first_event() {
        let log = Log::new(RETENTION, Box::new(Memory::default()), State::default());
        assert_eq!(log.resolve(&StartingPosition::Earliest), Ok(0));
        assert_eq!(log.resolve(&StartingPosition::Latest), Ok(0));
        assert!(log.resolve(&StartingPosition::after_offset("0")).is_err());
        let head = log.head();
        assert_eq!((head.sequence_number, head.offset.position, head.enqueued_ms), (-1, -1, NEVER_MS));
    }

    #[test]
    fn the_oldest_events_go_first() {
        let by_count = log(Retention { events: 2, ..RETENTION });
        assert_eq!(numbers(&by_count, 0), [3, 4]);
        let by_bytes = log(Retention { bytes: 3 * 10, ..RETENTION });
        assert_eq!(numbers(&by_bytes, 0), [2, 3, 4]);
        assert_eq!(by_bytes.resolve(&StartingPosition::after_offset("0")), Ok(2));
    }

    #[test]
    fn events_beyond_their_time_are_gone_and_their_numbers_stay_used() {
        let mut log = log(RETENTION);
        log.drop_expired(1020 + 60_000);
        assert_eq!(numbers(&log, 0), [2, 3, 4]);
        assert_eq!(log.first_sequence_number(), 2);
        log.drop_expired(2000 + 60_000);
        assert_eq!((log.len(), log.first_sequence_number(), log.head().sequence_number), (0, 5, 4));
        assert_eq!(log.resolve(&StartingPosition::after_offset("74")), Ok(5));
    }

    #[test]
    fn a_log_is_read_from_any_number_on() {
        let log = log(RETENTION);
        assert_eq!(numbers(&log, 0), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(&log, 3), [3, 4]);
        assert_eq!(numbers(&log, 5), [] as [i64; 0]);
        assert_eq!(log.read(1, 2).unwrap().len(), 2);
    }
}
