//! What the runs of one client note for its status, apart from what each pump counts: runs, rounds, the store, and which
//! partitions there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventhubs_types::PartitionId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::PartitionContext;
use crate::gauges::Counts;

/// How often the service may be asked for the newest events of partitions, for all of a client.
pub(crate) const LOOKUP_PAUSE: Duration = Duration::from_millis(250);

/// What the runs of one client note.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) built: Instant,
    notes: Mutex<Notes>,
    partitions: Mutex<BTreeMap<PartitionId, Entry>>,
    /// Somebody has read the status.
    was_read: Notify,
}

/// What changes a few times a second at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// Those that are running, by what they read.
    pub(crate) runs: BTreeMap<Option<PartitionId>, Stage>,
    pub(crate) rounds: Option<Rounds>,
    pub(crate) store: Store,
    last_lookup: Option<Instant>,
}

/// The rounds of the run that is balanced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: u64,
    /// When the last one ended, or the run began.
    pub(crate) last: Instant,
    pub(crate) duration: Option<Duration>,
    pub(crate) limit: Duration,
    pub(crate) hints: u64,
}

/// What the store was last seen to do.
#[derive(Debug, Clone, Default)]
pub(crate) enum Store {
    #[default]
    Unknown,
    Answering,
    Failing {
        since: Instant,
        error: String,
    },
}

/// A partition that was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// What pumps that have ended counted.
    pub(crate) past: Counts,
    /// Those of the pumps that read it: one, but for runs that have nothing to do with each other.
    pub(crate) contexts: Vec<PartitionContext>,
}

/// What a run has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Running,
    Stopping,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            built: Instant::now(),
            notes: Mutex::default(),
            partitions: Mutex::default(),
            was_read: Notify::new(),
        }
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn partitions(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Entry>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run has come this far; `partition` is what it reads, or `None` of the one that is balanced.
    pub(crate) fn set_stage(&self, partition: Option<&PartitionId>, stage: Stage) {
        let mut notes = self.notes();
        let current = notes.runs.entry(partition.cloned()).or_insert(stage);
        // A round that ends during a stop does not undo it.
        if *current != Stage::Stopping {
            *current = stage;
        }
    }

    pub(crate) fn run_ended(&self, partition: Option<&PartitionId>) {
        let mut notes = self.notes();
        notes.runs.remove(&partition.cloned());
        if partition.is_none() {
            notes.rounds = None;
        }
    }

    /// A balanced run begins, with so much time between the ends of two rounds.
    pub(crate) fn rounds_begin(&self, limit: Duration) {
        let last = Instant::now();
        self.notes().rounds = Some(Rounds { count: 0, last, duration: None, limit, hints: 0 });
    }

    pub(crate) fn round_ended(&self, took: Duration) {
        if let Some(rounds) = &mut self.notes().rounds {
            rounds.count += 1;
            rounds.last = Instant::now();
            rounds.duration = Some(took);
        }
    }

    pub(crate) fn hinted(&self) {
        if let Some(rounds) = &mut self.notes().rounds {
            rounds.hints += 1;
        }
    }

    /// A pump begins.
    pub(crate) fn enter(&self, context: &PartitionContext) {
        let mut partitions = self.partitions();
        partitions.entry(context.partition_id().clone()).or_default().contexts.push(context.clone());
    }

    /// A pump has ended.
    pub(crate) fn leave(&self, context: &PartitionContext) {
        let mut partitions = self.partitions();
        let Some(entry) = partitions.get_mut(context.partition_id()) else { return };
        entry.contexts.retain(|other| !other.is_same(context));
        entry.past.add(context.gauges().counts());
    }

    pub(crate) fn store_answered(&self) {
        self.notes().store = Store::Answering;
    }

    pub(crate) fn store_failed(&self, error: &impl std::fmt::Display) {
        let mut notes = self.notes();
        let since = match notes.store {
            Store::Failing { since, .. } => since,
            _ => Instant::now(),
        };
        notes.store = Store::Failing { since, error: error.to_string() };
    }

    /// Whether the service may be asked now for the newest event of a partition.
    pub(crate) fn may_look_up(&self) -> bool {
        let mut notes = self.notes();
        let now = Instant::now();
        let may = notes.last_lookup.is_none_or(|last| now.saturating_duration_since(last) >= LOOKUP_PAUSE);
        if may {
            notes.last_lookup = Some(now);
        }
        may
    }

    pub(crate) fn note_read(&self) {
        self.was_read.notify_one();
    }

    /// Waits until somebody reads the status.
    pub(crate) async fn was_read(&self) {
        self.was_read.notified().await;
    }
}
