//! `eventhubs send`: events from a script, or as many as wanted.

mod load;
mod options;
mod pace;
mod progress;

use std::io::{self, Write};
use std::pin::pin;

use eventhubs_amqp::Producer;
use eventhubs_types::EventData;
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::time::Instant;

use crate::Result;
pub(crate) use options::Options;
use pace::Pace;
use progress::Progress;

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    events: u64,
    /// Of the bodies.
    bytes: u64,
    seconds: f64,
}

/// Sends until there is nothing more to send.
pub(crate) async fn run(options: Options) -> Result<()> {
    let client = options.client()?;
    let producer = match options.partition() {
        Some(partition) => client.partition_producer(partition),
        None => client.producer(),
    };
    let sent = send_all(&producer, options.events()?, options.pace()).await;
    producer.close().await;
    client.close().await;
    report(&sent?, options.json)
}

async fn send_all(
    producer: &Producer,
    events: impl Stream<Item = io::Result<EventData>>,
    mut pace: Pace,
) -> Result<Summary> {
    let mut events = pin!(events.ready_chunks(pace.at_once()));
    let mut progress = Progress::new();
    let mut summary = Summary::default();
    let start = Instant::now();
    while let Some(chunk) = events.next().await {
        let chunk = chunk.into_iter().collect::<io::Result<Vec<_>>>()?;
        let (count, bytes) = (chunk.len(), chunk.iter().map(body_size).sum::<usize>());
        pace.wait(count).await;
        producer.send(chunk).await?;
        summary.events += count as u64;
        summary.bytes += bytes as u64;
        progress.show(summary.events, start.elapsed());
    }
    summary.seconds = start.elapsed().as_secs_f64();
    progress.clear();
    Ok(summary)
}

fn body_size(event: &EventData) -> usize {
    event.body.bytes().map_or(0, |body| body.len())
}

fn report(summary: &Summary, json: bool) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(summary)?)?;
    } else {
        let Summary { events, bytes, seconds } = summary;
        writeln!(stdout, "{events} events, {bytes} bytes in {seconds:.3} s")?;
    }
    stdout.flush()?;
    Ok(())
}
