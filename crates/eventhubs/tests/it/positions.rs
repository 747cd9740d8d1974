use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use eventhubs::{
    CheckpointStore, ConsumerScope, InvalidPosition, MemoryCheckpointStore, PartitionId, StartingPosition,
};
use eventhubs_checkpoint_store::{Checkpoint, Expected};
use eventhubs_emulator::{Emulator, RequestKind, Verdict};

use crate::support::{HUB, Seen, body, client, client_on, emulator, publish_to, start, within};

fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

#[tokio::test]
async fn a_partition_can_have_a_starting_position_of_its_own() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        publish_to(&emulator, "1", &["d", "e", "f"]);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(
            client(&emulator)
                .receive(move |_, event| {
                    log.push(body(&event));
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .starting_position_of(partition("1"), StartingPosition::from_sequence_number(2)),
        );
        seen.until_count(4).await;
        running.stop().await;
        let mut all = seen.all();
        all.sort();
        assert_eq!(all, ["a", "b", "c", "f"]);
    })
    .await;
}

#[tokio::test]
async fn latest_without_a_checkpoint_skips_nothing_after_a_failure() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["old"]);
        let seen = Seen::default();
        let (log, initialize) = (seen.clone(), seen.clone());
        let failed = Arc::new(AtomicBool::new(false));
        let running = start(
            client(&emulator)
                .receive(move |_, event| {
                    log.push(body(&event));
                    let fails = !failed.swap(true, Ordering::Relaxed);
                    async move { if fails { Err("the first call fails".into()) } else { Ok(()) } }
                })
                .on_partition_initialize(move |_| {
                    initialize.push("initialize");
                    async { Ok(()) }
                }),
        );
        seen.until_contains("initialize").await;
        publish_to(&emulator, "0", &["a", "b"]);
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(seen.all(), ["initialize", "a", "initialize", "a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn one_partition_can_be_read_alone() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        publish_to(&emulator, "1", &["b"]);
        let seen = Seen::default();
        let client = client(&emulator);
        for expected in [["b"].as_slice(), ["b", "c"].as_slice()] {
            let log = seen.clone();
            let running = start(
                client
                    .receive(move |context, event| {
                        log.push(body(&event));
                        async move {
                            context.update_checkpoint(&event).await?;
                            Ok(())
                        }
                    })
                    .starting_position(StartingPosition::Earliest)
                    .partition_id(partition("1")),
            );
            seen.until_count(expected.len()).await;
            running.stop().await;
            assert_eq!(seen.all(), expected, "the second run goes on behind the checkpoint");
            publish_to(&emulator, "1", &["c"]);
        }
    })
    .await;
}

/// A store in which the partition is checkpointed far ahead of what the hub holds.
async fn ahead(emulator: &Emulator) -> Arc<MemoryCheckpointStore> {
    let store = Arc::new(MemoryCheckpointStore::new());
    let checkpoint = Checkpoint::new(partition("0"), Some("999999".into()), Some(999_999.into()));
    store.update_checkpoint(&scope(emulator), &checkpoint, &Expected::Absent).await.unwrap();
    store
}

fn scope(emulator: &Emulator) -> ConsumerScope {
    ConsumerScope {
        namespace: emulator.address().ip().to_string().parse().unwrap(),
        event_hub: HUB.parse().unwrap(),
        consumer_group: "$Default".parse().unwrap(),
    }
}

/// Contract §8.9.
#[tokio::test]
async fn a_checkpoint_that_the_hub_does_not_know_is_reported_and_left_alone() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let (store, seen) = (ahead(&emulator).await, Seen::default());
        let (log, errors) = (seen.clone(), seen.clone());
        let running = start(
            client_on(&emulator, Arc::clone(&store))
                .receive(move |_, event| {
                    log.push(body(&event));
                    async { Ok(()) }
                })
                .on_error(move |_, error| {
                    errors.push(format!("{:?}", error.kind()));
                    async {}
                }),
        );
        seen.until_count(2).await;
        running.stop().await;
        assert!(seen.all().iter().all(|seen| seen == "InvalidPosition"), "{:?}", seen.all());
        let kept = store.checkpoint(&scope(&emulator), &partition("0")).await.unwrap().unwrap();
        assert_eq!(kept.sequence_number, Some(999_999.into()));
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_that_the_hub_does_not_know_can_be_given_up_and_replaced() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (ahead(&emulator).await, Seen::default());
        let (log, errors) = (seen.clone(), seen.clone());
        let failed = Arc::new(AtomicBool::new(false));
        let running = start(
            client_on(&emulator, Arc::clone(&store))
                .receive(move |context, event| {
                    log.push(body(&event));
                    let fails = !failed.swap(true, Ordering::Relaxed);
                    async move {
                        if fails {
                            return Err("the first call fails".into());
                        }
                        context.update_checkpoint(&event).await?;
                        Ok(())
                    }
                })
                .on_invalid_position(InvalidPosition::Earliest)
                .on_error(move |_, error| {
                    errors.push(format!("{:?}", error.kind()));
                    async {}
                }),
        );
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(
            seen.all(),
            ["InvalidPosition", "a", "Handler", "a", "b"],
            "the position is given up once"
        );
        let kept = store.checkpoint(&scope(&emulator), &partition("0")).await.unwrap().unwrap();
        assert_eq!(kept.sequence_number, Some(1.into()));
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_is_given_up_only_once_the_partition_is_read_from_elsewhere() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (ahead(&emulator).await, Seen::default());
        let (log, errors) = (seen.clone(), seen.clone());
        // The second link would be the one at the earliest event.
        let links = AtomicUsize::new(0);
        emulator.intercept(move |request| {
            let reads = request.kind == RequestKind::Attach && request.address.contains("Partitions");
            if !reads || links.fetch_add(1, Ordering::Relaxed) != 1 {
                return Verdict::Pass;
            }
            let (condition, description) = ("amqp:resource-limit-exceeded".into(), "full".into());
            Verdict::Refuse { condition, description }
        });
        let running = start(
            client_on(&emulator, store)
                .receive(move |_, event| {
                    log.push(body(&event));
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Latest)
                .on_invalid_position(InvalidPosition::Earliest)
                .on_error(move |_, error| {
                    errors.push(format!("{:?}", error.kind()));
                    async {}
                }),
        );
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(seen.all(), ["InvalidPosition", "QuotaExceeded", "InvalidPosition", "a", "b"]);
    })
    .await;
}
