//! What the emulator costs: `eventhubs emulator` in a process of its own, with our own clients.

mod broker;
pub mod row;
mod traffic;

use std::error::Error;

use clap::Args;
use tempfile::TempDir;

use crate::common::Manner;
use broker::Broker;
use row::{Memory, Row, StartUp, Traffic};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How the emulator is measured.
#[derive(Debug, Clone, Args)]
pub struct Rules {
    /// Events that are sent and read in each take
    #[arg(long, default_value_t = 200_000)]
    pub events: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 1024)]
    pub body: usize,
    /// How many partitions, each with a connection of its own
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pub partitions: Vec<u32>,
    /// Events that are stored to see how much memory they take
    #[arg(long, default_value_t = 1_000_000)]
    pub stored: usize,
    /// How often everything is measured; the median counts
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
            (self.events, self.stored, self.repeats) = (2_000, 2_000, 1);
            self.partitions = vec![1, 3];
        }
        self
    }
}

/// Measures everything in memory, then with a data folder.
///
/// # Errors
/// When a process does not start, or events do not arrive.
pub fn measure(rules: &Rules) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut rows = Vec::new();
        for folder in [false, true] {
            for partitions in rules.partitions.iter().copied() {
                rows.extend(traffic(rules, partitions, folder).await?.map(Row::Traffic));
            }
            rows.push(Row::Memory(memory(rules, folder).await?));
        }
        rows.extend(start_up(rules).await?.into_iter().map(Row::StartUp));
        Ok(rows)
    })
}

/// In, then out of the same broker; one take after the other.
async fn traffic(rules: &Rules, partitions: u32, folder: bool) -> Result<[Traffic; 2]> {
    let mut takes = [Vec::new(), Vec::new()];
    for _ in 0..rules.repeats {
        let data = TempDir::new()?;
        let broker = Broker::start(partitions, folder.then(|| data.path())).await?;
        takes[0].push(broker.meter(rules.events, traffic::send(&broker, rules, rules.events)).await?);
        takes[1].push(broker.meter(rules.events, traffic::receive(&broker, rules.events)).await?);
    }
    let row = |direction, takes: &[_]| Traffic::new(direction, partitions, folder, takes);
    Ok([row("in", &takes[0]), row("out", &takes[1])])
}

async fn memory(rules: &Rules, folder: bool) -> Result<Memory> {
    let data = TempDir::new()?;
    let broker = Broker::start(1, folder.then(|| data.path())).await?;
    let before = broker.resident_kib()?;
    traffic::send(&broker, rules, rules.stored).await?;
    let grown = broker.resident_kib()?.saturating_sub(before);
    Ok(Memory { data_folder: folder, events: rules.stored, idle_mib: before / 1024, grown_mib: grown / 1024 })
}

/// Without a folder, with an empty one, and with one whose broker was killed.
async fn start_up(rules: &Rules) -> Result<Vec<StartUp>> {
    let full = TempDir::new()?;
    traffic::send(&Broker::start(1, Some(full.path())).await?, rules, rules.events).await?;
    let mut takes = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rules.repeats {
        let empty = TempDir::new()?;
        for (takes, folder) in takes.iter_mut().zip([None, Some(empty.path()), Some(full.path())]) {
            takes.push(Broker::start(1, folder).await?.start_up_ms);
        }
    }
    let full = format!("of {} events, after a kill", rules.events);
    let names = ["none".to_owned(), "empty".to_owned(), full];
    Ok(names.into_iter().zip(takes).map(|(folder, takes)| StartUp::new(folder, takes)).collect())
}
