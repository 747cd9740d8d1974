//! Reading on at a position that the user seeks: by the callback, by a hook, or from outside.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::receive::Events;
use eventhubs::{
    CheckpointStatus, CheckpointStore, ConsumerClient, ErrorKind, FailurePolicy, HandlerResult,
    MemoryCheckpointStore, PartitionContext, Receive, ReceivedEvent, RetryPolicy, SequenceNumber,
    StartingPosition, Until,
};
use tokio::sync::Notify;

use crate::support::{
    HUB, Seen, body, client, client_on, emulator, publish_to, restarting, scope, start, until, within,
};

/// A run from the first event on, whose callback is given the event's body and a place for notes.
fn reading(
    client: &ConsumerClient,
    seen: &Seen,
    handle: impl Fn(&PartitionContext, &ReceivedEvent, &str) -> HandlerResult + Send + Sync + 'static,
) -> Receive<Events> {
    let (log, opened, closed, failed) = (seen.clone(), seen.clone(), seen.clone(), seen.clone());
    client
        .receive(move |context, event| {
            let text = body(&event);
            log.push(&text);
            let result = handle(&context, &event, &text);
            async move { result }
        })
        .starting_position(StartingPosition::Earliest)
        .on_partition_initialize(move |_| {
            opened.push("open");
            async { Ok(()) }
        })
        .on_partition_close(move |_, reason| {
            closed.push(format!("{reason:?}"));
            async {}
        })
        .on_error(move |_, error| {
            failed.push(format!("{:?}", error.kind()));
            async {}
        })
}

/// Returns true once.
fn once() -> impl Fn() -> bool {
    let was_there = AtomicBool::new(false);
    move || !was_there.swap(true, Ordering::Relaxed)
}

async fn checkpoint(store: &impl CheckpointStore) -> Option<i64> {
    let checkpoint = store.checkpoint(&scope(), &"0".parse().unwrap()).await.unwrap();
    checkpoint.and_then(|checkpoint| checkpoint.sequence_number).map(SequenceNumber::value)
}

#[tokio::test]
async fn a_callback_seeks_back_and_its_next_checkpoints_are_lower() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let (seen, is_first) = (Seen::default(), once());
        let log = seen.clone();
        let store = Arc::new(MemoryCheckpointStore::new());
        let last = Arc::new(Mutex::new(None));
        let reached = Arc::clone(&last);
        let receive = client_on(&emulator, Arc::clone(&store)).receive(move |context, event| {
            let (log, seeks) = (log.clone(), body(&event) == "c" && is_first());
            let (store, reached) = (Arc::clone(&store), Arc::clone(&reached));
            async move {
                let status = context.update_checkpoint(&event).await?;
                *reached.lock().unwrap() = checkpoint(&*store).await;
                log.push(format!("{} {status:?}", body(&event)));
                if seeks {
                    context.seek(StartingPosition::Earliest)?;
                }
                Ok(())
            }
        });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        seen.until_count(5).await;
        running.stop().await;
        let expected = ["a Written", "b Written", "c Written", "a Written", "b Written"];
        assert_eq!(seen.all()[..5], expected);
    })
    .await;
}

#[tokio::test]
async fn events_between_the_call_and_the_position_are_passed_over() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c", "d"]);
        let seen = Seen::default();
        let receive = reading(&client(&emulator), &seen, |context, _, text| {
            if text == "a" {
                context.seek(StartingPosition::after_sequence_number(2))?;
            }
            Ok(())
        });
        let running = start(receive);
        seen.until_contains("d").await;
        running.stop().await;
        assert_eq!(seen.all(), ["open", "a", "Sought", "open", "d", "Shutdown"]);
    })
    .await;
}

/// Every event of a batch is passed with the call that seeks.
#[tokio::test]
async fn a_batch_callback_seeks() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c", "d"]);
        let (seen, is_first) = (Seen::default(), once());
        let log = seen.clone();
        let receive = client(&emulator).receive_batch(move |context, events| {
            log.push(events.iter().map(body).collect::<String>());
            let sought = if is_first() { context.seek(StartingPosition::Earliest) } else { Ok(()) };
            async move { Ok(sought?) }
        });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        let texts = || seen.all().concat();
        until("all were read again", || texts().ends_with('d') && texts().len() > 4).await;
        running.stop().await;
        assert!(texts().ends_with("abcd"), "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn an_idle_partition_seeks_at_once_and_its_checkpoint_stays() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let kept = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&kept);
        let receive = reading(&client_on(&emulator, Arc::clone(&store)), &seen, move |context, event, _| {
            *keep.lock().unwrap() = Some((context.clone(), event.clone()));
            Ok(())
        });
        let running = start(receive);
        seen.until_contains("b").await;
        let (context, event): (PartitionContext, ReceivedEvent) = kept.lock().unwrap().clone().unwrap();
        assert_eq!(context.update_checkpoint(&event).await.unwrap(), CheckpointStatus::Written);
        context.pause();
        context.seek(StartingPosition::Earliest).unwrap();
        let opened = || seen.all().iter().filter(|seen| *seen == "open").count();
        until("it is opened again", || opened() == 2).await;
        assert_eq!(checkpoint(&*store).await, Some(1));
        let error = context.update_checkpoint(&event).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "it was not received since");
        context.resume();
        seen.until_count(7).await;
        running.stop().await;
        assert_eq!(seen.all()[..7], ["open", "a", "b", "Sought", "open", "a", "b"]);
        let error = context.seek(StartingPosition::Earliest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnershipLost, "the run is over");
    })
    .await;
}

/// What fails again and again is left behind at once, and not after the pause of its policy.
#[tokio::test]
async fn a_seek_ends_the_pause_before_another_attempt() {
    within(async {
        for calls in [1, 2] {
            let emulator = emulator(1).await;
            publish_to(&emulator, "0", &["a", "b"]);
            let (seen, kept) = (Seen::default(), Arc::new(Mutex::new(None)));
            let keep = Arc::clone(&kept);
            let receive = reading(&client(&emulator), &seen, move |context, _, text| {
                *keep.lock().unwrap() = Some(context.clone());
                if text == "a" { Err("it fails".into()) } else { Ok(()) }
            });
            let policy = FailurePolicy::retry(RetryPolicy::fixed(Duration::from_secs(3600)));
            let mut receive = receive.on_failure(policy).concurrency(calls);
            if calls > 1 {
                receive = receive.keyed_by(|_| 0);
            }
            let running = start(receive);
            seen.until_contains("Handler").await;
            let context: PartitionContext = kept.lock().unwrap().clone().unwrap();
            context.seek(StartingPosition::from_sequence_number(1)).unwrap();
            seen.until_contains("b").await;
            running.stop().await;
            assert_eq!(seen.all(), ["open", "a", "Handler", "Sought", "open", "b", "Shutdown"], "{calls}");
        }
    })
    .await;
}

/// The partition is closed then, and waits before it is opened again.
#[tokio::test]
async fn a_seek_ends_the_pause_before_a_restart() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (seen, kept) = (Seen::default(), Arc::new(Mutex::new(None)));
        let keep = Arc::clone(&kept);
        let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
        let client = client.retry(RetryPolicy::fixed(Duration::from_secs(3600))).build().unwrap();
        let receive = reading(&client, &seen, move |context, _, text| {
            *keep.lock().unwrap() = Some(context.clone());
            if text == "a" { Err("it fails".into()) } else { Ok(()) }
        });
        let running = start(receive.on_failure(restarting()).partition_id("0".parse().unwrap()));
        seen.until_contains("Handler").await;
        let context: PartitionContext = kept.lock().unwrap().clone().unwrap();
        context.seek(StartingPosition::from_sequence_number(1)).unwrap();
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(seen.all(), ["open", "a", "HandlerFailed", "Handler", "open", "b", "Shutdown"]);
    })
    .await;
}

/// A hook that looks up where to begin would do so again each time that it is called.
#[tokio::test]
async fn the_initialize_hook_says_where_to_begin() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let seen = Seen::default();
        let opened = seen.clone();
        let receive =
            reading(&client(&emulator), &seen, |_, _, _| Ok(())).on_partition_initialize(move |context| {
                opened.push("open");
                let sought = context.seek(StartingPosition::from_sequence_number(1));
                async move { Ok(sought?) }
            });
        let running = start(receive);
        seen.until_contains("c").await;
        running.stop().await;
        assert_eq!(seen.all(), ["open", "b", "c", "Shutdown"]);
    })
    .await;
}

#[tokio::test]
async fn a_position_that_is_refused_is_reported_and_changes_nothing() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let (seen, first) = (Seen::default(), Arc::new(Mutex::new(None)));
        let log = seen.clone();
        let errors = seen.clone();
        let receive = client(&emulator).receive(move |context, event| {
            let (log, first) = (log.clone(), Arc::clone(&first));
            async move {
                let kept: ReceivedEvent = first.lock().unwrap().get_or_insert_with(|| event.clone()).clone();
                context.update_checkpoint(&event).await?;
                let older = context.update_checkpoint(&kept).await?;
                log.push(format!("{} {older:?}", body(&event)));
                if body(&event) == "b" {
                    context.seek(StartingPosition::from_sequence_number(999_999))?;
                }
                Ok(())
            }
        });
        let receive = receive.starting_position(StartingPosition::Earliest).on_error(move |_, error| {
            errors.push(format!("{:?}", error.kind()));
            async {}
        });
        let running = start(receive);
        seen.until_count(4).await;
        running.stop().await;
        let expected = ["a Covered", "b Covered", "InvalidPosition"];
        assert_eq!(seen.all()[..3], expected, "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn a_failure_after_a_seek_restarts_where_it_led_to() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let (seen, seeks, fails) = (Seen::default(), once(), once());
        let has_sought = AtomicBool::new(false);
        let log = seen.clone();
        let receive = client(&emulator).receive(move |context, event| {
            let text = body(&event);
            log.push(&text);
            let before = !has_sought.load(Ordering::Relaxed);
            let wants = text == "c" && seeks();
            has_sought.fetch_or(wants, Ordering::Relaxed);
            let broken = !before && text == "b" && fails();
            async move {
                if before {
                    context.update_checkpoint(&event).await?;
                }
                if wants {
                    context.seek(StartingPosition::Earliest)?;
                }
                if broken { Err("once".into()) } else { Ok(()) }
            }
        });
        let running = start(receive.starting_position(StartingPosition::Earliest).on_failure(restarting()));
        seen.until_count(8).await;
        running.stop().await;
        assert_eq!(seen.all().concat(), "abcababc");
    })
    .await;
}

#[tokio::test]
async fn calls_under_way_end_before_a_concurrent_run_reads_elsewhere() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let (seen, go) = (Seen::default(), Arc::new(Notify::new()));
        let idle = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&idle);
        let (log, wait, is_first) = (seen.clone(), Arc::clone(&go), once());
        let closed = seen.clone();
        let receive = client(&emulator).receive(move |context, event| {
            let (log, wait) = (log.clone(), Arc::clone(&wait));
            let text = body(&event);
            let (waits, seeks) = (text == "a" && is_first(), text == "b");
            async move {
                if waits {
                    log.push("a begins");
                    wait.notified().await;
                    log.push("a ends");
                } else if seeks {
                    context.seek(StartingPosition::after_sequence_number(1))?;
                    log.push("b seeks");
                    // Its pause ends at once, which must not end the other call.
                    return Err("it is not tried again".into());
                } else {
                    log.push(text);
                }
                Ok(())
            }
        });
        // A time that a stop would give them, and a seek does not need.
        let receive = receive.concurrency(2).keyed_by(|event| event.sequence_number().value());
        let policy = FailurePolicy::retry(RetryPolicy::fixed(Duration::from_secs(3600)));
        let receive = receive.on_failure(policy);
        let receive = receive.shutdown_timeout(Duration::ZERO).starting_position(StartingPosition::Earliest);
        let receive = receive.on_partition_close(move |_, reason| {
            closed.push(format!("{reason:?}"));
            async {}
        });
        // The other partition counts the time.
        let running = start(receive.max_wait_time(Duration::from_millis(500), move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        }));
        seen.until_contains("a begins").await;
        seen.until_contains("b seeks").await;
        let before = idle.load(Ordering::Relaxed);
        until("a stop would have dropped the call", || idle.load(Ordering::Relaxed) >= before + 4).await;
        go.notify_one();
        seen.until_contains("Sought").await;
        until("it reads on", || seen.all().iter().filter(|seen| *seen == "c").count() >= 1).await;
        running.stop().await;
        let place = |text: &str| seen.all().iter().position(|seen| seen == text).unwrap();
        assert!(place("a ends") < place("Sought"), "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn a_bounded_run_that_seeks_at_its_last_event_reads_on() {
    within(async {
        for calls in [1, 2] {
            let emulator = emulator(1).await;
            publish_to(&emulator, "0", &["a", "b"]);
            let (seen, is_first) = (Seen::default(), once());
            let receive = reading(&client(&emulator), &seen, move |context, _, text| {
                if text == "b" && is_first() {
                    context.seek(StartingPosition::Earliest)?;
                }
                Ok(())
            });
            let mut receive = receive.concurrency(calls).until(Until::now());
            if calls > 1 {
                receive = receive.keyed_by(|_| 0);
            }
            assert_eq!(receive.await.unwrap().handled(), 4, "{calls}");
            let expected = ["open", "a", "b", "Sought", "open", "a", "b", "Bounded"];
            assert_eq!(seen.all(), expected, "{calls}");
        }
    })
    .await;
}

/// Several positions before the link is opened again: the last one counts.
#[tokio::test]
async fn the_last_of_several_positions_counts() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let (seen, calls) = (Seen::default(), AtomicUsize::new(0));
        let receive = reading(&client(&emulator), &seen, move |context, _, _| {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                context.seek(StartingPosition::Earliest)?;
                context.seek(StartingPosition::from_sequence_number(2))?;
            }
            Ok(())
        });
        let running = start(receive);
        seen.until_contains("c").await;
        running.stop().await;
        assert_eq!(seen.all(), ["open", "a", "Sought", "open", "c", "Shutdown"]);
    })
    .await;
}
