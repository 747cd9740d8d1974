//! Runs that end by themselves, when their partitions are read up to a bound. Several instances: `bounded_fleet`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventhubs::receive::Events;
use eventhubs::{
    CheckpointPolicy, CheckpointStore, CloseReason, ConsumerClient, ErrorKind, MemoryCheckpointStore,
    Receive, ReceiveReport, SequenceNumber, StartingPosition, Until,
};
use eventhubs_emulator::Emulator;

use crate::faulty_store::{Fault, FaultyStore};
use crate::positions::watching;
use crate::support::{
    HUB, Seen, body, checkpointing, client, client_on, emulator, publish_to, record, recording,
    refuse_questions_about_partitions, restarting, scope, start, until, within,
};

fn events(seen: &Seen) -> Vec<String> {
    let mut events: Vec<_> = seen.all().into_iter().filter(|seen| seen.len() == 1).collect();
    events.sort();
    events
}

/// Notes events and what becomes of partitions, from the first event on.
fn reading(client: &ConsumerClient, seen: &Seen) -> Receive<Events> {
    watching(client, seen).starting_position(StartingPosition::Earliest)
}

async fn checkpoint(store: &impl CheckpointStore, partition: &str) -> Option<i64> {
    let checkpoint = store.checkpoint(&scope(), &partition.parse().unwrap()).await.unwrap();
    checkpoint.and_then(|checkpoint| checkpoint.sequence_number).map(SequenceNumber::value)
}

fn reasons(report: &ReceiveReport) -> Vec<Option<CloseReason>> {
    report.partitions.values().map(|partition| partition.closed).collect()
}

/// How often the service was asked about a partition.
fn questions(emulator: &Emulator, partition: &str) -> usize {
    let requests = emulator.requests();
    requests.iter().filter(|request| request.partition_id.as_deref() == Some(partition)).count()
}

#[tokio::test]
async fn a_run_until_now_handles_what_is_there_and_ends() {
    within(async {
        let emulator = Arc::new(emulator(3).await);
        publish_to(&emulator, "0", &["a", "b"]);
        publish_to(&emulator, "1", &["c"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let (log, hub) = (seen.clone(), Arc::clone(&emulator));
        let receive = client_on(&emulator, Arc::clone(&store)).receive(move |context, event| {
            log.push(body(&event));
            // It comes after the newest event that the run asked for.
            publish_to(&hub, context.partition_id().as_str(), &["late"]);
            async { Ok(()) }
        });
        let receive = receive.starting_position(StartingPosition::Earliest);
        let receive = receive.checkpoint(CheckpointPolicy::on_close_only()).until(Until::now());
        let report = receive.await.unwrap();
        assert_eq!(events(&seen), ["a", "b", "c"]);
        assert_eq!(seen.count(), 3, "{:?}", seen.all());
        assert_eq!(report.handled(), 3);
        assert!(report.is_complete());
        assert_eq!(reasons(&report), [Some(CloseReason::Bounded); 3]);
        for (partition, number) in [("0", Some(1)), ("1", Some(0)), ("2", None)] {
            assert_eq!(checkpoint(&*store, partition).await, number);
            assert_eq!(record(&*store, partition).await.unwrap().owner, None, "it is released");
        }
    })
    .await;
}

#[tokio::test]
async fn a_partition_at_its_bound_stays_owned_and_closed_until_all_are() {
    within(async {
        let emulator = emulator(3).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        publish_to(&emulator, "1", &["x"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let client = client_on(&emulator, Arc::clone(&store));
        let numbers = [("0".parse().unwrap(), 1.into()), ("2".parse().unwrap(), 0.into())];
        let bounded = reading(&client, &seen).until(Until::sequence_numbers(numbers));
        let running = tokio::spawn(bounded.into_future());
        seen.until_contains("Bounded").await;
        // Several rounds, which renew what is owned.
        seen.until_contains("open 2").await;
        let version = record(&*store, "0").await.unwrap().version;
        until("the next bound is waited for", || questions(&emulator, "2") > 0).await;
        assert_eq!(record(&*store, "0").await.unwrap().owner.as_ref(), Some(client.owner_id()));
        assert_eq!(record(&*store, "0").await.unwrap().version, version);
        publish_to(&emulator, "2", &["d", "e"]);
        let report = running.await.unwrap().unwrap();
        assert_eq!(events(&seen), ["a", "b", "d"]);
        assert!(!seen.contains("open 1"), "it has no number");
        assert_eq!(seen.all().iter().filter(|seen| *seen == "open 0").count(), 1);
        assert!(report.is_complete());
        assert_eq!(report.partitions.len(), 2);
    })
    .await;
}

/// The service is asked for the newest event once, however often the partition is opened.
#[tokio::test]
async fn the_newest_event_stays_the_bound_when_a_partition_is_opened_again() {
    within(async {
        let emulator = Arc::new(emulator(1).await);
        publish_to(&emulator, "0", &["a", "b"]);
        let (seen, hub) = (Seen::default(), Arc::clone(&emulator));
        let log = seen.clone();
        let receive = client(&emulator).receive(move |_, event| {
            let fails = log.count() == 1;
            log.push(body(&event));
            publish_to(&hub, "0", &["late"]);
            async move { if fails { Err("the first call with b".into()) } else { Ok(()) } }
        });
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(restarting());
        let report = receive.until(Until::now()).await.unwrap();
        assert_eq!(seen.all(), ["a", "b", "a", "b"]);
        assert!(report.is_complete());
    })
    .await;
}

#[tokio::test]
async fn a_run_until_a_time_ends_where_the_time_has_passed() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        publish_to(&emulator, "1", &["b"]);
        let client = client(&emulator);
        let newest = client.partition_properties(&"1".parse().unwrap()).await.unwrap();
        // A little later: one partition meets an event of after the time, the other one has to wait for it.
        let time = newest.last_enqueued_time.unwrap() + Duration::from_millis(300);
        emulator.advance_clock(Duration::from_secs(10));
        publish_to(&emulator, "0", &["c"]);
        let seen = Seen::default();
        let report = reading(&client, &seen).until(Until::time(time)).await.unwrap();
        assert_eq!(events(&seen), ["a", "b"]);
        assert!(report.is_complete());
        let report =
            reading(&client, &seen).until(Until::time(newest.last_enqueued_time.unwrap())).await.unwrap();
        assert!(report.is_complete());
        assert!(report.handled() < 2, "what was enqueued at the time is not before it");
    })
    .await;
}

#[tokio::test]
async fn an_idle_run_ends_only_when_the_service_has_nothing_more() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let seen = Seen::default();
        let bounded = reading(&client(&emulator), &seen).until(Until::idle(Duration::from_millis(100)));
        emulator.pause_deliveries(HUB).unwrap();
        publish_to(&emulator, "0", &["b"]);
        let running = tokio::spawn(bounded.into_future());
        until("the service was asked twice", || questions(&emulator, "0") >= 2).await;
        assert!(!running.is_finished());
        emulator.resume_deliveries(HUB).unwrap();
        assert!(running.await.unwrap().unwrap().is_complete());
        assert_eq!(events(&seen), ["a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_at_its_bound_from_the_beginning_ends_at_once() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let seen = Seen::default();
        assert_eq!(checkpointing(&client, &seen).until(Until::now()).await.unwrap().handled(), 2);
        for position in [
            StartingPosition::Latest,
            StartingPosition::from_sequence_number(2),
            StartingPosition::after_enqueued_time(std::time::SystemTime::UNIX_EPOCH + 50 * YEAR),
            StartingPosition::Earliest,
        ] {
            // With a checkpoint where there is one, and in another group without.
            let report = client.receive(recording(&seen)).starting_position(position.clone());
            let report = report.until(Until::now()).await.unwrap();
            assert_eq!((report.handled(), report.is_complete()), (0, true), "{position:?}");
        }
    })
    .await;
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[tokio::test]
async fn a_start_after_the_newest_event_is_at_the_bound() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let newest = client(&emulator).partition_properties(&"0".parse().unwrap()).await.unwrap();
        for position in [
            StartingPosition::Latest,
            StartingPosition::after_sequence_number(1),
            StartingPosition::after_offset(newest.last_enqueued_offset.unwrap()),
            StartingPosition::after_enqueued_time(newest.last_enqueued_time.unwrap()),
        ] {
            let seen = Seen::default();
            let receive = client(&emulator).receive(recording(&seen)).starting_position(position.clone());
            let report = receive.partition_id("0".parse().unwrap()).until(Until::now()).await.unwrap();
            assert_eq!((report.handled(), report.is_complete()), (0, true), "{position:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_partition_whose_events_have_all_expired_is_at_the_bound() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, 1).retention_time(Duration::from_secs(60));
        let emulator = emulator.start().await.unwrap();
        publish_to(&emulator, "0", &["a", "b"]);
        emulator.advance_clock(Duration::from_secs(120));
        let seen = Seen::default();
        let numbers = Until::sequence_numbers([("0".parse().unwrap(), 0.into())]);
        for bound in [Until::now(), numbers] {
            let report = reading(&client(&emulator), &seen).until(bound).await.unwrap();
            assert_eq!((report.handled(), report.is_complete()), (0, true));
        }
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_waits_to_be_fuller_is_handed_out_at_the_bound() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let seen = Seen::default();
        let log = seen.clone();
        let receive = client(&emulator).receive_batch(move |_, events| {
            log.push(events.iter().map(body).collect::<String>());
            async { Ok(()) }
        });
        let receive = receive.min_batch_size(100).max_wait_time(Duration::from_secs(3600));
        let receive =
            receive.starting_position(StartingPosition::Earliest).partition_id("0".parse().unwrap());
        let report = receive.until(Until::now()).await.unwrap();
        assert_eq!(seen.all().concat(), "abc");
        assert_eq!(report.handled(), 3);
    })
    .await;
}

#[tokio::test]
async fn calls_under_way_end_before_a_concurrent_run_does() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c", "d", "e", "f"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let (log, has_failed) = (seen.clone(), AtomicBool::new(false));
        let receive = client_on(&emulator, Arc::clone(&store)).receive(move |_, event| {
            let fails = body(&event) == "b" && !has_failed.swap(true, Ordering::Relaxed);
            let log = log.clone();
            async move {
                if fails {
                    return Err("the first call fails".into());
                }
                tokio::task::yield_now().await;
                log.push(body(&event));
                Ok(())
            }
        });
        let receive = receive.concurrency(3).keyed_by(|event| event.sequence_number().value() % 2);
        let receive = receive.starting_position(StartingPosition::Earliest).until(Until::now());
        let report = receive.await.unwrap();
        assert_eq!(events(&seen), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!((report.handled(), report.failed()), (6, 1));
        assert_eq!(checkpoint(&*store, "0").await, Some(5));
    })
    .await;
}

/// The checkpoint is what a bounded run is for, so it outlasts the limit of a stop.
#[tokio::test]
async fn a_bounded_run_waits_for_a_store_that_is_away() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (Arc::new(FaultyStore::default()), Seen::default());
        let (log, failing) = (seen.clone(), Arc::clone(&store));
        let receive = client_on(&emulator, Arc::clone(&store)).receive(move |context, event| {
            if body(&event) == "b" {
                failing.set(Fault::Away);
            }
            let log = log.clone();
            async move {
                let status = context.update_checkpoint(&event).await?;
                log.push(format!("{} {status:?}", body(&event)));
                Ok(())
            }
        });
        let (closed, failed) = (seen.clone(), seen.clone());
        let receive = receive.starting_position(StartingPosition::Earliest).shutdown_timeout(Duration::ZERO);
        let receive = receive.until(Until::now()).on_partition_close(move |_, reason| {
            closed.push(format!("{reason:?}"));
            async {}
        });
        let running = tokio::spawn(
            receive
                .on_error(move |context, _| {
                    failed.push(if context.is_none() { "round" } else { "partition" });
                    async {}
                })
                .into_future(),
        );
        seen.until_contains("Bounded").await;
        let rounds = || seen.all().iter().filter(|seen| *seen == "round").count();
        let before = rounds();
        until("several rounds fail", || rounds() >= before + 3).await;
        assert!(!running.is_finished());
        store.set(Fault::Nothing);
        running.await.unwrap().unwrap();
        assert!(seen.contains("b Pending"));
        assert_eq!(checkpoint(&*store, "0").await, Some(1));
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_stopped_before_its_bound_is_not_complete() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        let seen = Seen::default();
        let numbers = ["0", "1"].map(|partition| (partition.parse().unwrap(), 0.into()));
        let running = start(reading(&client(&emulator), &seen).until(Until::sequence_numbers(numbers)));
        seen.until_contains("Bounded").await;
        seen.until_contains("open 1").await;
        let report = running.stop().await;
        assert!(!report.is_complete());
        assert_eq!(reasons(&report), [Some(CloseReason::Bounded), Some(CloseReason::Shutdown)]);
    })
    .await;
}

/// A token for the consumer group alone may read, but not ask.
#[tokio::test]
async fn who_may_not_ask_for_the_newest_event_is_told_at_once() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        refuse_questions_about_partitions(&emulator);
        let seen = Seen::default();
        let error = reading(&client(&emulator), &seen).until(Until::now()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let idle = reading(&client(&emulator), &seen).until(Until::idle(Duration::from_millis(50)));
        assert_eq!(idle.await.unwrap().handled(), 1);
    })
    .await;
}
