//! Reads events with Microsoft's Rust SDK and prints what it cost: `receive PORT PARTITIONS PREFETCH SECONDS`. Built with
//! tests/witnesses/rust.

use std::error::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use azure_messaging_eventhubs::models::ReceivedEventData;
use azure_messaging_eventhubs::{
    ConsumerClient, EventReceiver, OpenReceiverOptions, StartLocation, StartPosition,
};
use futures::future::try_join_all;
use futures::{Stream, StreamExt};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(120);

static EVENTS: AtomicU64 = AtomicU64::new(0);
/// What is measured begins when all partitions are read.
static READING: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let [port, partitions, prefetch, seconds] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("usage: receive PORT PARTITIONS PREFETCH SECONDS".into());
    };
    let (partitions, time) = (partitions.parse()?, Duration::from_secs_f64(seconds.parse()?));
    std::thread::spawn(move || measure(partitions, time));
    let secret = "Endpoint=sb://localhost;SharedAccessKeyName=bench;SharedAccessKey=c2VjcmV0;EntityPath=hub";
    let client = ConsumerClient::builder().with_custom_endpoint(format!("amqp://127.0.0.1:{port}"));
    let client = client.open_with_connection_string(secret, None).await?;
    let prefetch = prefetch.parse()?;
    // Attached by its first event; a partition that is read on would leave no time for the others to attach.
    let receivers = try_join_all((0..partitions).map(|id| open(&client, id, prefetch))).await?;
    let mut streams: Vec<_> = receivers.iter().map(EventReceiver::stream_events).collect();
    for events in &mut streams {
        take(events.next().await)?;
        READING.fetch_add(1, Ordering::Relaxed);
    }
    try_join_all(streams.into_iter().map(read)).await?;
    Err("the reader ended by itself".into())
}

async fn open(client: &ConsumerClient, id: usize, prefetch: u32) -> Result<EventReceiver> {
    let options = OpenReceiverOptions {
        prefetch: Some(prefetch),
        start_position: Some(StartPosition { location: StartLocation::Earliest, inclusive: false }),
        ..OpenReceiverOptions::default()
    };
    Ok(client.open_receiver_on_partition(id.to_string(), Some(options)).await?)
}

type Received = azure_messaging_eventhubs::Result<ReceivedEventData>;

async fn read(mut events: impl Stream<Item = Received> + Unpin) -> Result<()> {
    loop {
        take(events.next().await)?;
    }
}

fn take(event: Option<Received>) -> Result<()> {
    std::hint::black_box(event.ok_or("the stream ended")??.event_data().body());
    EVENTS.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// In a thread of its own, and the end of the process.
fn measure(partitions: usize, time: Duration) {
    let started = Instant::now();
    while READING.load(Ordering::Relaxed) < partitions {
        if started.elapsed() > PATIENCE {
            eprintln!("events from {} of {partitions} partitions", READING.load(Ordering::Relaxed));
            std::process::exit(1);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(time / 10);
    let (began, events, cpu, _) = snapshot();
    std::thread::sleep(time);
    let (ended, all_events, all_cpu, max_rss) = snapshot();
    let measured = json!({
        "events": all_events - events,
        "nanos": (ended - began).as_nanos() as u64,
        "cpu_nanos": (all_cpu - cpu) * 1_000,
        "allocations": null,
        "max_rss_kib": max_rss,
        "p50_micros": null,
        "p99_micros": null,
    });
    println!("{measured}");
    std::process::exit(0);
}

/// The time, events so far, CPU time in microseconds, the largest resident set in KiB.
fn snapshot() -> (Instant, u64, i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts CPU time");
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    (Instant::now(), EVENTS.load(Ordering::Relaxed), cpu, usage.max_rss())
}
