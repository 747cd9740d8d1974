//! When callbacks are called, with what, and what their failures do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use eventhubs::{
    CloseReason, Error, ErrorKind, EventHandler, FailurePolicy, HandlerError, HandlerResult,
    PartitionContext, Receive, ReceivedEvent, StartingPosition,
};
use tokio::sync::Semaphore;

use crate::support::{
    HUB, Running, Seen, body, client, emulator, publish_to, recording, recording_errors, restarting, start,
    until, within,
};

#[tokio::test]
async fn events_come_one_a_call_and_in_order() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b"]);
        publish_to(&emulator, "1", &["c", "d"]);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(
            client(&emulator)
                .receive(move |context, event| {
                    log.push(format!("{} {}", context.partition_id(), body(&event)));
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_count(4).await;
        publish_to(&emulator, "1", &["e"]);
        seen.until_count(5).await;
        running.stop().await;
        let of =
            |partition: &str| seen.all().into_iter().filter(|s| s.starts_with(partition)).collect::<Vec<_>>();
        assert_eq!(of("0"), ["0 a", "0 b"]);
        assert_eq!(of("1"), ["1 c", "1 d", "1 e"]);
    })
    .await;
}

#[tokio::test]
async fn batches_are_bounded_and_an_idle_partition_gives_an_empty_one() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c", "d", "e"]);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(
            client(&emulator)
                .receive_batch(move |_, events| {
                    log.push(events.iter().map(body).collect::<String>());
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .max_batch_size(2)
                .max_wait_time(Duration::from_millis(30)),
        );
        seen.until_contains("").await;
        running.stop().await;
        let batches = seen.all();
        assert_eq!(batches.concat(), "abcde");
        assert!(batches.iter().all(|batch| batch.len() <= 2), "{batches:?}");
    })
    .await;
}

/// The events that wait for a slow callback are in memory too.
#[tokio::test]
async fn slow_callbacks_on_all_partitions_stay_within_the_byte_budget() {
    const SIZE: usize = 100_000;
    const BUDGET: u64 = 20;
    const ROUNDS: u64 = 100;
    within(async {
        let emulator = emulator(4).await;
        for id in ["0", "1", "2", "3"] {
            emulator.publish_to(HUB, id, (0..ROUNDS + 50).map(|_| "x".repeat(SIZE))).unwrap();
        }
        let permits: Arc<[Semaphore; 4]> = Arc::new([0; 4].map(Semaphore::new));
        let done = Arc::<[AtomicU64; 4]>::default();
        let (callback_permits, counting) = (Arc::clone(&permits), Arc::clone(&done));
        let receive = client(&emulator).receive(move |context, _event| {
            let (permits, done) = (Arc::clone(&callback_permits), Arc::clone(&counting));
            async move {
                let partition = context.partition_id().as_str().parse::<usize>()?;
                permits[partition].acquire().await?.forget();
                done[partition].fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
        let budget = usize::try_from(BUDGET).unwrap() * (SIZE + 200);
        let running = start(receive.starting_position(StartingPosition::Earliest).prefetch_bytes(budget));
        for round in 1..=ROUNDS {
            permits.iter().for_each(|permits| permits.add_permits(1));
            until("each partition had its call", || {
                done.iter().all(|done| done.load(Ordering::Relaxed) == round)
            })
            .await;
            let unhandled = || {
                let receivers = emulator.receivers(HUB).unwrap();
                receivers.iter().map(|receiver| receiver.delivered - round).collect::<Vec<_>>()
            };
            // what the sizes are is learnt from the first events
            until("the window is full", || {
                round < 40 || unhandled().iter().all(|count| *count >= BUDGET / 2)
            })
            .await;
            assert!(unhandled().iter().all(|count| *count <= BUDGET), "{:?} after {round}", unhandled());
        }
        permits.iter().for_each(Semaphore::close);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_idle_partition_calls_the_idle_hook() {
    within(async {
        let emulator = emulator(1).await;
        let seen = Seen::default();
        let log = seen.clone();
        let receive = client(&emulator).receive(|_, _| async { Ok(()) });
        let running = start(receive.max_wait_time(Duration::from_millis(10), move |context| {
            log.push(context.partition_id().as_str());
            async { Ok(()) }
        }));
        seen.until_count(3).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn hooks_come_around_the_events() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let seen = Seen::default();
        let (initialize, close) = (seen.clone(), seen.clone());
        let running = start(
            client(&emulator)
                .receive(recording(&seen))
                .starting_position(StartingPosition::Earliest)
                .on_partition_initialize(move |context| {
                    initialize.push(format!("initialize {}", context.partition_id()));
                    async { Ok(()) }
                })
                .on_partition_close(move |context, reason| {
                    close.push(format!("close {} {reason:?}", context.partition_id()));
                    async {}
                }),
        );
        seen.until_contains("a").await;
        running.stop().await;
        assert_eq!(seen.all(), ["initialize 0", "a", "close 0 Shutdown"]);
    })
    .await;
}

/// One partition's callback fails on the first call with "b"; what then?
async fn what_a_failure_leads_to(fail: fn() -> HandlerResult, policy: FailurePolicy, expected: &[&str]) {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let seen = Seen::default();
        let (event, error, close) = (seen.clone(), seen.clone(), seen.clone());
        let failed = Arc::new(AtomicUsize::new(0));
        let running = start(
            client(&emulator)
                .receive(move |context, received| {
                    let text = body(&received);
                    event.push(text.clone());
                    let fails = text == "b" && failed.fetch_add(1, Ordering::Relaxed) == 0;
                    async move {
                        if fails {
                            fail()?;
                        }
                        if text == "a" {
                            context.update_checkpoint(&received).await?;
                        }
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest)
                .on_failure(policy)
                .on_error(move |context, what| {
                    assert_eq!(what.kind(), ErrorKind::Handler, "{what:?}");
                    error.push(format!("error {}", context.unwrap().partition_id()));
                    async {}
                })
                .on_partition_close(move |_, reason| {
                    close.push(format!("close {reason:?}"));
                    async {}
                }),
        );
        seen.until_contains("c").await;
        publish_to(&emulator, "1", &["z"]);
        seen.until_contains("z").await;
        running.stop().await;
        let until_c: Vec<_> = seen.all().into_iter().take_while(|text| text != "z").collect();
        assert_eq!(until_c, expected);
    })
    .await;
}

const RETRIED: &[&str] = &["a", "b", "error 0", "b", "c"];
const RESTARTED: &[&str] = &["a", "b", "close HandlerFailed", "error 0", "b", "c"];

#[tokio::test]
async fn a_failed_callback_is_called_again_with_the_same_event() {
    what_a_failure_leads_to(|| Err("refused".into()), FailurePolicy::default(), RETRIED).await;
}

#[tokio::test]
async fn a_failed_callback_may_restart_its_partition_at_the_checkpoint() {
    what_a_failure_leads_to(|| Err("refused".into()), restarting(), RESTARTED).await;
}

#[tokio::test]
async fn a_panic_of_the_callback_restarts_its_partition_at_the_checkpoint() {
    what_a_failure_leads_to(|| panic!("at b"), FailurePolicy::default(), RESTARTED).await;
}

/// The hook refuses the partition twice: no event reaches a handler that is not set up.
#[tokio::test]
async fn a_failed_initialize_hook_closes_the_partition_and_is_called_again() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let seen = Seen::default();
        let (initialize, close, error) = (seen.clone(), seen.clone(), seen.clone());
        let failures = Arc::new(AtomicUsize::new(2));
        let receive = client(&emulator).receive(recording(&seen));
        let receive = receive.on_partition_initialize(move |_| {
            initialize.push("initialize");
            let left =
                failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            async move { left.map_or(Ok(()), |_| Err("no database".into())) }
        });
        let receive = receive.on_partition_close(move |_, reason| {
            close.push(format!("close {reason:?}"));
            async {}
        });
        let running =
            start(receive.starting_position(StartingPosition::Earliest).on_error(move |_, what| {
                assert_eq!(what.kind(), ErrorKind::Handler, "{what:?}");
                error.push("error");
                async {}
            }));
        seen.until_contains("a").await;
        running.stop().await;
        let refused = ["initialize", "close HandlerFailed", "error"];
        assert_eq!(seen.all(), [&refused[..], &refused[..], &["initialize", "a", "close Shutdown"]].concat());
    })
    .await;
}

/// An error of another crate, as `anyhow::Error` is one: no error itself, but it converts into a boxed one.
struct Anyhow(&'static str);

impl From<Anyhow> for HandlerError {
    fn from(error: Anyhow) -> Self {
        error.0.into()
    }
}

#[tokio::test]
async fn a_function_may_fail_with_any_error_that_converts() {
    async fn each(_: PartitionContext, _: ReceivedEvent) -> Result<(), Anyhow> {
        Err(Anyhow("from each"))
    }
    async fn batch(_: PartitionContext, _: Vec<ReceivedEvent>) -> Result<(), Anyhow> {
        Err(Anyhow("from a batch"))
    }
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let (each, batch) =
            (client(&emulator).receive_with(each), client(&emulator).receive_batch_with(batch));
        for (running, text) in [(reporting(each), "from each"), (reporting(batch), "from a batch")] {
            let (running, seen) = running;
            until(text, || seen.all().iter().any(|error| error.contains(text))).await;
            running.stop().await;
        }
    })
    .await;
}

/// Starts a run, and notes its errors.
fn reporting<M: 'static>(receive: Receive<M>) -> (Running, Seen) {
    let seen = Seen::default();
    let errors = seen.clone();
    let receive = receive.starting_position(StartingPosition::Earliest).on_error(move |_, error| {
        errors.push(error.to_string());
        async {}
    });
    (start(receive), seen)
}

#[tokio::test]
async fn a_callback_that_hangs_is_dropped_after_the_time_limit_of_the_stop() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let seen = Seen::default();
        let (event, close) = (seen.clone(), seen.clone());
        let running = start(
            client(&emulator)
                .receive(move |_, received| {
                    event.push(body(&received));
                    std::future::pending()
                })
                .starting_position(StartingPosition::Earliest)
                .shutdown_timeout(Duration::from_millis(20))
                .on_error(recording_errors(&seen))
                .on_partition_close(move |_, reason| {
                    assert_eq!(reason, CloseReason::Shutdown);
                    close.push("close");
                    async {}
                }),
        );
        seen.until_contains("a").await;
        running.stop().await;
        assert_eq!(seen.all(), ["a", "Timeout", "close"]);
    })
    .await;
}

#[tokio::test]
async fn a_run_without_time_limits_closes_its_partitions_when_it_stops() {
    within(async {
        let emulator = emulator(1).await;
        let seen = Seen::default();
        let (open, close) = (seen.clone(), seen.clone());
        let running = start(
            client(&emulator)
                .receive_batch(|_, _| async { Ok(()) })
                .max_wait_time(Duration::MAX)
                .offer_timeout(Duration::MAX)
                .shutdown_timeout(Duration::MAX)
                .on_partition_initialize(move |_| {
                    open.push("open");
                    async { Ok(()) }
                })
                .on_partition_close(move |_, reason| {
                    close.push(format!("{reason:?}"));
                    async {}
                }),
        );
        seen.until_count(1).await;
        running.stop().await;
        assert_eq!(seen.all(), ["open", "Shutdown"]);
    })
    .await;
}

#[tokio::test]
async fn an_error_hook_that_hangs_does_not_stop_its_partition() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let seen = Seen::default();
        let event = seen.clone();
        let running = start(
            client(&emulator)
                .receive(move |_, _| {
                    let is_first = event.all().is_empty();
                    event.push("a");
                    async move { if is_first { Err("refused".into()) } else { Ok(()) } }
                })
                .starting_position(StartingPosition::Earliest)
                .shutdown_timeout(Duration::from_millis(20))
                .on_error(|_, _| std::future::pending()),
        );
        until("two entries", || seen.all().len() == 2).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_newest_event_is_known_when_it_is_tracked() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(
            client(&emulator)
                .receive(move |context, _| {
                    let newest = context.last_enqueued_event_properties().unwrap();
                    log.push(newest.sequence_number.to_string());
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .track_last_enqueued_event_properties(true),
        );
        seen.until_count(3).await;
        running.stop().await;
        assert_eq!(seen.all().last().unwrap(), "2");
    })
    .await;
}

#[tokio::test]
async fn an_option_of_zero_is_refused_by_name() {
    let emulator = emulator(1).await;
    let receive = client(&emulator).receive(|_, _| async { Ok(()) });
    let error = receive.prefetch(0).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("prefetch")), (ErrorKind::InvalidArgument, true));
}

#[tokio::test]
async fn a_client_does_not_receive_the_same_partitions_twice_at_a_time() {
    within(async {
        let emulator = emulator(1).await;
        let client = client(&emulator);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(client.receive(|_, _| async { Ok(()) }).on_partition_initialize(move |_| {
            log.push("initialize");
            async { Ok(()) }
        }));
        seen.until_count(1).await;
        let error = client.receive(|_, _| async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        running.stop().await;
        start(client.receive(|_, _| async { Ok(()) })).stop().await;
        assert!(emulator.receivers(HUB).unwrap().is_empty(), "every link was detached");
    })
    .await;
}

/// Notes what it is called with.
struct Noting(Seen);

impl EventHandler for Noting {
    async fn on_event(&self, _: PartitionContext, event: ReceivedEvent) -> HandlerResult {
        self.0.push(body(&event));
        if event.sequence_number().value() == 1 && self.0.count() == 3 { Err("once".into()) } else { Ok(()) }
    }

    async fn on_partition_initialize(&self, context: PartitionContext) -> HandlerResult {
        self.0.push(format!("open {}", context.partition_id()));
        Ok(())
    }

    async fn on_partition_close(&self, _: PartitionContext, reason: CloseReason) {
        self.0.push(format!("{reason:?}"));
    }

    async fn on_error(&self, _: Option<PartitionContext>, error: Error) {
        self.0.push(format!("{:?}", error.kind()));
    }
}

#[tokio::test]
async fn a_handler_may_be_a_type_with_hooks_of_its_own() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let seen = Seen::default();
        let receive = client(&emulator).receive_with(Noting(seen.clone())).on_failure(restarting());
        let running = start(receive.starting_position(StartingPosition::Earliest));
        seen.until_count(8).await;
        running.stop().await;
        let expected = ["open 0", "a", "b", "HandlerFailed", "Handler", "open 0", "a", "b", "Shutdown"];
        assert_eq!(seen.all(), expected);
    })
    .await;
}
