//! Handlers that are slow, fail and panic, in instances that are killed, stopped and cut off, on stores with faults: what
//! comes of each event is checked by what the instances recorded. `cargo xtask soak handlers` plays it with 200 000 events.

use std::cell::Cell;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

use eventhubs::{EventData, FileDeadLetters};
use eventhubs_test_harness::{PATIENCE, seeing, until_async, within};
use eventhubs_tests::{
    Consumer, Findings, HUB, Letter, Promise, Published, Sent, Storage, World, check, digest, read_lines,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::time::sleep;

const HANDLER: &str = env!("CARGO_BIN_EXE_handler");
const INSTANCES: usize = 3;
const PARTITIONS: usize = 16;
const KEYS: u32 = 50;
const EVENTS_PER_ROUND: usize = 500;

/// How many rounds there are, of [`EVENTS_PER_ROUND`] events and one trouble each.
const ROUNDS: &str = "EVENTHUBS_HANDLER_ROUNDS";
/// What all random choices come from.
const SEED: &str = "EVENTHUBS_HANDLER_SEED";
const DEPLOYS: usize = 10;

/// Longer than any outage of the store, so that only a kill costs a lease.
const EXPIRY_SECONDS: u32 = 6;
/// An expiry so long that a test which waits for it fails on its own time limit.
const NEVER: u32 = 600;

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

/// What befalls the instances in one round.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Kill,
    Stop,
    DropConnections,
    DetachLinks,
    StoreOutage,
}

const TROUBLES: [Trouble; 5] =
    [Trouble::Kill, Trouble::Stop, Trouble::DropConnections, Trouble::DetachLinks, Trouble::StoreOutage];

/// The instances, what was published to them, and what they record.
struct Fleet {
    world: World,
    folder: TempDir,
    seed: u64,
    random: StdRng,
    published: Published,
    instances: Vec<Consumer>,
    started: u64,
    expiry_seconds: u32,
    interval_ms: u32,
    has_faults: bool,
}

impl Fleet {
    async fn new(storage: Storage, seed: u64, has_faults: bool) -> Self {
        println!("again: {SEED}={seed}");
        let (expiry_seconds, interval_ms) = if has_faults { (EXPIRY_SECONDS, 500) } else { (NEVER, 5_000) };
        let mut fleet = Self {
            world: World::on(storage, PARTITIONS).await,
            folder: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            seed,
            random: StdRng::seed_from_u64(seed),
            published: vec![Vec::new(); PARTITIONS],
            instances: Vec::new(),
            started: 0,
            expiry_seconds,
            interval_ms,
            has_faults,
        };
        for _ in 0..INSTANCES {
            fleet.start();
        }
        fleet
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("record.jsonl")
    }

    fn start(&mut self) {
        self.started += 1;
        let mut command = self.world.consumer(HANDLER, self.expiry_seconds, 1);
        command
            .env("INSTANCE", self.started.to_string())
            .env("INTERVAL_MS", self.interval_ms.to_string())
            .env("RECORD", self.record())
            .env("FOLDER", self.folder.path());
        if self.has_faults {
            command.env("FAULTS", (self.seed + self.started).to_string());
        }
        self.instances.push(Consumer::start(&mut command));
    }

    /// Publishes the events of a round, of which some fail with each attempt.
    fn publish(&mut self) {
        let mut events = vec![Vec::new(); PARTITIONS];
        for _ in 0..EVENTS_PER_ROUND {
            let partition = self.random.random_range(0..PARTITIONS);
            let key = self.random.random_range(0..KEYS);
            let is_poison = self.has_faults && self.random.random_ratio(1, 200);
            let word = if is_poison { "poison" } else { "event" };
            let body = format!(
                "{word} {} {}",
                self.random.random::<u64>(),
                "x".repeat(self.random.random_range(0..500))
            );
            self.published[partition].push(Sent { key, body: digest(body.as_bytes()) });
            events[partition].push(EventData::new(body).partition_key(key.to_string()));
        }
        for (partition, events) in events.into_iter().enumerate() {
            self.world.emulator.publish_to(HUB, &partition.to_string(), events).unwrap();
        }
    }

    async fn stop(&mut self, instance: usize) {
        let instance = self.instances.remove(instance);
        // Before, the signal would be a kill.
        instance.until("it hears of signals", |said| said.other.iter().any(|line| line == "ready")).await;
        instance.stop().await;
    }

    async fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Kill => {
                let victim = self.random.random_range(0..INSTANCES);
                self.instances.remove(victim).kill().await;
                self.start();
            }
            Trouble::Stop => {
                let victim = self.random.random_range(0..INSTANCES);
                self.stop(victim).await;
                self.start();
            }
            Trouble::DropConnections => drop(self.world.emulator.drop_connections()),
            Trouble::DetachLinks => {
                self.world.emulator.detach_links(HUB, "amqp:link:detach-forced", "moved");
            }
            Trouble::StoreOutage => {
                self.world.storage.interrupt().await;
                sleep(Duration::from_millis(self.random.random_range(100..1_500))).await;
                self.world.storage.restore().await;
            }
        }
    }

    fn findings(&self) -> Findings {
        let lines = read_lines(self.record()).unwrap_or_default();
        check(&self.published, &lines, &self.letters())
    }

    fn letters(&self) -> Vec<Letter> {
        let paths =
            (1..=self.started).map(|instance| self.folder.path().join(format!("letters-{instance}.jsonl")));
        let letters = paths.filter_map(|path| FileDeadLetters::read(path).ok()).flatten().map(|letter| {
            let letter = letter.unwrap();
            Letter {
                partition: letter.partition().as_str().parse().unwrap(),
                number: usize::try_from(letter.sequence_number().value()).unwrap(),
                body: digest(&letter.event().body.bytes().unwrap()),
            }
        });
        letters.collect()
    }

    /// Waits until nothing is lost, stops all instances, and returns what is found then.
    async fn finish(mut self) -> Findings {
        let said = || self.instances.iter().map(|instance| instance.said().other).collect::<Vec<_>>();
        let left = Cell::new(usize::MAX);
        // On a busy machine all that is left takes longer than one wait may, but it must be less and less.
        while left.get() > 0 {
            let before = left.get();
            let is_less = async || {
                // To read a long record each few milliseconds would hold up those that write it.
                sleep(Duration::from_millis(300)).await;
                let broken = self.findings().broken;
                left.set(broken.iter().filter(|broken| broken.promise == Promise::NoneLost).count());
                left.get() < before
            };
            until_async(seeing(format!("less than {before} events left"), said), is_less).await;
        }
        while !self.instances.is_empty() {
            self.stop(0).await;
        }
        let findings = self.findings();
        if !findings.broken.is_empty() {
            println!("the record is kept: {}", self.folder.keep().display());
        }
        findings
    }
}

/// Plays the rounds, each with a trouble at a random moment of the work.
async fn promises_hold_in_any_trouble(storage: Storage) {
    let (rounds, seed) = (number(ROUNDS, 12), number(SEED, 1));
    let limit = 2 * PATIENCE + Duration::from_secs(20) * u32::try_from(rounds).unwrap();
    let findings = within(limit, async {
        let mut fleet = Fleet::new(storage, seed, true).await;
        for round in 0..usize::try_from(rounds).unwrap() {
            fleet.publish();
            // A trouble at any moment of the work is what is tested, so this is a time and no condition.
            sleep(Duration::from_millis(fleet.random.random_range(100..1_000))).await;
            // Each of them, also in a short run.
            let of =
                if round < TROUBLES.len() { round } else { fleet.random.random_range(0..TROUBLES.len()) };
            fleet.suffer(TROUBLES[of]).await;
        }
        fleet.finish().await
    })
    .await;
    println!("{findings:?}");
    assert_eq!(findings.broken, []);
    assert!(findings.failed > 0 && findings.dead_lettered > 0, "there were faults: {findings:?}");
}

/// Every instance is replaced, ten times in a row.
async fn deploys_in_a_row_repeat_nothing(storage: Storage) {
    let findings = within(4 * PATIENCE, async {
        let mut fleet = Fleet::new(storage, number(SEED, 1), false).await;
        fleet.world.until_shared(&[5, 5, 6]).await;
        for _ in 0..DEPLOYS * INSTANCES {
            fleet.publish();
            fleet.start();
            fleet.stop(0).await;
        }
        fleet.finish().await
    })
    .await;
    println!("{findings:?}");
    assert_eq!((findings.repeated, findings.broken), (0, vec![]));
    assert!(
        findings.openings > DEPLOYS * PARTITIONS,
        "each deploy moves the partitions: {}",
        findings.openings
    );
}

mod blob {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn promises_hold_in_any_trouble() {
        super::promises_hold_in_any_trouble(Storage::new_blob().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ten_deploys_in_a_row_repeat_nothing() {
        deploys_in_a_row_repeat_nothing(Storage::new_blob().await).await;
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn promises_hold_in_any_trouble() {
        super::promises_hold_in_any_trouble(Storage::new_sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ten_deploys_in_a_row_repeat_nothing() {
        deploys_in_a_row_repeat_nothing(Storage::new_sqlite()).await;
    }
}
