//! A thread for each run, for what the tasks of a run cannot do while a callback blocks a thread: it names
//! that callback, and keeps the runtime's timers and sockets going.
//!
//! A worker of tokio that has polled the I/O driver and found a single task ready runs that task without
//! waking another worker. If the task is a callback that blocks, nobody polls the driver any more: all timers
//! and sockets of the process stop, and with them the renewals of the leases of every other partition. A task
//! that is spawned from outside of the runtime wakes an idle worker, which takes the driver over. `blocking`
//! in `tests/it` has runs that stop although a callback blocks, and are told of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use eventhubs_types::{PartitionId, SequenceNumber};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;
use tracing::{Span, dispatcher};

/// How often the thread looks: much more often than any lease ends.
const PERIOD: Duration = Duration::from_secs(1);

/// After this many looks a callback that has not given its thread back is reported, and then each time that
/// it has taken twice as long.
const PATIENCE: u32 = 5;

/// Of a call that has no event, as a hook.
const NO_EVENT: i64 = i64::MIN;

/// The calls of the user's code in one run.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Vec<Weak<CallSlot>>>);

/// What the pump of one partition is calling. Only the pump writes, and only the watchdog reads.
#[derive(Debug)]
pub(crate) struct CallSlot {
    partition: PartitionId,
    /// Odd while the user's code holds the thread; each poll makes it two more.
    polls: AtomicU64,
    event: AtomicI64,
    /// Since when the call that was not ready at once waits.
    waits_since: Mutex<Option<Instant>>,
    /// Since when the watchdog has seen the call hold its thread.
    held_since: Mutex<Option<Instant>>,
}

impl Calls {
    /// A place for the calls of one pump, for as long as that keeps it.
    pub(crate) fn register(&self, partition: &PartitionId) -> Arc<CallSlot> {
        let slot = Arc::new(CallSlot {
            partition: partition.clone(),
            polls: AtomicU64::new(0),
            event: AtomicI64::new(NO_EVENT),
            waits_since: Mutex::new(None),
            held_since: Mutex::new(None),
        });
        let mut slots = self.slots();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        slot
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Weak<CallSlot>>> {
        unpoisoned(&self.0)
    }
}

impl CallSlot {
    /// Notes what is called next.
    pub(crate) fn set_event(&self, number: Option<SequenceNumber>) {
        self.event.store(number.map_or(NO_EVENT, SequenceNumber::value), Ordering::Relaxed);
    }

    /// The call waits, until the guard is dropped.
    pub(crate) fn waits(&self) -> Waits<'_> {
        *unpoisoned(&self.waits_since) = Some(Instant::now());
        Waits(self)
    }

    /// Returns since when a call runs that was not ready at once, and its event.
    pub(crate) fn running(&self) -> Option<(Instant, Option<SequenceNumber>)> {
        let waits_since = *unpoisoned(&self.waits_since);
        let is_held = self.polls.load(Ordering::Relaxed) % 2 == 1;
        let held_since = unpoisoned(&self.held_since).filter(|_| is_held);
        let begun = waits_since.into_iter().chain(held_since).min()?;
        let event = self.event.load(Ordering::Relaxed);
        Some((begun, (event != NO_EVENT).then(|| event.into())))
    }

    /// The user's code takes the thread, until the guard is dropped: a callback that panics gives the thread
    /// back too.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.step();
        Held(self)
    }

    /// The user's code takes the thread, or gives it back. There is one writer, so that no exchange is
    /// needed.
    fn step(&self) {
        self.polls.store(self.polls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}

/// While this lives, a call waits.
pub(crate) struct Waits<'a>(&'a CallSlot);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        *unpoisoned(&self.0.waits_since) = None;
    }
}

/// While this lives, the user's code has the thread.
pub(crate) struct Held<'a>(&'a CallSlot);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.step();
    }
}

/// What a panic elsewhere cannot have left half done.
fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    _until_dropped: Sender<()>,
}

impl Watchdog {
    /// `None` where no thread can be started.
    pub(crate) fn start(calls: Arc<Calls>, span: Span) -> Option<Self> {
        let runtime = Handle::current();
        let has_other_workers =
            runtime.runtime_flavor() != RuntimeFlavor::CurrentThread && runtime.metrics().num_workers() > 1;
        let (until_dropped, dropped) = mpsc::channel();
        // Whoever set a subscriber for this thread alone wants to read the warnings too.
        let subscriber = dispatcher::get_default(Clone::clone);
        let watch = move || {
            let mut blocked = Vec::new();
            while dropped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                if has_other_workers {
                    runtime.spawn(async {});
                }
                blocked = look(&calls, &blocked);
                dispatcher::with_default(&subscriber, || {
                    span.in_scope(|| blocked.iter().for_each(Blocked::warn));
                });
            }
        };
        let started = thread::Builder::new().name("eventhubs-watchdog".to_owned()).spawn(watch);
        started.inspect_err(|error| tracing::warn!(%error, "no thread can be started")).ok()?;
        Some(Self { _until_dropped: until_dropped })
    }
}

/// A call that holds its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blocked {
    partition: PartitionId,
    polls: u64,
    event: i64,
    /// How many looks ago it was first seen.
    looks: u32,
}

/// What blocks now, of which `before` was seen at the look before.
fn look(calls: &Calls, before: &[Blocked]) -> Vec<Blocked> {
    let slots = calls.slots();
    let held = slots.iter().filter_map(Weak::upgrade).filter_map(|slot| {
        let polls = slot.polls.load(Ordering::Relaxed);
        let known = before.iter().find(|known| known.polls == polls && known.partition == slot.partition);
        let looks = known.map_or(0, |known| known.looks.saturating_add(1));
        let event = slot.event.load(Ordering::Relaxed);
        // Long enough to be told from a call that is only slow at the moment of the look.
        let is_held = polls % 2 == 1 && known.is_some();
        let mut held_since = unpoisoned(&slot.held_since);
        *held_since = if is_held { Some(held_since.unwrap_or_else(Instant::now)) } else { None };
        (polls % 2 == 1).then(|| Blocked { partition: slot.partition.clone(), polls, event, looks })
    });
    held.collect()
}

impl Blocked {
    /// After five seconds, ten, twenty, and so on.
    fn is_due(&self) -> bool {
        self.looks.is_multiple_of(PATIENCE) && (self.looks / PATIENCE).is_power_of_two()
    }

    fn warn(&self) {
        if !self.is_due() {
            return;
        }
        let since = PERIOD * self.looks;
        let sequence_number = (self.event != NO_EVENT).then_some(self.event);
        tracing::warn!(
            partition = %self.partition, sequence_number, ?since,
            "a callback blocks its thread: other partitions may not be read meanwhile, and lose their leases (call what blocks \
             by tokio::task::spawn_blocking)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> PartitionId {
        id.parse().unwrap()
    }

    #[test]
    fn only_a_call_that_holds_its_thread_is_seen_and_counted() {
        let calls = Calls::default();
        let (slot, _idle) = (calls.register(&id("0")), calls.register(&id("1")));
        assert_eq!(look(&calls, &[]), []);
        slot.event.store(7, Ordering::Relaxed);
        slot.step();
        let mut blocked = look(&calls, &[]);
        for looks in 1..4 {
            blocked = look(&calls, &blocked);
            assert_eq!(blocked, [Blocked { partition: id("0"), polls: 1, event: 7, looks }]);
        }
        slot.step();
        assert_eq!(look(&calls, &blocked), []);
        slot.step();
        assert_eq!(look(&calls, &blocked)[0].looks, 0, "another poll");
        drop(slot);
        assert_eq!(look(&calls, &[]), [], "the pump is gone");
    }

    #[test]
    fn warnings_come_less_and_less_often() {
        let due =
            |looks: &u32| Blocked { partition: id("0"), polls: 1, event: NO_EVENT, looks: *looks }.is_due();
        assert_eq!((0..100).filter(due).collect::<Vec<_>>(), [5, 10, 20, 40, 80]);
    }

    #[test]
    fn a_call_that_panics_gives_its_thread_back() {
        let calls = Calls::default();
        let slot = calls.register(&id("0"));
        let panics = || {
            let _held = slot.hold();
            panic!("a defect")
        };
        let outcome: Result<(), _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        assert!(outcome.is_err());
        assert_eq!(look(&calls, &[]), []);
    }
}
