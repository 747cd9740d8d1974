//! What one pump is at, for the status: counted by the pump without a clock and without a lock for each event, and read
//! by whoever asks. What becomes of it is in `snapshot.rs`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::SequenceNumber;
use tokio::time::Instant;

use crate::status::Stall;
use crate::watchdog::CallSlot;
use crate::{Error, ErrorKind};

/// Of a number that is not known.
const NONE: i64 = i64::MIN;

/// What one pump is at. Only the pump writes the counters, so that no exchange is needed. Aligned, so that two pumps on
/// two cores do not write the same cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Gauges {
    counts: Counters,
    /// The last event that is done, as are all before it.
    position: AtomicI64,
    /// When it was enqueued, in milliseconds since 1970.
    enqueued: AtomicI64,
    /// What was delivered and not done when the link was opened last: it is dropped, and comes again.
    dropped: AtomicU64,
    /// Whether the pump waits for events.
    is_waiting: AtomicBool,
    stall_after: Duration,
    created: Instant,
    notes: Mutex<Notes>,
    calls: Mutex<Vec<Weak<CallSlot>>>,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

/// How many events, or calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

/// What changes rarely.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) phase: Phase,
    pub(crate) newest: Option<Newest>,
    pub(crate) error: Option<NotedError>,
    /// Since when.
    pub(crate) stall: Option<(Stall, Instant)>,
}

/// What a pump does, apart from its calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Opening,
    Reading,
    BackingOff {
        until: Instant,
    },
    Closing,
}

/// The newest event of a partition, as the service said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) number: SequenceNumber,
    pub(crate) said: Instant,
}

/// An error that was reported.
#[derive(Debug, Clone)]
pub(crate) struct NotedError {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// The values that are read at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) counts: Counts,
    pub(crate) in_flight: u64,
    pub(crate) position: Option<SequenceNumber>,
    pub(crate) enqueued: Option<SystemTime>,
    pub(crate) is_waiting: bool,
    pub(crate) notes: Notes,
    /// The call that has run for the longest time, other than one that is ready at once: since when, and its event.
    pub(crate) call: Option<(Instant, Option<SequenceNumber>)>,
    pub(crate) stall_after: Duration,
    pub(crate) created: Instant,
}

impl Gauges {
    pub(crate) fn new(stall_after: Duration) -> Self {
        Self {
            counts: Counters::default(),
            position: AtomicI64::new(NONE),
            enqueued: AtomicI64::new(NONE),
            dropped: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
            stall_after,
            created: Instant::now(),
            notes: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    pub(crate) fn delivered(&self) {
        add(&self.counts.delivered, 1);
    }

    pub(crate) fn done(&self, events: usize) {
        add(&self.counts.done, events as u64);
    }

    pub(crate) fn failed(&self) {
        add(&self.counts.failed, 1);
    }

    /// This event is done, as are all before it.
    pub(crate) fn reached(&self, event: &ReceivedEvent) {
        self.position.store(event.sequence_number().value(), Ordering::Relaxed);
        self.enqueued.store(event.enqueued_time().map_or(NONE, milliseconds), Ordering::Relaxed);
    }

    /// What was delivered before and is not done comes again, or belongs to somebody else.
    pub(crate) fn opened(&self) {
        let Counts { delivered, done, .. } = self.counts();
        self.dropped.store(delivered.saturating_sub(done), Ordering::Relaxed);
    }

    pub(crate) fn set_waiting(&self, is_waiting: bool) {
        self.is_waiting.store(is_waiting, Ordering::Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.notes().phase = phase;
    }

    pub(crate) fn set_newest(&self, number: SequenceNumber) {
        self.notes().newest = Some(Newest { number, said: Instant::now() });
    }

    pub(crate) fn newest(&self) -> Option<Newest> {
        self.notes().newest
    }

    pub(crate) fn set_error(&self, error: &Error) {
        let noted = NotedError { kind: error.kind(), text: error.to_string(), at: Instant::now() };
        self.notes().error = Some(noted);
    }

    /// Notes that the partition is stalled, unless it is known.
    pub(crate) fn set_stall(&self, stall: Stall) {
        self.notes().stall.get_or_insert_with(|| (stall, Instant::now()));
    }

    /// Notes that there is progress, and returns since when there was none.
    pub(crate) fn take_stall(&self) -> Option<Instant> {
        self.notes().stall.take().map(|(_, since)| since)
    }

    /// From here on the calls in this place are seen.
    pub(crate) fn register(&self, slot: &Arc<CallSlot>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|slot| slot.strong_count() > 0);
        calls.push(Arc::downgrade(slot));
    }

    pub(crate) fn counts(&self) -> Counts {
        let Counters { delivered, done, failed } = &self.counts;
        // In this order: an event is delivered before it is done, so that no reading has more done than delivered.
        let done = done.load(Ordering::Acquire);
        Counts { delivered: delivered.load(Ordering::Relaxed), done, failed: failed.load(Ordering::Relaxed) }
    }

    pub(crate) fn read(&self) -> Reading {
        let counts = self.counts();
        let dropped = self.dropped.load(Ordering::Relaxed);
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let call = calls.iter().filter_map(Weak::upgrade).filter_map(|slot| slot.running()).min();
        Reading {
            counts,
            in_flight: counts.delivered.saturating_sub(counts.done).saturating_sub(dropped),
            position: known(&self.position).map(SequenceNumber::new),
            enqueued: known(&self.enqueued).and_then(time),
            is_waiting: self.is_waiting.load(Ordering::Relaxed),
            notes: self.notes().clone(),
            call,
            stall_after: self.stall_after,
            created: self.created,
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    pub(crate) fn add(&mut self, later: Self) {
        self.delivered += later.delivered;
        self.done += later.done;
        self.failed += later.failed;
    }
}

/// There is one writer, so that no exchange is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Release);
}

fn known(number: &AtomicI64) -> Option<i64> {
    Some(number.load(Ordering::Relaxed)).filter(|number| *number != NONE)
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Not `as_millis`, whose 128 bits cost several times as much, for each event.
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1000).saturating_add(i64::from(since.subsec_millis()))
}

fn time(milliseconds: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds.try_into().ok()?))
}
