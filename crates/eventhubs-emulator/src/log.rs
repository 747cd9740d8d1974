//! The events of one partition. Pure: time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;

use eventhubs_types::StartingPosition;

use crate::clock;
use crate::condition::{ARGUMENT_ERROR, Condition};
use crate::sections::{Sections, Stamp, StampedMessage};

/// Offsets are byte positions that count this besides each body, so that no offset but the first equals a sequence number.
const EVENT_OVERHEAD: usize = 64;

/// The time that a partition reports before its first event: 0001-01-01, in milliseconds (contract §4.2).
pub(crate) const NEVER_MS: i64 = -62_135_596_800_000;

/// How much a hub or a partition keeps; the oldest events go first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) age_ms: i64,
}

impl Retention {
    /// What one of so many partitions keeps.
    pub(crate) fn share(self, partitions: usize) -> Self {
        Self { events: (self.events / partitions).max(1), bytes: (self.bytes / partitions).max(1), ..self }
    }
}

/// An event as it goes out to receivers.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) sequence_number: i64,
    pub(crate) message: StampedMessage,
    pub(crate) offset: i64,
    pub(crate) enqueued_ms: i64,
    size: usize,
}

#[derive(Debug)]
pub(crate) struct Log {
    events: VecDeque<Arc<StoredEvent>>,
    bytes: usize,
    next_offset: i64,
    /// Of the last event.
    head: Stamp,
    retention: Retention,
}

impl Log {
    pub(crate) fn new(retention: Retention) -> Self {
        let head = Stamp { sequence_number: -1, offset: -1, enqueued_ms: NEVER_MS };
        Self { events: VecDeque::new(), bytes: 0, next_offset: 0, head, retention }
    }

    /// Numbers, stamps and keeps a message; drops the oldest ones beyond the retention.
    pub(crate) fn append(&mut self, message: &Sections<'_>, now_ms: i64) {
        let size = message.body_size();
        self.head = Stamp {
            sequence_number: self.head.sequence_number + 1,
            offset: self.next_offset,
            enqueued_ms: now_ms.max(self.head.enqueued_ms),
        };
        self.next_offset += i64::try_from(size + EVENT_OVERHEAD).unwrap_or(i64::MAX);
        let Stamp { sequence_number, offset, enqueued_ms } = self.head;
        let message = message.stamped(self.head);
        self.events.push_back(Arc::new(StoredEvent { sequence_number, message, offset, enqueued_ms, size }));
        self.bytes += size;
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.events.len() > self.retention.events || self.bytes > self.retention.bytes {
            self.drop_first();
        }
    }

    /// Drops the events that are older than the retention allows.
    pub(crate) fn drop_expired(&mut self, now_ms: i64) {
        let oldest_kept = now_ms.saturating_sub(self.retention.age_ms);
        while self.events.front().is_some_and(|event| event.enqueued_ms < oldest_kept) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.size;
        }
    }

    /// Up to `limit` events from this sequence number on, or from the oldest one kept.
    pub(crate) fn read(&self, from: i64, limit: usize) -> Vec<Arc<StoredEvent>> {
        let skip = usize::try_from(from - self.first_sequence_number()).unwrap_or(0);
        self.events.iter().skip(skip).take(limit).cloned().collect()
    }

    /// The sequence number at which a receiver starts.
    ///
    /// # Errors
    /// When the position lies ahead of the last event, or is no offset of this log (contract §5.4).
    pub(crate) fn resolve(&self, position: &StartingPosition) -> Result<i64, Condition> {
        match position {
            StartingPosition::Latest => Ok(self.head.sequence_number + 1),
            StartingPosition::Offset { offset, inclusive } => {
                self.resolve_offset(offset.as_str(), *inclusive)
            }
            StartingPosition::SequenceNumber { number, inclusive } => {
                let number = number.value();
                if number > self.head.sequence_number {
                    return Err(ahead("sequence number", number, self.head.sequence_number));
                }
                Ok(if *inclusive { number } else { number + 1 })
            }
            StartingPosition::EnqueuedTime { time, inclusive } => {
                let time = clock::to_ms(*time);
                Ok(self
                    .first_where(|event| event.enqueued_ms > time || *inclusive && event.enqueued_ms == time))
            }
            _ => Ok(self.first_sequence_number()),
        }
    }

    fn resolve_offset(&self, text: &str, inclusive: bool) -> Result<i64, Condition> {
        match text.parse::<i64>() {
            Ok(offset) if offset <= self.head.offset => {
                Ok(self.first_where(|event| event.offset > offset || inclusive && event.offset == offset))
            }
            _ => Err(ahead("offset", text, self.head.offset)),
        }
    }

    /// The sequence number of the first kept event with a property that stays true once it is; the next one's if none.
    fn first_where(&self, property: impl Fn(&StoredEvent) -> bool) -> i64 {
        let index = self.events.partition_point(|event| !property(event));
        self.events.get(index).map_or(self.head.sequence_number + 1, |event| event.sequence_number)
    }

    /// The sequence number of the oldest event kept; that of the next event when none is.
    pub(crate) fn first_sequence_number(&self) -> i64 {
        self.events.front().map_or(self.head.sequence_number + 1, |event| event.sequence_number)
    }

    pub(crate) fn head(&self) -> Stamp {
        self.head
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Of bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The text of the service for a position that lies behind its last event.
fn ahead(what: &str, supplied: impl std::fmt::Display, last: i64) -> Condition {
    let text =
        format!("The supplied {what} '{supplied}' is invalid. The last {what} in the system is '{last}'");
    Condition::new(ARGUMENT_ERROR, text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use eventhubs_types::EventData;

    use super::*;
    use crate::message;

    const RETENTION: Retention = Retention { events: 100, bytes: 1 << 20, age_ms: 60_000 };

    /// Five events of 10 bytes, enqueued at 1000, 1010, ... ms.
    fn log(retention: Retention) -> Log {
        let mut log = Log::new(retention);
        for time in 0..5 {
            let message = message::from_event(EventData::new("0123456789")).unwrap();
            log.append(&Sections::read(&message).unwrap(), 1000 + 10 * time);
        }
        log
    }

    fn numbers(log: &Log, from: i64) -> Vec<i64> {
        log.read(from, 100).iter().map(|event| event.sequence_number).collect()
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
        let log = Log::new(RETENTION);
        assert_eq!(log.resolve(&StartingPosition::Earliest), Ok(0));
        assert_eq!(log.resolve(&StartingPosition::Latest), Ok(0));
        assert!(log.resolve(&StartingPosition::after_offset("0")).is_err());
        let head = log.head();
        assert_eq!((head.sequence_number, head.offset, head.enqueued_ms), (-1, -1, NEVER_MS));
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
        assert_eq!(log.read(1, 2).len(), 2);
    }
}
