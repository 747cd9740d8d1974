//! What slow handlers cost: their neighbours, in time, and the process, in memory.

use std::sync::atomic::Ordering::Relaxed;

use clap::Args;
use eventhubs_amqp::PartitionReceiverBuilder;
use serde::Serialize;

use crate::common::{self, Manner};
use crate::contest::Result;
use crate::contest::program::{Contestant, Order};
use crate::median::median;
use crate::meter::Measured;
use crate::replayer::{Replayer, Settings};
use crate::template::Shape;

const MIB: f64 = 1024.0 * 1024.0;

/// How slow handlers are measured.
#[derive(Debug, Clone, Args)]
pub struct Rules {
    /// Only these readers: partition-receiver, receive and receive-batch
    #[arg(long, value_delimiter = ',', value_name = "READER,READER", default_values = ["partition-receiver", "receive", "receive-batch"])]
    pub only: Vec<Contestant>,
    /// How many partitions are read, by one process and connection
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=255))]
    pub partitions: u32,
    /// Events of 1 KiB per second and of all partitions, where one partition is slow
    #[arg(long, default_value_t = 50_000.0)]
    pub rate: f64,
    /// Bytes of a body where all partitions are slow
    #[arg(long, default_value_t = 32 * 1024, value_parser = clap::value_parser!(u64).range(8..=65_000))]
    pub body: u64,
    /// For how long each reader is measured each time
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// How often each reader is measured; the median counts
    #[arg(long, default_value_t = 5)]
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
            (self.partitions, self.rate, self.seconds, self.repeats) = (3, 3_000.0, 0.5, 1);
        }
        self
    }
}

/// What a slow handler costs.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Row {
    /// How late the events of the other partitions are; medians of several takes.
    Neighbours {
        /// Who reads.
        reader: String,
        /// How many partitions.
        partitions: u32,
        /// In how many of them the handler is slow.
        slow: u32,
        /// Half of the events are handed over within so many microseconds.
        p50_us: f64,
        /// 99 % of the events.
        p99_us: f64,
        /// The largest resident set of the process.
        max_rss_mib: f64,
    },
    /// What is in memory where all handlers are slow; the most of several takes.
    Memory {
        /// Who reads.
        reader: String,
        /// Bytes of a body.
        body: u64,
        /// How many partitions, all slow.
        partitions: u32,
        /// What all partitions may buffer by the default of `prefetch_bytes`.
        budget_mib: f64,
        /// Bodies that were sent and not yet handled; what is in the sockets counts.
        unhandled_mib: f64,
        /// The largest resident set of the process.
        max_rss_mib: f64,
    },
}

/// Neighbours without and with a slow handler by turns, so that a noisy minute hits both; then memory.
///
/// # Errors
/// When a reader fails.
pub fn measure(rules: &Rules) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for who in rules.only.iter().copied() {
        let mut takes = [Vec::new(), Vec::new()];
        for _ in 0..rules.repeats {
            takes[0].push(play(rules, who, 0, Some(rules.rate))?.measured);
            takes[1].push(play(rules, who, 1, Some(rules.rate))?.measured);
        }
        rows.extend((0..).zip(&takes).map(|(slow, takes)| neighbours(rules, who, slow, takes)));
    }
    for who in rules.only.iter().copied() {
        let takes: Result<Vec<Take>> =
            (0..rules.repeats).map(|_| play(rules, who, rules.partitions, None)).collect();
        rows.push(memory(rules, who, &takes?));
    }
    Ok(rows)
}

/// What a reader measured, and how many events were sent to it.
struct Take {
    measured: Measured,
    sent: u64,
}

fn play(rules: &Rules, who: Contestant, slow: u32, rate: Option<f64>) -> Result<Take> {
    let body = if rate.is_some() { 1024 } else { rules.body as usize };
    let shape = Shape { body, properties: false };
    let replayer = Replayer::start(Settings { shape, partitions: rules.partitions, rate, tls: None })?;
    let order = Order {
        port: replayer.port(),
        partitions: rules.partitions,
        seconds: rules.seconds,
        slow,
        latency: rate.is_some(),
        ..Order::default()
    };
    let measured = order.run(who)?;
    Ok(Take { measured, sent: replayer.stop().events.load(Relaxed) })
}

fn neighbours(rules: &Rules, who: Contestant, slow: u32, takes: &[Measured]) -> Row {
    let micros = |value: fn(&Measured) -> Option<f64>| median(takes.iter().filter_map(value));
    Row::Neighbours {
        reader: who.to_string(),
        partitions: rules.partitions,
        slow,
        p50_us: micros(|measured| measured.p50_micros),
        p99_us: micros(|measured| measured.p99_micros),
        max_rss_mib: median(takes.iter().map(|measured| measured.max_rss_kib as f64)) / 1024.0,
    }
}

fn memory(rules: &Rules, who: Contestant, takes: &[Take]) -> Row {
    let most = |value: fn(&Take) -> u64| takes.iter().map(value).max().unwrap_or_default() as f64;
    let budget = PartitionReceiverBuilder::DEFAULT_PREFETCH_BYTES as f64;
    let unhandled = most(|take| take.sent.saturating_sub(take.measured.events_in_all));
    Row::Memory {
        reader: who.to_string(),
        body: rules.body,
        partitions: rules.partitions,
        budget_mib: budget * f64::from(rules.partitions) / MIB,
        unhandled_mib: unhandled * rules.body as f64 / MIB,
        max_rss_mib: most(|take| take.measured.max_rss_kib) / 1024.0,
    }
}

const NEIGHBOURS: &str = "| reader | partitions | slow | p50 µs of the others | p99 µs of the others | RSS MiB |\n\
                          |---|--:|--:|--:|--:|--:|\n";
const MEMORY: &str = "| reader | body | partitions, all slow | budget MiB | unhandled MiB | RSS MiB |\n\
                      |---|--:|--:|--:|--:|--:|\n";

/// All rows as Markdown: a table for each kind.
pub fn tables(rows: &[Row]) -> String {
    common::tables([NEIGHBOURS, MEMORY], rows, Row::line)
}

impl Row {
    /// In which table it stands, and its line there.
    fn line(&self) -> (usize, String) {
        match self {
            Self::Neighbours { reader, partitions, slow, p50_us, p99_us, max_rss_mib } => (
                0,
                format!(
                    "| `{reader}` | {partitions} | {slow} | {p50_us:.0} | {p99_us:.0} | {max_rss_mib:.1} |\n"
                ),
            ),
            Self::Memory { reader, body, partitions, budget_mib, unhandled_mib, max_rss_mib } => {
                let numbers = format!("{budget_mib:.0} | {unhandled_mib:.1} | {max_rss_mib:.1}");
                (1, format!("| `{reader}` | {body} | {partitions} | {numbers} |\n"))
            }
        }
    }
}
