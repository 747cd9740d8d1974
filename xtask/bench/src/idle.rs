//! What receivers cost that nothing is sent to.

use clap::Args;
use serde::Serialize;

use crate::common::Manner;
use crate::contest::Result;
use crate::contest::program::{Contestant, Order};
use crate::reader::Idle;
use crate::replayer::{Replayer, Settings};
use crate::template::Shape;

/// How idle receivers are measured.
#[derive(Debug, Clone, Args)]
pub struct Rules {
    /// Whose receivers: receive, partition-receiver and fe2o3
    #[arg(long, value_delimiter = ',', value_name = "READER,READER", default_values = ["receive", "partition-receiver", "fe2o3"])]
    pub only: Vec<Contestant>,
    /// How many receivers attach, each to a partition of its own
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub receivers: u32,
    /// Numbers of connections that they are spread over
    #[arg(long, value_delimiter = ',', value_name = "N,N", default_values_t = [1, 8], value_parser = clap::value_parser!(u32).range(1..=255))]
    pub connections: Vec<u32>,
    /// How it is made, and told.
    #[command(flatten)]
    pub manner: Manner,
}

impl Rules {
    /// What was asked, or what a smoke run needs.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if self.manner.quick {
            (self.receivers, self.connections) = (20, vec![1, 3]);
        }
        self
    }
}

/// One process, when all receivers in it are attached.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    reader: String,
    receivers: u32,
    connections: u32,
    /// Of the process before the first connection, in KiB.
    before_kib: u64,
    rss_kib: u64,
    /// What the process grew by, connections included, by the number of receivers.
    kib_per_receiver: f64,
}

/// Lets everyone attach, each in a process of its own.
///
/// # Errors
/// When a receiver does not attach.
pub fn measure(rules: &Rules) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for connections in rules.connections.iter().copied() {
        for who in rules.only.iter().copied() {
            rows.push(Row::new(who, rules.receivers, connections, attach(rules, who, connections)?));
        }
    }
    Ok(rows)
}

/// The replayer prepares what it could send on each link, which is least where one event fills a write.
fn attach(rules: &Rules, who: Contestant, connections: u32) -> Result<Idle> {
    let shape = Shape { body: 128 * 1024, properties: false };
    let settings = Settings { shape, partitions: rules.receivers, rate: Some(0.0), tls: None };
    let replayer = Replayer::start(settings)?;
    let order = Order {
        port: replayer.port(),
        partitions: rules.receivers,
        connections,
        idle: true,
        ..Order::default()
    };
    order.run(who)
}

impl Row {
    fn new(who: Contestant, receivers: u32, connections: u32, idle: Idle) -> Self {
        let grown = idle.attached_kib.saturating_sub(idle.before_kib);
        Self {
            reader: who.to_string(),
            receivers,
            connections,
            before_kib: idle.before_kib,
            rss_kib: idle.attached_kib,
            kib_per_receiver: grown as f64 / f64::from(receivers),
        }
    }
}

const HEAD: &str = "| reader | receivers | connections | RSS before MiB | RSS MiB | KiB/receiver |\n\
                    |---|--:|--:|--:|--:|--:|\n";

/// All rows as a table in Markdown.
pub fn table(rows: &[Row]) -> String {
    rows.iter().fold(HEAD.to_owned(), |table, row| table + &row.line())
}

impl Row {
    fn line(&self) -> String {
        let Self { reader, receivers, connections, before_kib, rss_kib, kib_per_receiver } = self;
        let [before, rss] = [before_kib, rss_kib].map(|kib| *kib as f64 / 1024.0);
        format!(
            "| `{reader}` | {receivers} | {connections} | {before:.1} | {rss:.1} | {kib_per_receiver:.1} |\n"
        )
    }
}
