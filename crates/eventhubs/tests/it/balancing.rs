//! Instances share the partitions out fairly, and a stop gives them back at once.

use std::sync::Arc;

use eventhubs::{ConsumerClient, ErrorKind, MemoryCheckpointStore, StartingPosition};
use eventhubs_emulator::{RequestKind, Verdict};
use tokio::sync::Semaphore;

use crate::log::Log;
use crate::support::{
    HUB, Running, Seen, body, client, client_on, emulator, publish_to, record, recording, start, until,
    within,
};

/// An instance that says what becomes of its partitions, and which events it gets.
fn instance(client: &ConsumerClient, seen: &Seen) -> Running {
    let (event, initialize, close) = (seen.clone(), seen.clone(), seen.clone());
    start(
        client
            .receive(move |context, received| {
                event.push(body(&received));
                async move {
                    context.update_checkpoint(&received).await?;
                    Ok(())
                }
            })
            .starting_position(StartingPosition::Earliest)
            .on_partition_initialize(move |context| {
                initialize.push(format!("initialize {}", context.partition_id()));
                async { Ok(()) }
            })
            .on_partition_close(move |context, reason| {
                close.push(format!("close {} {reason:?}", context.partition_id()));
                async {}
            }),
    )
}

fn open(seen: &Seen) -> usize {
    let count = |word: &str| seen.all().iter().filter(|text| text.starts_with(word)).count();
    count("initialize") - count("close")
}

#[tokio::test]
async fn two_instances_share_evenly_and_one_takes_over_what_the_other_leaves() {
    within(async {
        let emulator = emulator(8).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let (first, second) = (Seen::default(), Seen::default());
        let clients = [client_on(&emulator, Arc::clone(&store)), client_on(&emulator, store)];
        let leaver = instance(&clients[0], &first);
        until("the first reads all", || open(&first) == 8).await;
        let stayer = instance(&clients[1], &second);
        until("each reads four", || open(&first) == 4 && open(&second) == 4).await;
        assert_eq!(first.all().iter().filter(|text| text.starts_with("close")).count(), 4);

        leaver.stop().await;
        until("the second reads all", || open(&second) == 8).await;
        emulator.publish(HUB, (0..16).map(|n| n.to_string())).unwrap();
        second.until_contains("15").await;
        stayer.stop().await;
        assert!(emulator.receivers(HUB).unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_another_reader_steals_is_closed_and_the_rest_go_on() {
    within(async {
        let emulator = emulator(2).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let seen = Seen::default();
        let ours = client_on(&emulator, Arc::clone(&store));
        let running = instance(&ours, &seen);
        until("both are read", || open(&seen) == 2).await;

        let other = client_on(&emulator, MemoryCheckpointStore::new());
        let stealing =
            other.receive(|_, _| async { Ok(()) }).partition_id("0".parse().unwrap()).owner_level(7);
        let thief = start(stealing);
        seen.until_contains("close 0 OwnershipLost").await;
        publish_to(&emulator, "1", &["a"]);
        seen.until_contains("a").await;
        thief.stop().await;
        until("both are read", || open(&seen) == 2).await;
        running.stop().await;
    })
    .await;
}

/// All links are in one connection. What becomes of one of them is no reason to attach the others again.
#[tokio::test]
async fn a_link_that_is_lost_leaves_the_links_of_other_partitions_alone() {
    within(async {
        let (emulator, seen) = (emulator(2).await, Seen::default());
        let ours = client_on(&emulator, MemoryCheckpointStore::new());
        let running = instance(&ours, &seen);
        until("both are read", || open(&seen) == 2).await;
        let attached = seen.clone();
        emulator.intercept(move |request| {
            if request.kind == RequestKind::Attach && request.address.contains("Partitions") {
                attached.push(format!("attach {}", request.address));
            }
            Verdict::Pass
        });

        let other = client_on(&emulator, MemoryCheckpointStore::new());
        let stealing = other.receive(|_, _| async { Ok(()) }).partition_id("0".parse().unwrap());
        let thief = start(stealing.owner_level(7));
        seen.until_contains("close 0 OwnershipLost").await;
        publish_to(&emulator, "1", &["a"]);
        seen.until_contains("a").await;
        thief.stop().await;
        until("both are read", || open(&seen) == 2).await;
        running.stop().await;
        let ends_in =
            |partition| move |text: &String| text.starts_with("attach") && text.ends_with(partition);
        assert!(seen.all().iter().any(ends_in("/0")), "{:?}", seen.all());
        assert!(!seen.all().iter().any(ends_in("/1")), "{:?}", seen.all());
        assert_eq!(seen.all().iter().filter(|text| text.starts_with("close 1")).count(), 1, "at the stop");
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_one_partition_that_is_stolen_ends() {
    within(async {
        let emulator = emulator(1).await;
        let client = || client_on(&emulator, MemoryCheckpointStore::new());
        let seen = Seen::default();
        let log = seen.clone();
        let victim = client()
            .receive(|_, _| async { Ok(()) })
            .partition_id("0".parse().unwrap())
            .owner_level(1)
            .on_partition_initialize(move |_| {
                log.push("initialize");
                async { Ok(()) }
            });
        let victim = tokio::spawn(victim.into_future());
        seen.until_count(1).await;
        let thief =
            client().receive(|_, _| async { Ok(()) }).partition_id("0".parse().unwrap()).owner_level(1);
        let thief = start(thief);
        let error = victim.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnershipLost);
        thief.stop().await;
    })
    .await;
}

/// Contract §5.3, with a slow callback and hundreds of events received ahead.
#[tokio::test]
async fn the_loser_of_a_partition_handles_no_event_after_the_one_that_it_is_at() {
    within(async {
        let emulator = emulator(1).await;
        emulator.publish(HUB, (0..300).map(|n| n.to_string())).unwrap();
        let reader = |seen: &Seen, gate: &Arc<Semaphore>| {
            let (seen, gate) = (seen.clone(), Arc::clone(gate));
            client_on(&emulator, MemoryCheckpointStore::new())
                .receive(move |_, event| {
                    seen.push(body(&event));
                    let gate = Arc::clone(&gate);
                    async move {
                        gate.acquire().await.unwrap().forget();
                        Ok(())
                    }
                })
                .partition_id("0".parse().unwrap())
                .owner_level(1)
                .prefetch(300)
                .starting_position(StartingPosition::Earliest)
        };
        let (slow, fast) = (Seen::default(), Seen::default());
        let gate = Arc::new(Semaphore::new(0));
        let victim = tokio::spawn(reader(&slow, &gate).into_future());
        slow.until_count(1).await;
        let thief = start(reader(&fast, &Arc::new(Semaphore::new(300))));
        fast.until_count(300).await;
        gate.add_permits(300);
        let error = victim.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnershipLost);
        assert_eq!(slow.all(), ["0"]);
        thief.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_its_leases() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let seen = Seen::default();
        let client = client_on(&emulator, Arc::clone(&store));
        let log = seen.clone();
        let receive = client.receive(|_, _| async { Ok(()) }).on_partition_initialize(move |_| {
            log.push("initialize");
            async { Ok(()) }
        });
        let task = tokio::spawn(receive.into_future());
        seen.until_count(1).await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());

        assert_eq!(record(&store, "0").await.unwrap().owner.as_ref(), Some(client.owner_id()));
        start(client.receive(|_, _| async { Ok(()) })).stop().await;
    })
    .await;
}

/// The whole fleet would miss what it held: its leases were renewed, and nothing read.
#[tokio::test]
async fn a_run_whose_client_is_closed_ends_and_its_partitions_are_free() {
    within(async {
        let emulator = emulator(2).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let client = client_on(&emulator, Arc::clone(&store));
        let seen = Seen::default();
        let log = seen.clone();
        let receive = client.receive(|_, _| async { Ok(()) }).on_partition_initialize(move |_| {
            log.push("initialize");
            async { Ok(()) }
        });
        let run = tokio::spawn(receive.into_future());
        seen.until_count(2).await;
        client.close().await;
        assert_eq!(run.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        for partition in ["0", "1"] {
            assert_eq!(record(&store, partition).await.unwrap().owner, None);
        }
    })
    .await;
}

#[tokio::test]
async fn instances_without_a_shared_store_are_warned_and_back_off() {
    const EVENTS: usize = 40;
    within(async {
        let log = Log::record();
        let emulator = emulator(2).await;
        emulator.publish(HUB, ["event"; EVENTS]).unwrap();
        let seen = Seen::default();
        let runs = [client(&emulator), client(&emulator)].map(|client| {
            let events = seen.clone();
            let receive = client.receive(recording(&events));
            start(receive.starting_position(StartingPosition::Earliest))
        });
        log.until(&["WARN", "is the store shared by all instances"]).await;
        // By now each has read all of it, and had it taken away twice.
        assert!(seen.count() <= EVENTS * 8, "{} calls for {EVENTS} events", seen.count());
        for run in runs {
            run.stop().await;
        }
    })
    .await;
}
