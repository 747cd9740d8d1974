//! The log tells who has what, why, and since when.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventhubs::{CheckpointStore as _, ConsumerClient, MemoryCheckpointStore, OwnerId, StartingPosition};
use eventhubs_emulator::Emulator;

use crate::faulty_store::{Fault, FaultyStore};
use crate::log::Log;
use crate::support::{
    HUB, Seen, client, client_on, emulator, publish_to, recording, restarting, scope, seeing, start, until,
    within,
};

fn named(emulator: &Emulator, store: &Arc<MemoryCheckpointStore>, owner: &str) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .owner_id(OwnerId::new(owner).unwrap())
        .load_balancing_interval(std::time::Duration::from_millis(200))
        .build()
        .unwrap()
}

#[tokio::test]
async fn each_move_of_a_partition_names_both_owners_and_the_reason() {
    within(async {
        let log = Log::record();
        let emulator = emulator(2).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let reading = |client: &ConsumerClient| start(client.receive(|_, _| async { Ok(()) }));
        let first = reading(&named(&emulator, &store, "first"));
        let acquired = log.until(&["partition acquired", "nobody owned it"]).await;
        for part in ["INFO", "event_hub=orders", "consumer_group=$Default", "owner=first"] {
            assert!(acquired.contains(part), "{part}: {acquired}");
        }

        let second = reading(&named(&emulator, &store, "second"));
        log.until(&["INFO", "partition handed over", "owner=first", "to=second", "after="]).await;
        log.until(&["partition acquired", "owner=second", "from=first", "first had more than its share"])
            .await;
        second.stop().await;
        log.until(&["owner=second", "stopping: other instances may take the partitions first"]).await;
        log.until(&["partition acquired", "owner=first", "second offered it"]).await;
        first.stop().await;
    })
    .await;
}

/// The value of a field of a line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!("{name}="))?;
    value.split([' ', '}']).next()
}

/// A move of a partition: which, from whom, and to whom.
type Move = [String; 3];

/// The moves that lines of this text tell, in their order.
fn moves(log: &Log, text: &str, [from, to]: [&str; 2]) -> Vec<Move> {
    let moved = |line: &String| {
        let names = ["partition", from, to].map(|name| field(line, name).map(str::to_owned));
        let [Some(partition), Some(from), Some(to)] = names else { return None };
        Some([partition, from, to])
    };
    log.lines(&["INFO", text]).iter().filter_map(moved).collect()
}

/// How many partitions each owner has.
async fn shares(store: &MemoryCheckpointStore) -> BTreeMap<OwnerId, usize> {
    let mut shares = BTreeMap::new();
    for owner in
        store.list_ownership(&scope()).await.unwrap().records.into_iter().filter_map(|record| record.owner)
    {
        *shares.entry(owner).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn a_rolling_deploy_logs_each_move_once_on_either_side() {
    const OLD: [&str; 3] = ["old-1", "old-2", "old-3"];
    const NEW: [&str; 3] = ["new-1", "new-2", "new-3"];
    within(async {
        let log = Log::record();
        let emulator = emulator(6).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let reading = |owner| start(named(&emulator, &store, owner).receive(|_, _| async { Ok(()) }));
        let until_shared = async |owners: [&str; 3]| {
            let expected = owners.map(|owner| (OwnerId::new(owner).unwrap(), 2)).into();
            eventhubs_test_harness::until_async(format!("two partitions each of {owners:?}"), async || {
                shares(&store).await == expected
            })
            .await;
        };
        let old = OLD.map(&reading);
        until_shared(OLD).await;
        let mut new = Vec::new();
        for (old, owner) in old.into_iter().zip(NEW) {
            new.push(reading(owner));
            old.stop().await;
        }
        until_shared(NEW).await;

        let acquired = || moves(&log, "partition acquired", ["from", "owner"]);
        let handed_over = || moves(&log, "partition handed over", ["owner", "to"]);
        let sorted = |mut moves: Vec<Move>| {
            moves.sort_unstable();
            moves
        };
        let are_equal = || sorted(acquired()) == sorted(handed_over());
        until(seeing("equal moves on both sides", || (acquired(), handed_over())), are_equal).await;
        // Each line continues where the one before it ended, so that none is missing and none is there twice.
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for line in log.lines(&["INFO", "nobody owned it"]) {
            let [partition, owner] =
                ["partition", "owner"].map(|name| field(&line, name).unwrap().to_owned());
            assert_eq!(owners.insert(partition, owner), None, "{line}");
        }
        assert_eq!(owners.len(), 6);
        for [partition, from, to] in acquired() {
            assert_eq!(
                owners.insert(partition.clone(), to),
                Some(from),
                "partition {partition}: {:#?}",
                acquired()
            );
        }
        assert!(owners.values().all(|owner| NEW.contains(&owner.as_str())), "{owners:?}");
        assert_eq!(log.lines(&["partition lost"]), Vec::<String>::new());
        for new in new {
            new.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn lines_of_callbacks_and_hooks_carry_their_partition() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let receive = client(&emulator).receive(|_, _| async {
            tracing::info!("line of the callback");
            Err("refused".into())
        });
        let receive = receive.on_partition_initialize(|_| async {
            tracing::info!("line of the initialize hook");
            Ok(())
        });
        let receive = receive.on_partition_close(|_, _| async { tracing::info!("line of the close hook") });
        let receive = receive.on_error(|_, _| async { tracing::info!("line of the error hook") });
        let running = start(receive.starting_position(StartingPosition::Earliest).on_failure(restarting()));
        for line in ["callback", "initialize hook", "close hook", "error hook"] {
            let line = log.until(&["partition{", &format!("line of the {line}")]).await;
            for part in ["event_hub=orders", "consumer_group=$Default", "owner=", "partition=0"] {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_callback_is_logged_with_the_event_and_the_reason() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let receive = client.receive(|_, _| async { Err("the database says no".into()) });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        for part in ["(attempt 1)", "(attempt 2)"] {
            log.until(&["WARN", "the callback at sequence number 0 failed", part, "the database says no"])
                .await;
        }
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn recovery_is_a_line_too() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let seen = Seen::default();
        let receive = client_on(&emulator, Arc::clone(&store)).receive(recording(&seen));
        let running = start(receive.starting_position(StartingPosition::Earliest));
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a").await;

        store.set(Fault::Away);
        log.until(&["WARN", "the store cannot be reached"]).await;
        store.set(Fault::Nothing);
        log.until(&["INFO", "the checkpoint store answers again"]).await;

        emulator.detach_links(HUB, "amqp:not-allowed", "a test");
        log.until(&["WARN", "partition=0", "amqp:not-allowed"]).await;
        log.until(&["INFO", "partition=0", "reading again"]).await;
        running.stop().await;
    })
    .await;
}
