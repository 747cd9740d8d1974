//! How fast a small fleet is at work, with the default settings on real storage: 32 partitions, one instance, a second one, and a clean
//! stop. `cargo test -p eventhubs-tests small_fleet -- --nocapture` prints the times; the test holds only that nothing is lost and
//! nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::{ConsumerClient, StartingPosition};
use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::{HUB, World};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

const PARTITIONS: usize = 32;

/// The time between two events of a partition.
const TICK: Duration = Duration::from_millis(50);

/// So many events of each partition take longer than a calm instance does to look again.
const CALM: usize = 160;

#[derive(Debug, Clone)]
struct Handled {
    instance: &'static str,
    partition: String,
    number: i64,
    at: Instant,
}

type Log = Arc<Mutex<Vec<Handled>>>;

struct Instance {
    stop: oneshot::Sender<()>,
    receiving: JoinHandle<eventhubs::Result<eventhubs::ReceiveReport>>,
}

async fn start(world: &World, log: &Log, instance: &'static str) -> Instance {
    let client = ConsumerClient::builder(world.emulator.connection_string(HUB), "$Default")
        .checkpoint_store(world.store().await)
        .build()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let log = Arc::clone(log);
    let receive = client.receive(move |context, event| {
        let (partition, number) = (context.partition_id().to_string(), event.sequence_number().value());
        log.lock().unwrap().push(Handled { instance, partition, number, at: Instant::now() });
        async move {
            context.update_checkpoint(&event).await?;
            Ok(())
        }
    });
    let receive = receive.starting_position(StartingPosition::Earliest).with_graceful_shutdown(stopped);
    Instance { stop, receiving: tokio::spawn(receive.into_future()) }
}

/// Waits until an instance has handled events of this many partitions since then, and returns how long that took.
async fn reads(log: &Log, instance: &str, partitions: usize, since: Instant) -> Duration {
    let of_instance = || {
        let log = log.lock().unwrap();
        let new = log.iter().filter(|handled| handled.instance == instance && handled.at >= since);
        new.map(|handled| handled.partition.clone()).collect::<BTreeSet<_>>().len()
    };
    until(seeing(format!("{instance} reads {partitions} partitions"), of_instance), || {
        of_instance() >= partitions
    })
    .await;
    since.elapsed()
}

/// Waits until each partition has had so many more events, on average.
async fn handles_more(log: &Log, events: usize) {
    let wanted = log.lock().unwrap().len() + events * PARTITIONS;
    let handled = || log.lock().unwrap().len();
    until(seeing(format!("{wanted} events handled"), handled), || handled() >= wanted).await;
}

/// The longest time between two events of one partition since then.
fn longest_gap(log: &Log, since: Instant) -> Duration {
    let log = log.lock().unwrap();
    let gaps = (0..PARTITIONS).map(|id| {
        let of_partition = log.iter().filter(|handled| handled.partition == id.to_string());
        let times: Vec<_> = of_partition.map(|handled| handled.at).filter(|at| *at >= since).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    });
    gaps.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_reads_at_once_a_second_has_its_half_and_a_stop_is_short() {
    within(PATIENCE, async {
        let world = Arc::new(World::new(PARTITIONS).await);
        let log = Log::default();
        let publisher = Arc::clone(&world);
        let publishing = tokio::spawn(async move {
            let mut ticks = interval(TICK);
            loop {
                ticks.tick().await;
                publisher.publish(PARTITIONS);
            }
        });

        let began = Instant::now();
        let first = start(&world, &log, "first").await;
        println!("first event after {:.2?}", reads(&log, "first", 1, began).await);
        println!("all partitions after {:.2?}", reads(&log, "first", PARTITIONS, began).await);
        handles_more(&log, CALM).await;

        let joined = Instant::now();
        let second = start(&world, &log, "second").await;
        println!(
            "a second one has its half after {:.2?}",
            reads(&log, "second", PARTITIONS / 2, joined).await
        );
        println!("  longest gap of a partition {:.2?}", longest_gap(&log, joined));
        handles_more(&log, CALM).await;

        let stopped = Instant::now();
        second.stop.send(()).unwrap();
        second.receiving.await.unwrap().unwrap();
        println!("a clean stop took {:.2?}", stopped.elapsed());
        reads(&log, "first", PARTITIONS, Instant::now()).await;
        println!("  longest gap of a partition {:.2?}", longest_gap(&log, stopped));

        publishing.abort();
        first.stop.send(()).unwrap();
        first.receiving.await.unwrap().unwrap();
        let mut numbers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for handled in log.lock().unwrap().iter() {
            numbers.entry(handled.partition.clone()).or_default().push(handled.number);
        }
        for (partition, mut numbers) in numbers {
            numbers.sort_unstable();
            assert!(
                (0..).zip(&numbers).all(|(wanted, number)| wanted == *number),
                "{partition}: {numbers:?}"
            );
        }
    })
    .await;
}
