//! One run of readers side by side: who takes part, in which scenes, and what came out.

pub mod program;
pub mod row;
pub mod scene;
mod tls;

use std::error::Error;
use std::sync::atomic::Ordering::Relaxed;

use clap::Args;

use crate::common::Manner;
use crate::meter::Measured;
use crate::replayer::{Counters, Replayer, Settings};
use crate::template::Shape;
use program::{Contestant, Order};
use row::Row;
use scene::{Choice, Scene};
use tls::Certificate;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Credit per partition unless told otherwise.
const PREFETCH: u32 = 2_000;

/// Events per second of a half of what was measured.
const HALF: f64 = 0.5;

/// How the contest is held.
#[derive(Debug, Clone, Args)]
pub struct Rules {
    /// Only these readers, in this order; the ratios need `limit`
    #[arg(long, value_delimiter = ',', value_name = "READER,READER")]
    pub only: Vec<Contestant>,
    /// Which scenes.
    #[command(flatten)]
    pub choice: Choice,
    /// Credit per partition, the same for every reader
    #[arg(long, default_value_t = PREFETCH)]
    pub prefetch: u32,
    /// Threads of the Rust readers' runtimes
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// For how long each reader is measured each time, after a tenth of it as warm-up
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// How often each reader is measured; the median counts
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// How it is made, and told.
    #[command(flatten)]
    pub manner: Manner,
}

impl Rules {
    /// What was asked, or what a smoke run needs.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if self.manner.quick {
            (self.seconds, self.repeats) = (0.5, 1);
            self.choice.quick();
        }
        if self.only.is_empty() {
            self.only = Contestant::all(self.manner.quick);
        }
        self
    }
}

/// Lets everyone read in each scene, and hands over the rows of each scene when they are there.
///
/// # Errors
/// When a reader fails; none is left out silently.
pub fn hold(rules: &Rules, mut done: impl FnMut(&Scene, &[Row])) -> Result<()> {
    for scene in rules.choice.scenes() {
        let rows = play(rules, &scene)?;
        done(&scene, &rows);
    }
    Ok(())
}

/// Repeats are interleaved, so that a noisy minute hits all readers.
fn play(rules: &Rules, scene: &Scene) -> Result<Vec<Row>> {
    let who: Vec<Contestant> = rules.only.iter().copied().filter(|who| who.takes_part(scene)).collect();
    let mut takes = vec![Vec::new(); who.len()];
    for _ in 0..rules.repeats {
        for (who, takes) in who.iter().zip(&mut takes) {
            takes.push(once(rules, scene, *who, Task::Throughput)?);
        }
    }
    let mut rows = Vec::new();
    for (who, takes) in who.into_iter().zip(&takes) {
        let mut row = Row::new(who, scene, takes);
        if who.is_ours() {
            let rate = row.events_per_s * HALF;
            row.set_latency(&once(rules, scene, who, Task::Latency(rate))?);
            row.set_allocations(&once(rules, scene, who, Task::Allocations)?);
        }
        rows.push(row);
    }
    row::relate(&mut rows);
    Ok(rows)
}

/// What one process of a reader is started for.
#[derive(Debug, Clone, Copy)]
enum Task {
    Throughput,
    /// At this many events per second.
    Latency(f64),
    /// In a process that counts them, which costs time.
    Allocations,
}

/// What one process of a reader measured, and what the replayer saw of it.
#[derive(Debug, Clone)]
pub struct Take {
    pub(crate) measured: Measured,
    pub(crate) waits: u64,
    /// The part of its time for which the replayer waited for credit.
    pub(crate) waited: f64,
    /// CPU time of the replayer by its time: at 1 it is what limits the reader.
    pub(crate) busy: f64,
}

fn once(rules: &Rules, scene: &Scene, who: Contestant, task: Task) -> Result<Take> {
    let certificate = scene.tls.then(Certificate::generate).transpose()?;
    let replayer = Replayer::start(Settings {
        shape: Shape { body: scene.body, properties: scene.properties },
        partitions: scene.partitions,
        rate: match task {
            Task::Latency(rate) => Some(rate),
            Task::Throughput | Task::Allocations => None,
        },
        tls: certificate.as_ref().map(Certificate::config).transpose()?,
    })?;
    let order = Order {
        port: replayer.port(),
        partitions: scene.partitions,
        connections: scene.connections,
        prefetch: rules.prefetch,
        seconds: rules.seconds,
        threads: rules.threads,
        latency: matches!(task, Task::Latency(_)),
        count_allocations: matches!(task, Task::Allocations),
        trust: certificate.as_ref().map(Certificate::file),
        ..Order::default()
    };
    let measured = order.run(who)?;
    Ok(take(measured, &replayer.stop()))
}

fn take(measured: Measured, counters: &Counters) -> Take {
    let open = counters.open.load(Relaxed).max(1) as f64;
    Take {
        measured,
        waits: counters.waits.load(Relaxed),
        waited: counters.waited.load(Relaxed) as f64 / open,
        busy: counters.cpu.load(Relaxed) as f64 / open,
    }
}
