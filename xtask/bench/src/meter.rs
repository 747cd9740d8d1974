//! Counts what a reader hands over, and reads the process's own counters at the ends of the measured time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::histogram::Histogram;

/// How long a reader may take until it reads all partitions; a balancer takes them by and by.
const PATIENCE: Duration = Duration::from_secs(120);

/// This part of the measured time passes before it, unmeasured.
const WARM_UP: f64 = 0.1;

/// What one reader in one process did in the measured time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Events handed over.
    pub events: u64,
    /// Events handed over since the process began; foreign programs don't say.
    #[serde(default)]
    pub events_in_all: u64,
    /// The measured time, in nanoseconds.
    pub nanos: u64,
    /// CPU time of the process, in nanoseconds.
    pub cpu_nanos: u64,
    /// Allocations of the process, if they were counted.
    pub allocations: Option<u64>,
    /// The largest resident set since the process began, in KiB.
    pub max_rss_kib: u64,
    /// Half of the events were handed over within this many microseconds of being sent, if that was asked.
    pub p50_micros: Option<f64>,
    /// 99 % of the events were handed over within this many microseconds of being sent, if that was asked.
    pub p99_micros: Option<f64>,
}

/// Counts events; readers share one per process.
#[derive(Debug)]
pub struct Meter {
    events: AtomicU64,
    /// How many partitions have sent nothing yet.
    silent: AtomicUsize,
    /// Those that have.
    reading: Mutex<BTreeSet<u32>>,
    latency: Option<Histogram>,
}

impl Meter {
    /// Counts events of this many partitions, and their age if asked.
    pub fn new(partitions: u32, latency: bool) -> Arc<Self> {
        Arc::new(Self {
            events: AtomicU64::new(0),
            silent: AtomicUsize::new(partitions as usize),
            reading: Mutex::default(),
            latency: latency.then(Histogram::default),
        })
    }

    /// An event came from this partition. Costs next to nothing as soon as all have sent one.
    pub fn comes_from(&self, partition: impl FnOnce() -> u32) {
        if self.silent.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.insert(partition()) {
            self.silent.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// These many events were handed over.
    pub fn count(&self, events: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// An event was handed over; its body begins with the time at which it was sent.
    pub fn look_at(&self, body: &[u8]) {
        if let (Some(latency), Some(sent)) = (&self.latency, body.first_chunk()) {
            latency.record(clock::nanos().saturating_sub(u64::from_be_bytes(*sent)));
        }
    }

    /// Waits for an event of each partition, warms up, measures for `time`.
    ///
    /// # Errors
    /// When one does not come.
    pub fn measure(&self, time: Duration, allocations: fn() -> Option<u64>) -> Result<Measured, String> {
        self.wait_for_all()?;
        clock::pause(time.mul_f64(WARM_UP));
        let began = self.snapshot(allocations);
        if let Some(latency) = &self.latency {
            latency.clear();
        }
        clock::pause(time);
        let ended = self.snapshot(allocations);
        let micros = |part| self.latency.as_ref().map(|latency| latency.quantile(part) as f64 / 1e3);
        Ok(Measured {
            events: ended.events - began.events,
            events_in_all: ended.events,
            nanos: ended.nanos - began.nanos,
            cpu_nanos: ended.cpu_nanos - began.cpu_nanos,
            allocations: ended.allocations.zip(began.allocations).map(|(end, begin)| end - begin),
            max_rss_kib: ended.max_rss_kib,
            p50_micros: micros(0.5),
            p99_micros: micros(0.99),
        })
    }

    fn wait_for_all(&self) -> Result<(), String> {
        let patient_until = clock::nanos() + PATIENCE.as_nanos() as u64;
        while self.silent.load(Ordering::Relaxed) > 0 {
            if clock::nanos() > patient_until {
                let silent = self.silent.load(Ordering::Relaxed);
                return Err(format!("no event of {silent} partitions within {PATIENCE:?}"));
            }
            clock::pause(Duration::from_millis(1));
        }
        Ok(())
    }

    fn snapshot(&self, allocations: fn() -> Option<u64>) -> Snapshot {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts CPU time");
        Snapshot {
            events: self.events.load(Ordering::Relaxed),
            nanos: clock::nanos(),
            cpu_nanos: cpu_nanos(&usage),
            allocations: allocations(),
            max_rss_kib: usage.max_rss() as u64,
        }
    }
}

struct Snapshot {
    events: u64,
    nanos: u64,
    cpu_nanos: u64,
    allocations: Option<u64>,
    max_rss_kib: u64,
}

/// User and system time, in nanoseconds.
pub(crate) fn cpu_nanos(usage: &Usage) -> u64 {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as u64 * 1_000
}
