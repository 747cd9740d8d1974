//! What came out, for people and for scripts.

use serde::Serialize;

use crate::common;
use crate::median::median;

/// One number or two, and of what.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Row {
    /// Events that pass through.
    Traffic(Traffic),
    /// Events that stay.
    Memory(Memory),
    /// From the start of the program to `GET /health`.
    StartUp(StartUp),
}

/// Medians of several takes.
#[derive(Debug, Clone, Serialize)]
pub struct Traffic {
    /// `in` from producers, `out` to consumers.
    pub direction: &'static str,
    /// How many partitions, each with a connection.
    pub partitions: u32,
    /// Whether events are kept in a folder.
    pub data_folder: bool,
    /// With clients on the same machine.
    pub events_per_s: f64,
    /// Of the broker's process only.
    pub cpu_ns_per_event: f64,
}

/// One take.
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Whether events are kept in a folder.
    pub data_folder: bool,
    /// How many events were stored.
    pub events: usize,
    /// Of the process before the first event.
    pub idle_mib: u64,
    /// By how much it grew.
    pub grown_mib: u64,
}

/// The median of several takes.
#[derive(Debug, Clone, Serialize)]
pub struct StartUp {
    /// What is in the data folder.
    pub data_folder: String,
    /// In milliseconds.
    pub ms: f64,
}

#[derive(Debug)]
pub(super) struct Take {
    pub(super) events_per_s: f64,
    pub(super) cpu_ns_per_event: f64,
}

impl Traffic {
    pub(super) fn new(direction: &'static str, partitions: u32, data_folder: bool, takes: &[Take]) -> Self {
        Self {
            direction,
            partitions,
            data_folder,
            events_per_s: median(takes.iter().map(|take| take.events_per_s)),
            cpu_ns_per_event: median(takes.iter().map(|take| take.cpu_ns_per_event)),
        }
    }
}

impl StartUp {
    pub(super) fn new(data_folder: String, takes: Vec<f64>) -> Self {
        Self { data_folder, ms: median(takes) }
    }
}

const TRAFFIC: &str =
    "| events | partitions | kept in | events/s | broker's CPU ns/event |\n|---|--:|---|--:|--:|\n";
const MEMORY: &str = "| kept in | events | RSS before MiB | growth MiB |\n|---|--:|--:|--:|\n";
const START_UP: &str = "| data folder | start to healthy, ms |\n|---|--:|\n";

/// All rows as Markdown: a table for each kind.
pub fn tables(rows: &[Row]) -> String {
    common::tables([TRAFFIC, MEMORY, START_UP], rows, Row::line)
}

impl Row {
    /// In which table it stands, and its line there.
    fn line(&self) -> (usize, String) {
        let kept = |in_folder| if in_folder { "folder" } else { "memory" };
        match self {
            Self::Traffic(Traffic { direction, partitions, data_folder, events_per_s, cpu_ns_per_event }) => {
                let kept = kept(*data_folder);
                (
                    0,
                    format!(
                        "| {direction} | {partitions} | {kept} | {events_per_s:.0} | {cpu_ns_per_event:.0} |\n"
                    ),
                )
            }
            Self::Memory(Memory { data_folder, events, idle_mib, grown_mib }) => {
                (1, format!("| {} | {events} | {idle_mib} | {grown_mib} |\n", kept(*data_folder)))
            }
            Self::StartUp(StartUp { data_folder, ms }) => (2, format!("| {data_folder} | {ms:.1} |\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_table() {
        let rows = [
            Row::StartUp(StartUp::new("none".into(), vec![12.34])),
            Row::Memory(Memory { data_folder: true, events: 5, idle_mib: 1, grown_mib: 2 }),
        ];
        let tables = tables(&rows);
        assert!(tables.contains("| none | 12.3 |") && tables.contains("| folder | 5 | 1 | 2 |"), "{tables}");
    }
}
