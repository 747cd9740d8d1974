//! `eventhubs send`: events from a script, or as many as wanted.

mod lines;
mod load;
mod options;
mod pace;
mod progress;
mod target;

use std::io::{self, Write};
use std::pin::pin;

use eventhubs_types::EventData;
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::time::Instant;

use crate::Result;
pub(crate) use options::Options;
use pace::Pace;
use progress::Progress;
use target::Target;

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
    // Before anything is sent: a file that cannot be read is no reason to connect.
    let events = options.events()?;
    let mut target = options.target(&client).await?;
    let sent = send_all(&mut target, events, options.pace()).await;
    target.close().await;
    client.close().await;
    report(&sent?, options.json)
}

async fn send_all(
    target: &mut Target,
    events: impl Stream<Item = io::Result<EventData>>,
    mut pace: Pace,
) -> Result<Summary> {
    // Chunks of what is ready, so that a line of a slow pipe goes out at once and a file in large batches.
    let mut events = pin!(events.ready_chunks(pace.at_once()));
    let mut progress = Progress::new();
    let mut summary = Summary::default();
    let start = Instant::now();
    while let Some(chunk) = events.next().await {
        let (chunk, broken) = until_broken(chunk);
        let (count, bytes) = (chunk.len(), chunk.iter().map(body_size).sum::<usize>());
        if count > 0 {
            pace.wait(count).await;
            target.send(chunk).await?;
        }
        summary.events += count as u64;
        summary.bytes += bytes as u64;
        progress.show(summary.events, start.elapsed());
        if let Some(error) = broken {
            progress.clear();
            return Err(format!("{error}; {} events before it were sent", summary.events).into());
        }
    }
    summary.seconds = start.elapsed().as_secs_f64();
    progress.clear();
    Ok(summary)
}

/// What was read before reading failed is still good.
fn until_broken(chunk: Vec<io::Result<EventData>>) -> (Vec<EventData>, Option<io::Error>) {
    let mut events = Vec::with_capacity(chunk.len());
    for event in chunk {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
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
