//! Our consumer lives through whole schedules of faults, drawn from seeds, and loses nothing (contract §5.4, §5.6).

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::{ConsumerClient, RetryPolicy, StartingPosition};
use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_emulator::{Emulator, Schedule, ScheduleSettings, Throttle};
use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::HUB;
use tokio::sync::oneshot;
use tokio::time::interval;

const SEEDS: std::ops::Range<u64> = 1..9;
/// Plays this seed only.
const SEED: &str = "EVENTHUBS_SCHEDULE_SEED";
const PARTITIONS: usize = 4;

type Handled = Arc<Mutex<BTreeMap<String, BTreeSet<i64>>>>;

fn settings() -> ScheduleSettings {
    let mut settings = ScheduleSettings::for_event_hubs([HUB]);
    settings.duration = Duration::from_secs(4);
    settings.mean_pause = Duration::from_millis(250);
    settings.longest_outage = Duration::from_millis(500);
    settings
}

/// How many events of which partition are missing.
fn missing(emulator: &Emulator, handled: &Handled) -> BTreeMap<String, usize> {
    let handled = handled.lock().unwrap();
    let partitions = emulator.partitions(HUB).unwrap().into_iter().map(|partition| {
        let seen = handled.get(&partition.partition_id).map_or(0, BTreeSet::len);
        (partition.partition_id, partition.event_count - seen)
    });
    partitions.filter(|(_, missing)| *missing > 0).collect()
}

/// Says how to play a schedule again when the test fails.
struct Replay<'a>(&'a Schedule);

impl Drop for Replay<'_> {
    #[expect(clippy::print_stderr, reason = "whoever reads the failed test wants to play it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\nagain: {SEED}={} cargo test -p eventhubs-tests schedules", self.0, self.0.seed());
        }
    }
}

/// Consumes with checkpoints until `stopped`; a later call continues where an earlier one ended.
async fn consume(
    emulator: &Emulator,
    store: &Arc<MemoryCheckpointStore>,
    handled: &Handled,
    stopped: oneshot::Receiver<()>,
) {
    let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .load_balancing_interval(Duration::from_millis(200))
        .retry(RetryPolicy::exponential(Duration::from_millis(50)))
        .build()
        .unwrap();
    let seen = Arc::clone(handled);
    let receive = client.receive(move |context, event| {
        let partition = context.partition_id().to_string();
        seen.lock().unwrap().entry(partition).or_default().insert(event.sequence_number().value());
        async move {
            // a lease may end meanwhile; then the next reader gets the event again
            let _ = context.update_checkpoint(&event).await;
            Ok(())
        }
    });
    let receive = receive.starting_position(StartingPosition::Earliest).with_graceful_shutdown(stopped);
    receive.into_future().await.unwrap();
}

/// Publishes while the faults come, and then what nobody may miss.
async fn publish(emulator: &Emulator, schedule: &Schedule) {
    let mut ticks = interval(Duration::from_millis(20));
    let publishing = async {
        loop {
            ticks.tick().await;
            emulator.publish(HUB, ["event"; 10]).unwrap();
        }
    };
    tokio::select! {
        played = emulator.play(schedule) => played.unwrap(),
        () = publishing => {}
    }
    // what was to hit the next ones may not have hit anyone
    emulator.throttle(HUB, Throttle::Next(0)).unwrap();
    emulator.publish(HUB, ["last"; PARTITIONS]).unwrap();
}

async fn survives(seed: u64) {
    let schedule = Schedule::generate(seed, &settings());
    let _replay = Replay(&schedule);
    let emulator = Emulator::builder().event_hub(HUB, PARTITIONS).start().await.unwrap();
    let (store, handled) = (Arc::<MemoryCheckpointStore>::default(), Handled::default());
    let (stop_first, first) = oneshot::channel();
    let (stop_second, second) = oneshot::channel();
    let consumers = async {
        consume(&emulator, &store, &handled, first).await;
        consume(&emulator, &store, &handled, second).await;
    };
    let restart = async {
        let count = || handled.lock().unwrap().values().map(BTreeSet::len).sum::<usize>();
        until(seeing("more than 500 events handled", count), || count() > 500).await;
        stop_first.send(()).unwrap();
    };
    let watch = async {
        tokio::join!(publish(&emulator, &schedule), restart);
        until(seeing("no event missing", || missing(&emulator, &handled)), || {
            missing(&emulator, &handled).is_empty()
        })
        .await;
        stop_second.send(()).unwrap();
    };
    let all = async { tokio::join!(consumers, watch) };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "seed {seed}: events are missing: {:?}", missing(&emulator, &handled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_loses_nothing_in_any_schedule_of_faults() {
    let only = env::var(SEED).ok().map(|seed| seed.parse().expect("a number"));
    let seeds = only.map_or(SEEDS, |seed: u64| seed..seed + 1);
    within(PATIENCE * 2, async {
        let mut running = tokio::task::JoinSet::new();
        for seed in seeds {
            running.spawn(survives(seed));
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    })
    .await;
}
