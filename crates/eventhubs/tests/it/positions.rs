//! Where reading starts and resumes: no event after the starting position is skipped, and none comes twice
//! without need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use eventhubs::receive::{Events, Receive};
use eventhubs::{
    CheckpointStore, ConsumerClient, ConsumerScope, InvalidPosition, MemoryCheckpointStore, Offset,
    PartitionId, RetryPolicy, SequenceNumber, StartingPosition,
};
use eventhubs_checkpoint_store::{Checkpoint, Expected};
use eventhubs_emulator::{Emulator, RequestKind, Verdict};

use crate::faulty_store::{Fault, FaultyStore};
use crate::log::Log;
use crate::support::{
    HUB, Seen, body, checkpointing, client, client_on, emulator, publish_to, recording, recording_errors,
    restarting, start, within,
};

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
        let running = start(
            client(&emulator)
                .receive(recording(&seen))
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
                .on_failure(restarting())
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
            assert_eq!(seen.all(), expected, "the second run continues after the checkpoint");
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
    ConsumerScope::new(
        emulator.address().ip().to_string().parse().unwrap(),
        HUB.parse().unwrap(),
        "$Default".parse().unwrap(),
    )
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
                .receive(recording(&log))
                .on_error(recording_errors(&errors)),
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
                .on_error(recording_errors(&errors)),
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
async fn a_checkpoint_is_given_up_only_once_reading_begins_elsewhere() {
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
                .receive(recording(&log))
                .starting_position(StartingPosition::Latest)
                .on_invalid_position(InvalidPosition::Earliest)
                .on_error(recording_errors(&errors)),
        );
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(seen.all(), ["InvalidPosition", "QuotaExceeded", "InvalidPosition", "a", "b"]);
    })
    .await;
}

/// A client whose lease is short, so that an outage of the store soon takes its partitions.
fn brief(emulator: &Emulator, store: &Arc<impl CheckpointStore>) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .load_balancing_interval(Duration::from_millis(200))
        .partition_ownership_expiration_interval(Duration::from_millis(600))
        .retry(RetryPolicy::fixed(Duration::from_millis(20)))
        .build()
        .unwrap()
}

/// Notes what is read and what becomes of the partitions, and writes no checkpoint.
pub(crate) fn watching(client: &ConsumerClient, seen: &Seen) -> Receive<Events> {
    let (opened, closed, failed) = (seen.clone(), seen.clone(), seen.clone());
    client
        .receive(recording(seen))
        .on_partition_initialize(move |context| {
            opened.push(format!("open {}", context.partition_id()));
            async { Ok(()) }
        })
        .on_partition_close(move |_, reason| {
            closed.push(format!("{reason:?}"));
            async {}
        })
        .on_error(move |context, error| {
            if context.is_some() {
                failed.push(format!("{:?}", error.kind()));
            }
            async {}
        })
}

#[tokio::test]
async fn latest_skips_nothing_when_a_lost_partition_comes_back() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["old"]);
        let (store, seen) = (Arc::new(FaultyStore::default()), Seen::default());
        let running = start(watching(&brief(&emulator, &store), &seen));
        seen.until_contains("open 0").await;
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a").await;
        store.set(Fault::Away);
        seen.until_contains("OwnershipLost").await;
        publish_to(&emulator, "0", &["b"]);
        store.set(Fault::Nothing);
        seen.until_contains("b").await;
        running.stop().await;
        assert!(!seen.contains("old"), "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn latest_skips_nothing_when_a_partition_without_checkpoint_moves() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["old"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let first = start(watching(&client_on(&emulator, Arc::clone(&store)), &seen));
        seen.until_contains("open 0").await;
        first.stop().await;
        publish_to(&emulator, "0", &["a"]);
        let second = start(watching(&client_on(&emulator, store), &seen));
        seen.until_contains("a").await;
        second.stop().await;
        assert!(!seen.contains("old"), "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_appears_is_read_from_its_beginning() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["old"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let running = start(watching(&brief(&emulator, &store), &seen));
        seen.until_contains("open 0").await;
        emulator.grow_event_hub(HUB, 2).unwrap();
        publish_to(&emulator, "1", &["first"]);
        seen.until_contains("open 1").await;
        seen.until_contains("first").await;
        running.stop().await;
        assert!(!seen.contains("old"), "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn a_receive_failure_repeats_no_event() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (MemoryCheckpointStore::new(), Seen::default());
        let receive = watching(&client_on(&emulator, store), &seen);
        let running = start(receive.starting_position(StartingPosition::Earliest));
        seen.until_contains("b").await;
        // Such a detach is not retried by the receiver: the partition is closed and opened again.
        emulator.detach_links(HUB, "amqp:not-allowed", "a test");
        seen.until_contains("ReceiveFailed").await;
        publish_to(&emulator, "0", &["c"]);
        seen.until_contains("c").await;
        running.stop().await;
        let events: Vec<_> = seen.all().into_iter().filter(|seen| seen.len() == 1).collect();
        assert_eq!(events, ["a", "b", "c"]);
    })
    .await;
}

async fn store_with(
    emulator: &Emulator,
    offset: Option<&str>,
    number: Option<i64>,
) -> Arc<MemoryCheckpointStore> {
    let store = Arc::new(MemoryCheckpointStore::new());
    let checkpoint =
        Checkpoint::new(partition("0"), offset.map(Offset::from), number.map(SequenceNumber::new));
    store.update_checkpoint(&scope(emulator), &checkpoint, &Expected::Absent).await.unwrap();
    store
}

#[tokio::test]
async fn a_damaged_checkpoint_is_reported_and_nothing_is_skipped() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let (store, seen) = (store_with(&emulator, None, None).await, Seen::default());
        let running = start(watching(&client_on(&emulator, Arc::clone(&store)), &seen));
        seen.until_count(2).await;
        running.stop().await;
        assert!(seen.all().iter().all(|seen| seen == "InvalidPosition"), "{:?}", seen.all());

        let seen = Seen::default();
        let receive = watching(&client_on(&emulator, store), &seen);
        let running = start(receive.on_invalid_position(InvalidPosition::Earliest));
        seen.until_contains("a").await;
        running.stop().await;
        assert_eq!(seen.all()[..3], ["InvalidPosition", "open 0", "a"], "{:?}", seen.all());
    })
    .await;
}

/// The offsets of all events of partition 0.
async fn offsets(emulator: &Emulator, count: usize) -> Vec<String> {
    let seen = Seen::default();
    let log = seen.clone();
    let receive = client(emulator).receive(move |_, event| {
        log.push(event.offset().to_string());
        async { Ok(()) }
    });
    let running = start(receive.starting_position(StartingPosition::Earliest));
    seen.until_count(count).await;
    running.stop().await;
    seen.all()
}

#[tokio::test]
async fn an_offset_ahead_of_its_sequence_number_skips_nothing() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c", "d"]);
        let offsets = offsets(&emulator, 4).await;
        let store = store_with(&emulator, Some(&offsets[2]), Some(0)).await;
        let seen = Seen::default();
        let running = start(watching(&client_on(&emulator, store), &seen));
        seen.until_contains("d").await;
        running.stop().await;
        let expected = ["open 0", "ReceiveFailed", "open 0", "InvalidPosition", "b", "c", "d"];
        assert_eq!(seen.all()[..7], expected, "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn events_that_expired_after_the_checkpoint_are_a_warning() {
    within(async {
        let log = Log::record();
        let emulator = Emulator::builder().event_hub(HUB, 1).retention(2, u64::MAX).start().await.unwrap();
        publish_to(&emulator, "0", &["a", "b", "c", "d"]);
        let (store, seen) = (store_with(&emulator, Some("0"), Some(0)).await, Seen::default());
        let running = start(watching(&client_on(&emulator, store), &seen));
        seen.until_contains("d").await;
        running.stop().await;
        log.until(&["WARN", "events after the checkpoint are gone", "checkpoint=0 first=2"]).await;
        assert!(!seen.contains("InvalidPosition"), "{:?}", seen.all());
    })
    .await;
}

/// What was found about one checkpoint says nothing about the next one.
#[tokio::test]
async fn a_good_checkpoint_after_a_gap_is_not_reported() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, 1).retention(2, u64::MAX).start().await.unwrap();
        publish_to(&emulator, "0", &["a", "b", "c", "d"]);
        let (store, seen) = (store_with(&emulator, Some("0"), Some(0)).await, Seen::default());
        let (log, failed) = (seen.clone(), seen.clone());
        let receive = client_on(&emulator, store).receive(move |context, event| {
            let log = log.clone();
            async move {
                let body = body(&event);
                log.push(&body);
                match (&*body, log.contains("Handler")) {
                    ("d", false) => Err("once".into()),
                    _ => context.update_checkpoint(&event).await.map(drop).map_err(Into::into),
                }
            }
        });
        let receive = receive.on_error(recording_errors(&failed));
        let running = start(receive);
        seen.until_count(4).await;
        running.stop().await;
        assert_eq!(seen.all(), ["c", "d", "Handler", "d"]);
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_without_a_sequence_number_is_used_with_a_warning() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let offsets = offsets(&emulator, 2).await;
        let (store, seen) = (store_with(&emulator, Some(&offsets[0]), None).await, Seen::default());
        let running = start(watching(&client_on(&emulator, store), &seen));
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(seen.all()[..2], ["open 0", "b"]);
        log.until(&["WARN", "the checkpoint has no sequence number; its offset is used"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_of_another_life_of_the_hub_is_reported_and_replaced() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (store_with(&emulator, Some("-1"), Some(5000)).await, Seen::default());
        let receive = checkpointing(&client_on(&emulator, Arc::clone(&store)), &seen);
        // Not the starting position: it is the checkpoint that is given up.
        let running =
            start(receive.starting_position(StartingPosition::Latest).on_error(recording_errors(&seen)));
        seen.until_count(3).await;
        running.stop().await;
        assert_eq!(seen.all(), ["InvalidPosition", "a Written", "b Written"]);
        let kept = store.checkpoint(&scope(&emulator), &partition("0")).await.unwrap().unwrap();
        assert_eq!(kept.sequence_number, Some(1.into()));
    })
    .await;
}

#[tokio::test]
async fn a_start_by_time_skips_nothing_after_a_fail_over() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let log = seen.clone();
        let client = client_on(&emulator, Arc::clone(&store));
        let running = start(
            client
                .receive(move |context, event| {
                    let log = log.clone();
                    async move {
                        context.update_checkpoint(&event).await?;
                        log.push(body(&event));
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_contains("b").await;
        running.stop().await;
        publish_to(&emulator, "0", &["c"]);
        emulator.fail_over(HUB).unwrap();
        emulator.advance_clock(Duration::from_secs(60));
        publish_to(&emulator, "0", &["d"]);
        let seen = Seen::default();
        let receive = watching(&client, &seen);
        // As a program that computes it at each start does.
        let now = emulator.partition(HUB, "0").unwrap().last_enqueued_time.unwrap();
        let running = start(receive.starting_position(StartingPosition::from_enqueued_time(now)));
        seen.until_contains("d").await;
        running.stop().await;
        assert_eq!(seen.all()[..4], ["InvalidPosition", "open 0", "c", "d"], "{:?}", seen.all());
    })
    .await;
}
