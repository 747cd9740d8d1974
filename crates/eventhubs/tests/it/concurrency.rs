//! Several events of a partition at once, on a paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::receive::Events;
use eventhubs::{
    CheckpointPolicy, ConsumerClient, ErrorKind, FailurePolicy, GiveUp, MemoryCheckpointStore, Poison,
    Receive, ReceivedEvent, RetryPolicy, StartingPosition,
};
use eventhubs_testkit::{HandlerTest, TestEvent, event};
use tokio::time::sleep;

use crate::support::{Seen, body};

const SECOND: Duration = Duration::from_secs(1);

fn keyed(key: &str, body: impl Into<Vec<u8>>) -> TestEvent {
    event(body).partition_key(key)
}

fn key(event: &ReceivedEvent) -> Option<String> {
    event.partition_key().map(str::to_owned)
}

/// Takes as many seconds as the body says, and notes the number of each event before and after.
fn sleeping(client: &ConsumerClient, seen: &Seen) -> Receive<Events> {
    let seen = seen.clone();
    let receive = client.receive(move |_, event| {
        let seen = seen.clone();
        async move {
            seen.push(format!("+{}", event.sequence_number()));
            sleep(SECOND * body(&event).parse()?).await;
            seen.push(format!("-{}", event.sequence_number()));
            Ok(())
        }
    });
    let policy = CheckpointPolicy::each_batch();
    receive.starting_position(StartingPosition::Earliest).checkpoint(policy).concurrency(3).keyed_by(key)
}

#[tokio::test(start_paused = true)]
async fn events_of_one_key_are_in_order_and_those_of_others_at_once() {
    let seen = Seen::default();
    let mut test = HandlerTest::start(|client| sleeping(client, &seen)).unwrap();
    let events = [keyed("a", "4"), keyed("a", "1"), keyed("b", "2"), keyed("c", "1"), keyed("d", "1")];
    test.push_all("0", events).await;
    assert_eq!(seen.all(), ["+0", "+2", "+3"]);
    test.advance(SECOND).await;
    assert_eq!(seen.all()[3..], ["-3", "+4"]);
    assert_eq!(test.checkpoint("0").await, None, "event 0 is not done");
    test.advance(SECOND * 3).await;
    assert!(seen.contains("-0") && seen.contains("+1") && !seen.contains("-1"));
    assert_eq!(test.checkpoint("0").await, Some(0));
    test.advance(SECOND).await;
    assert_eq!(test.checkpoint("0").await, Some(4));
    test.stop().await.unwrap();
}

/// One key fails forever: the others continue until `max_ahead`, and with a limit of attempts it holds nobody.
#[tokio::test(start_paused = true)]
async fn a_key_that_fails_holds_others_only_as_far_as_they_may_be_ahead() {
    for attempts in [None, Some(5)] {
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let log = Arc::clone(&done);
        let mut policy = FailurePolicy::retry(RetryPolicy::fixed(SECOND)).then(GiveUp::Skip);
        if let Some(attempts) = attempts {
            policy = policy.attempts(attempts);
        }
        let mut test = HandlerTest::start(|client| {
            let receive = client.receive(move |_, event| {
                let fails = event.partition_key() == Some("poison");
                if !fails {
                    log.lock().unwrap().insert(event.sequence_number().value());
                }
                async move { if fails { Err("refused".into()) } else { Ok(()) } }
            });
            receive.concurrency(16).keyed_by(key).max_ahead(50).on_failure(policy)
        })
        .unwrap();
        let events = (0..200).map(|number| keyed(if number == 10 { "poison" } else { "other" }, "x"));
        test.push_all("0", events).await;
        assert_eq!(done.lock().unwrap().last(), Some(&59), "ten before it, and fifty from it on");
        test.advance(SECOND * 60).await;
        let expected = if attempts.is_some() { (199, Some(199)) } else { (59, Some(9)) };
        let last = *done.lock().unwrap().last().unwrap();
        assert_eq!((last, test.checkpoint("0").await), expected);
        let held_by = test.held_by("0").map(|event| event.sequence_number.value());
        assert_eq!(held_by, attempts.is_none().then_some(10));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_retried_takes_the_place_of_no_other_call() {
    let seen = Seen::default();
    let log = seen.clone();
    let mut test = HandlerTest::start(|client| {
        let receive = client.receive(move |_, event| {
            log.push(body(&event));
            let fails = body(&event) != "good";
            async move { if fails { Err("refused".into()) } else { Ok(()) } }
        });
        let slow = FailurePolicy::retry(RetryPolicy::fixed(SECOND * 30));
        receive.concurrency(2).unordered().on_failure(slow)
    })
    .unwrap();
    test.push_all("0", ["bad 1", "bad 2", "bad 3", "good"]).await;
    assert!(seen.contains("good"), "{:?}", seen.all());
}

/// After a stop nothing that was handled comes again, although later events were done before earlier ones.
#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_was_begun_and_writes_how_far_that_is() {
    let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
    let mut test = HandlerTest::start_on(Arc::clone(&store), |client| sleeping(client, &seen)).unwrap();
    let events = [
        keyed("a", "3"),
        keyed("a", "1"),
        keyed("b", "0"),
        keyed("c", "3"),
        keyed("d", "9"),
        keyed("d", "9"),
    ];
    test.push_all("0", events).await;
    test.hand_over("0").await;
    test.advance(SECOND * 8).await;
    assert!(
        !test.is_open("0") || !seen.contains("+5"),
        "what was not begun before the end is not begun: {:?}",
        seen.all()
    );
    test.advance(SECOND * 4).await;
    assert!(!test.is_open("0"));
    assert_eq!(test.checkpoint("0").await, Some(4));
    assert!(!seen.contains("+5"), "{:?}", seen.all());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_end_is_dropped_with_the_time_of_the_stop() {
    let seen = Seen::default();
    let mut test = HandlerTest::start(|client| sleeping(client, &seen).shutdown_timeout(SECOND * 5)).unwrap();
    test.push_all("0", [keyed("a", "1"), keyed("b", "1000"), keyed("c", "1")]).await;
    test.hand_over("0").await;
    test.advance(SECOND * 7).await;
    assert!(!test.is_open("0"));
    assert_eq!(test.checkpoint("0").await, Some(0));
    assert!(test.errors().iter().any(|error| error.kind == ErrorKind::Timeout), "{:?}", test.errors());
}

#[tokio::test(start_paused = true)]
async fn events_are_handled_at_once_also_after_a_panic_of_the_key() {
    let (seen, panics) = (Seen::default(), AtomicBool::new(true));
    let mut test = HandlerTest::start(|client| {
        sleeping(client, &seen).keyed_by(move |event| {
            assert!(!panics.swap(false, Ordering::Relaxed), "a defect of the application");
            event.sequence_number().value()
        })
    })
    .unwrap();
    test.push_all("0", ["5", "5", "5"]).await;
    test.advance(SECOND * 3).await;
    assert!(test.errors()[0].text.contains("a defect of the application"), "{:?}", test.errors());
    assert_eq!(seen.all(), ["+0", "+1", "+2"]);
    test.stop().await.unwrap();
}

/// Every further event would be refused in the same way: neither a retry nor giving up the event helps, however deep
/// the error is in one of the program.
#[tokio::test(start_paused = true)]
async fn a_callback_that_writes_checkpoints_of_its_own_ends_the_run() {
    for in_transaction in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&calls);
        let mut test = HandlerTest::start(|client| {
            let receive = client.receive(move |context, event| {
                counting.fetch_add(1, Ordering::Relaxed);
                async move {
                    if in_transaction {
                        context.transactional_checkpoint(&event).map_err(Poison::new)?;
                    } else {
                        context.update_checkpoint(&event).await?;
                    }
                    Ok(())
                }
            });
            let skips = FailurePolicy::default().attempts(1).then(GiveUp::Skip);
            receive.concurrency(2).keyed_by(key).on_failure(skips)
        })
        .unwrap();
        test.push_all("0", [keyed("a", "1"), keyed("a", "2")]).await;
        test.advance(SECOND * 60).await;
        assert!(!test.is_open("0"));
        assert_eq!((calls.load(Ordering::Relaxed), test.checkpoint("0").await), (1, None));
        let error = test.stop().await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::InvalidArgument, false));
        assert!(error.to_string().contains("the checkpoint policy decides"), "{error}");
    }
}

/// The callback for idle partitions is no call with an event, so that no failure policy is asked.
#[tokio::test(start_paused = true)]
async fn an_idle_callback_that_writes_checkpoints_ends_the_run_too() {
    let last = Arc::new(Mutex::new(None));
    let (noting, noted) = (Arc::clone(&last), last);
    let mut test = HandlerTest::start(|client| {
        let receive = client.receive(move |_, event| {
            *noting.lock().unwrap() = Some(event);
            async { Ok(()) }
        });
        let receive = receive.max_wait_time(SECOND, move |context| {
            let event = noted.lock().unwrap().clone();
            async move {
                if let Some(event) = event {
                    context.update_checkpoint(&event).await?;
                }
                Ok(())
            }
        });
        receive.concurrency(2).unordered()
    })
    .unwrap();
    test.push("0", "a").await;
    test.advance(SECOND * 2).await;
    assert_eq!(test.stop().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn concurrency_has_to_say_what_is_kept_in_order() {
    let started = HandlerTest::start(|client| client.receive(|_, _| async { Ok(()) }).concurrency(2));
    let error = started.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("keyed_by"), "{error}");
}

/// Random durations and failures of many keys: order within each key, and no checkpoint beyond what is done.
#[tokio::test(start_paused = true)]
async fn whatever_takes_long_or_fails_each_key_is_handled_in_order() {
    const EVENTS: i64 = 3_000;
    #[derive(Default)]
    struct Log {
        of_key: BTreeMap<String, Vec<i64>>,
        failed: BTreeSet<i64>,
    }
    let log = Arc::new(Mutex::new(Log::default()));
    let noting = Arc::clone(&log);
    let mut test = HandlerTest::start(|client| {
        let receive = client.receive(move |_, event| {
            let noting = Arc::clone(&noting);
            async move {
                let number = event.sequence_number().value();
                // A pseudo-random mixture that is the same each time.
                let mixed = number.wrapping_mul(7_919) % 101;
                sleep(Duration::from_millis(mixed.unsigned_abs())).await;
                let mut log = noting.lock().unwrap();
                if mixed % 10 == 0 && log.failed.insert(number) {
                    return Err("refused once".into());
                }
                log.of_key.entry(key(&event).unwrap_or_default()).or_default().push(number);
                Ok(())
            }
        });
        let policy = FailurePolicy::retry(RetryPolicy::fixed(Duration::from_millis(200)));
        receive.concurrency(16).keyed_by(key).on_failure(policy).checkpoint(CheckpointPolicy::each_batch())
    })
    .unwrap();
    test.push_all("0", (0..EVENTS).map(|number| keyed(&(number % 97).to_string(), "x"))).await;
    let done = || log.lock().unwrap().of_key.values().flatten().copied().collect::<BTreeSet<_>>();
    while done().len() < usize::try_from(EVENTS).unwrap() {
        let before = done();
        let checkpoint = test.checkpoint("0").await.unwrap_or(-1);
        assert!((0..=checkpoint).all(|number| before.contains(&number)), "{checkpoint} is ahead");
        test.advance(Duration::from_millis(50)).await;
    }
    test.advance(SECOND).await;
    assert_eq!(test.checkpoint("0").await, Some(EVENTS - 1));
    for (key, numbers) in &log.lock().unwrap().of_key {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    test.stop().await.unwrap();
}
