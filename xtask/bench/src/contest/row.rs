//! What came out, as JSON and as a table.

use serde::Serialize;

use super::Take;
use super::program::Contestant;
use super::scene::Scene;
use crate::median::median;
use crate::meter::Measured;

/// One reader in one scene; medians of its takes.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    reader: String,
    body: usize,
    partitions: u32,
    connections: u32,
    tls: bool,
    properties: bool,
    pub(crate) events_per_s: f64,
    cpu_ns_per_event: f64,
    /// CPU per event by that of the limit.
    cpu_by_limit: Option<f64>,
    allocs_per_event: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_rss_kib: u64,
    replayer_waits: u64,
    replayer_waited: f64,
    replayer_busy: f64,
}

impl Row {
    pub(crate) fn new(who: Contestant, scene: &Scene, takes: &[Take]) -> Self {
        let measured = |value: fn(&Measured) -> f64| median(takes.iter().map(|take| value(&take.measured)));
        Self {
            reader: who.to_string(),
            body: scene.body,
            partitions: scene.partitions,
            connections: scene.connections,
            tls: scene.tls,
            properties: scene.properties,
            events_per_s: measured(|m| m.events as f64 * 1e9 / m.nanos as f64),
            cpu_ns_per_event: measured(|m| m.cpu_nanos as f64 / m.events.max(1) as f64),
            cpu_by_limit: None,
            allocs_per_event: None,
            p50_us: None,
            p99_us: None,
            max_rss_kib: measured(|m| m.max_rss_kib as f64) as u64,
            replayer_waits: median(takes.iter().map(|take| take.waits as f64)) as u64,
            replayer_waited: median(takes.iter().map(|take| take.waited)),
            replayer_busy: median(takes.iter().map(|take| take.busy)),
        }
    }

    pub(crate) fn set_latency(&mut self, take: &Take) {
        self.p50_us = take.measured.p50_micros;
        self.p99_us = take.measured.p99_micros;
    }

    pub(crate) fn set_allocations(&mut self, take: &Take) {
        let events = take.measured.events.max(1) as f64;
        self.allocs_per_event = take.measured.allocations.map(|count| count as f64 / events);
    }

    fn cells(&self) -> [String; 9] {
        let optional = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        [
            format!("`{}`", self.reader),
            optional(self.cpu_by_limit, 1),
            format!("{:.0}", self.cpu_ns_per_event),
            format!("{:.0}", self.events_per_s),
            optional(self.allocs_per_event, 2),
            optional(self.p50_us, 0),
            optional(self.p99_us, 0),
            format!("{:.0}", self.max_rss_kib as f64 / 1024.0),
            format!(
                "{} ({:.0} %, {:.0} %)",
                self.replayer_waits,
                self.replayer_waited * 1e2,
                self.replayer_busy * 1e2
            ),
        ]
    }
}

/// Sets every row in relation to the limit, if that is among them.
pub(crate) fn relate(rows: &mut [Row]) {
    let limit = rows.iter().find(|row| row.reader == Contestant::Limit.to_string());
    let limit = limit.map(|row| row.cpu_ns_per_event);
    for row in rows {
        row.cpu_by_limit = limit.map(|limit| row.cpu_ns_per_event / limit);
    }
}

/// The rows of a scene as a table in Markdown.
pub fn table(scene: &Scene, rows: &[Row]) -> String {
    let head = [
        "reader",
        "CPU × limit",
        "CPU ns/event",
        "events/s",
        "allocations/event",
        "p50 µs",
        "p99 µs",
        "RSS MiB",
        "replayer's waits (waiting, busy)",
    ];
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("### {scene}\n\n{}", line(&head.map(str::to_owned)));
    text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for row in rows {
        text += &line(&row.cells());
    }
    text
}
