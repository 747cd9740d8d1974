//! Who no longer owns a partition handles nothing more and writes no checkpoint.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::{
    CheckpointStore as _, ConsumerClient, Error, ErrorKind, MemoryCheckpointStore, OwnerId, PartitionContext,
    StartingPosition,
};
use eventhubs_checkpoint_store::{Claim, Expected, Mark};
use eventhubs_emulator::Emulator;
use tokio::sync::{Semaphore, oneshot};

use crate::support::{
    HUB, Seen, body, client, client_on, emulator, publish_to, record, recording, recording_errors, scope,
    start, within,
};

fn named(
    emulator: &Emulator,
    store: &Arc<MemoryCheckpointStore>,
    owner: &str,
    expiry: Duration,
) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .owner_id(OwnerId::new(owner).unwrap())
        .load_balancing_interval((expiry / 3).min(Duration::from_millis(100)))
        .partition_ownership_expiration_interval(expiry)
        .build()
        .unwrap()
}

#[tokio::test]
async fn checkpoints_after_the_end_of_the_lease_are_refused() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let store = Arc::new(MemoryCheckpointStore::new());
        let expiry = Duration::from_millis(600);
        let seen = Seen::default();
        let (log, client) = (seen.clone(), named(&emulator, &store, "pod-0", expiry));
        let running = start(
            client
                .receive(move |context, event| {
                    let log = log.clone();
                    async move {
                        if log.count() == 0 {
                            // The whole process stands still: no task of it can run.
                            block(expiry);
                        }
                        let outcome = context.update_checkpoint(&event).await;
                        log.push(format!("{} {:?}", body(&event), outcome.as_ref().map_err(Error::kind)));
                        outcome?;
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_contains("b Ok(Written)").await;
        let refused = format!("a Err({:?})", ErrorKind::OwnershipLost);
        assert_eq!(
            seen.all(),
            [refused.as_str(), "a Ok(Written)", "b Ok(Written)"],
            "and it is read again once owned again"
        );
        running.stop().await;
    })
    .await;
}

#[expect(clippy::disallowed_methods, reason = "blocking the runtime is the fault that the test makes")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

#[tokio::test]
async fn a_restarted_instance_with_the_same_owner_id_goes_on_at_once() {
    within(async {
        let emulator = emulator(4).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let never = Duration::from_secs(600);
        for _run in ["first", "second"] {
            let seen = Seen::default();
            let log = seen.clone();
            let client = named(&emulator, &store, "pod-0", never);
            let receive = client.receive(|_, _| async { Ok(()) }).on_partition_initialize(move |context| {
                log.push(context.partition_id().as_str());
                async { Ok(()) }
            });
            let task = tokio::spawn(receive.into_future());
            seen.until_count(4).await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled(), "it ends without a word, as in a crash");
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_live_instances_with_one_owner_id_the_later_ends() {
    within(async {
        let emulator = emulator(4).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let expiry = Duration::from_secs(3);
        let seen = Seen::default();
        let first = named(&emulator, &store, "pod-0", expiry);
        let running = start(first.receive(recording(&seen)).starting_position(StartingPosition::Earliest));
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a").await;

        let second = named(&emulator, &store, "pod-0", expiry);
        let error = second.receive(|_, _| async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnerIdInUse);
        assert!(error.to_string().contains("pod-0"), "{error}");

        publish_to(&emulator, "0", &["b"]);
        seen.until_contains("b").await;
        running.stop().await;
    })
    .await;
}

/// Writes the record of a partition as an eventhubs instance that hands over does.
async fn write_as(store: &MemoryCheckpointStore, owner: &str, partition: &str) {
    let before = record(store, partition).await;
    let expected = before.map_or(Expected::Absent, |record| Expected::Version(record.version));
    let claim = Claim::new(partition.parse().unwrap(), owner.parse().ok(), expected);
    store.claim_ownership(&scope(), &claim.with_mark(Some(Mark::new("1")))).await;
}

/// An instance whose twin begins to write its records when it was told to stop, and whose callback runs on
/// for as long as the partition is its own.
async fn meets_its_twin_after_the_stop(offer_timeout: Duration) {
    let emulator = emulator(2).await;
    publish_to(&emulator, "0", &["a"]);
    let store = Arc::new(MemoryCheckpointStore::new());
    write_as(&store, "pod-0", "0").await;
    write_as(&store, "who may take an offer", "1").await;
    let seen = Seen::default();
    let log = seen.clone();
    let client = named(&emulator, &store, "pod-0", Duration::from_secs(600));
    let receive = client.receive(move |context, event| {
        log.push(body(&event));
        async move {
            let mut pauses = tokio::time::interval(Duration::from_millis(5));
            loop {
                context.update_checkpoint(&event).await?;
                pauses.tick().await;
            }
        }
    });
    let receive = receive.starting_position(StartingPosition::Earliest).offer_timeout(offer_timeout);
    let (stop, stopped) = oneshot::channel::<()>();
    let run = tokio::spawn(receive.with_graceful_shutdown(stopped).into_future());
    seen.until_contains("a").await;
    stop.send(()).unwrap();
    let mut pauses = tokio::time::interval(Duration::from_millis(5));
    while !run.is_finished() {
        write_as(&store, "pod-0", "0").await;
        pauses.tick().await;
    }
    assert_eq!(run.await.unwrap().unwrap_err().kind(), ErrorKind::OwnerIdInUse);
    assert_eq!(record(&store, "0").await.unwrap().owner, "pod-0".parse().ok());
}

#[tokio::test]
async fn a_twin_found_while_offering_keeps_the_partitions() {
    within(meets_its_twin_after_the_stop(Duration::MAX)).await;
}

#[tokio::test]
async fn a_twin_found_while_callbacks_end_keeps_the_partitions() {
    within(meets_its_twin_after_the_stop(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_callback_may_outlive_the_lease_that_it_had_at_the_stop() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let store = Arc::new(MemoryCheckpointStore::new());
        let (seen, gate) = (Seen::default(), Arc::new(Semaphore::new(0)));
        let (log, opening) = (seen.clone(), Arc::clone(&gate));
        let client = named(&emulator, &store, "pod-0", Duration::from_secs(2));
        let running = start(
            client
                .receive(move |context, event| {
                    let (log, opening) = (log.clone(), Arc::clone(&opening));
                    async move {
                        log.push(body(&event));
                        drop(opening.acquire().await?);
                        let outcome = context.update_checkpoint(&event).await;
                        log.push(format!("{:?}", outcome.as_ref().map_err(Error::kind)));
                        outcome?;
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_contains("a").await;
        let stopping = tokio::spawn(running.stop());
        for _renewal in 0..3 {
            let before = record(&store, "0").await.unwrap();
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while record(&store, "0").await.unwrap().version == before.version {
                looks.tick().await;
            }
        }
        gate.add_permits(1);
        stopping.await.unwrap();
        assert_eq!(seen.all(), ["a", "Ok(Written)"]);
        assert_eq!(record(&store, "0").await.unwrap().owner, None, "and then it is released");
    })
    .await;
}

#[tokio::test]
async fn a_paused_partition_stays_owned_and_calls_back_once_resumed() {
    within(async {
        let emulator = emulator(2).await;
        let seen = Seen::default();
        let (log, kept) = (seen.clone(), Arc::new(Mutex::new(None::<PartitionContext>)));
        let keep = Arc::clone(&kept);
        let client = client(&emulator);
        let closed = Seen::default();
        let close = closed.clone();
        let running = start(
            client
                .receive(move |context, event| {
                    log.push(body(&event));
                    if body(&event) == "pause" {
                        context.pause();
                        *keep.lock().unwrap() = Some(context);
                    }
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .on_partition_close(move |_, reason| {
                    close.push(format!("{reason:?}"));
                    async {}
                }),
        );
        publish_to(&emulator, "0", &["pause", "a"]);
        seen.until_contains("pause").await;
        publish_to(&emulator, "1", &["x", "y"]);
        seen.until_contains("y").await;
        let context = kept.lock().unwrap().take().unwrap();
        assert!(context.is_paused());
        assert!(!seen.contains("a"), "it came with the event before");
        context.resume();
        seen.until_contains("a").await;
        assert_eq!(closed.count(), 0);
        running.stop().await;
    })
    .await;
}

/// Runs until `seen` has something, with a context of an earlier run of which every checkpoint is refused.
async fn with_a_stale_context(one_partition: bool) -> (Seen, eventhubs::Result<()>) {
    let emulator = emulator(1).await;
    publish_to(&emulator, "0", &["a"]);
    let client = client_on(&emulator, MemoryCheckpointStore::new());
    let (seen, kept) = (Seen::default(), Arc::new(Mutex::new(None)));
    let (log, keep) = (seen.clone(), Arc::clone(&kept));
    let running = start(
        client
            .receive(move |context, event| {
                *keep.lock().unwrap() = Some((context, event));
                log.push("kept");
                async { Ok(()) }
            })
            .starting_position(StartingPosition::Earliest),
    );
    seen.until_count(1).await;
    running.stop().await;

    let (old, event) = kept.lock().unwrap().take().unwrap();
    let (opened, errors, all) = (seen.clone(), seen.clone(), seen.clone());
    let mut receive = client
        .receive(move |_, _| {
            let (old, event) = (old.clone(), event.clone());
            async move {
                old.update_checkpoint(&event).await?;
                Ok(())
            }
        })
        .starting_position(StartingPosition::Earliest)
        .on_partition_initialize(move |_| {
            opened.push("open");
            async { Ok(()) }
        })
        .on_error(recording_errors(&errors));
    if one_partition {
        receive = receive.partition_id("0".parse().unwrap());
    }
    let stop = async move { all.until_count(5).await };
    let result = receive.with_graceful_shutdown(stop).await;
    (seen, result.map(drop))
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_ownership_fails_the_callback_only() {
    within(async {
        for one_partition in [false, true] {
            let (seen, result) = with_a_stale_context(one_partition).await;
            result.unwrap();
            assert_eq!(
                seen.all()[..5],
                ["kept", "open", "Handler", "Handler", "Handler"],
                "{:?}",
                seen.all()
            );
        }
    })
    .await;
}
