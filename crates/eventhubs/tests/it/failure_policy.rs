//! What becomes of events whose callback fails, on a paused clock. `callbacks` has the same against the emulator.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventhubs::receive::{Batches, Events};
use eventhubs::{
    BatchFailed, CheckpointPolicy, ConsumerClient, DeadLetter, DeadLetterSink, Error, ErrorKind,
    FailurePolicy, GiveUp, HandlerError, HandlerResult, Poison, Receive, ReceivedEvent, RetryPolicy,
    StartingPosition,
};
use eventhubs_testkit::HandlerTest;

use crate::support::{Seen, body};

const SECOND: Duration = Duration::from_secs(1);

/// Retries each second.
fn each_second() -> FailurePolicy {
    FailurePolicy::retry(RetryPolicy::fixed(SECOND))
}

/// Keeps letters in memory, and fails while it is told to.
#[derive(Debug, Default)]
struct Sink {
    letters: Mutex<Vec<(i64, u32, String)>>,
    fails: AtomicBool,
}

#[async_trait]
impl DeadLetterSink for Sink {
    async fn put(&self, letter: &DeadLetter) -> HandlerResult {
        if self.fails.load(Ordering::Relaxed) {
            return Err("the disk is full".into());
        }
        let number = letter.sequence_number().value();
        self.letters.lock().unwrap().push((number, letter.attempts(), letter.reason().to_owned()));
        Ok(())
    }
}

impl Sink {
    fn numbers(&self) -> Vec<i64> {
        self.letters.lock().unwrap().iter().map(|(number, ..)| *number).collect()
    }
}

/// Notes each body, and fails as `fail` says for it.
fn failing(
    client: &ConsumerClient,
    seen: &Seen,
    fail: impl Fn(&str) -> HandlerResult + Send + Sync + 'static,
) -> Receive<Events> {
    let seen = seen.clone();
    let receive = client.receive(move |_, event| {
        seen.push(body(&event));
        let result = fail(&body(&event));
        async { result }
    });
    receive.starting_position(StartingPosition::Earliest).checkpoint(CheckpointPolicy::each_batch())
}

fn fails_at(poison: &'static str) -> impl Fn(&str) -> HandlerResult {
    move |body| if body == poison { Err("refused".into()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_holds_its_partition_and_no_other() {
    let seen = Seen::default();
    let mut test =
        HandlerTest::start(|client| failing(client, &seen, fails_at("b")).on_failure(each_second())).unwrap();
    test.push_all("0", ["a", "b", "c"]).await;
    test.push("1", "z").await;
    test.advance(SECOND * 3).await;
    assert_eq!(seen.all(), ["a", "b", "z", "b", "b", "b"]);
    assert_eq!((test.checkpoint("0").await, test.checkpoint("1").await), (Some(0), Some(0)));
    assert!(test.errors().iter().all(|error| error.kind == ErrorKind::Handler));
    let held_by = test.held_by("0").unwrap();
    assert_eq!((held_by.sequence_number.value(), held_by.attempts, test.held_by("1")), (1, 4, None));
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_an_event_may_be_skipped() {
    let seen = Seen::default();
    let policy = each_second().attempts(3).then(GiveUp::Skip);
    let mut test =
        HandlerTest::start(|client| failing(client, &seen, fails_at("b")).on_failure(policy)).unwrap();
    test.push_all("0", ["a", "b", "c"]).await;
    test.advance(SECOND).await;
    assert_eq!(test.checkpoint("0").await, Some(0));
    test.advance(SECOND).await;
    assert_eq!(seen.all(), ["a", "b", "b", "b", "c"]);
    assert_eq!(test.checkpoint("0").await, Some(2));
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_when_its_time_is_over() {
    let seen = Seen::default();
    let policy = each_second().max_age(SECOND * 3).then(GiveUp::Skip);
    let mut test =
        HandlerTest::start(|client| failing(client, &seen, fails_at("a")).on_failure(policy)).unwrap();
    test.push_all("0", ["a", "b"]).await;
    test.advance(SECOND * 10).await;
    assert_eq!(seen.all(), ["a", "a", "a", "a", "b"]);
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poison_event_is_given_up_at_once() {
    let (seen, sink) = (Seen::default(), Arc::new(Sink::default()));
    let policy = each_second().then(GiveUp::dead_letter(Arc::clone(&sink)));
    let fail = |body: &str| if body == "b" { Err(Poison::new("not JSON").into()) } else { Ok(()) };
    let mut test = HandlerTest::start(|client| failing(client, &seen, fail).on_failure(policy)).unwrap();
    test.push_all("0", ["a", "b", "c"]).await;
    assert_eq!(seen.all(), ["a", "b", "c"]);
    assert_eq!(*sink.letters.lock().unwrap(), [(1, 1, "Poison".to_owned())]);
    assert_eq!(test.checkpoint("0").await, Some(2));
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_may_stop_with_the_error_of_an_event() {
    let seen = Seen::default();
    let policy = each_second().attempts(2).then(GiveUp::Stop);
    let mut test =
        HandlerTest::start(|client| failing(client, &seen, fails_at("b")).on_failure(policy)).unwrap();
    test.push_all("0", ["a", "b", "c"]).await;
    test.advance(SECOND).await;
    assert!(!test.is_open("0"));
    assert_eq!(test.checkpoint("0").await, Some(0));
    let error = test.stop().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handler);
    assert!(error.to_string().contains("sequence number 1"), "{error}");
    assert_eq!(seen.all(), ["a", "b", "b"]);
}

/// Attempts are counted over restarts: the second panic is the last.
#[tokio::test(start_paused = true)]
async fn a_panic_restarts_its_partition_and_counts_as_an_attempt() {
    let (seen, sink) = (Seen::default(), Arc::new(Sink::default()));
    let policy = each_second().attempts(2).then(GiveUp::dead_letter(Arc::clone(&sink)));
    let fail = |body: &str| if body == "b" { panic!("at b") } else { Ok(()) };
    let opened = seen.clone();
    let mut test = HandlerTest::start(|client| {
        failing(client, &seen, fail).on_failure(policy).on_partition_initialize(move |_| {
            opened.push("open");
            async { Ok(()) }
        })
    })
    .unwrap();
    test.push_all("0", ["a", "b", "c"]).await;
    test.advance(SECOND * 60).await;
    assert_eq!(seen.all(), ["open", "a", "b", "open", "b", "c"]);
    assert_eq!(*sink.letters.lock().unwrap(), [(1, 2, "Panicked".to_owned())]);
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_its_deadline_is_dropped_and_repeated() {
    let seen = Seen::default();
    let (log, calls) = (seen.clone(), AtomicUsize::new(0));
    let mut test = HandlerTest::start(|client| {
        let receive = client.receive(move |_, event| {
            let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            let log = log.clone();
            async move {
                if is_first {
                    tokio::time::sleep(SECOND * 10).await;
                }
                log.push(body(&event));
                Ok(())
            }
        });
        receive.deadline(SECOND).on_failure(each_second())
    })
    .unwrap();
    test.push_all("0", ["a", "b"]).await;
    test.push("1", "z").await;
    assert_eq!(seen.all(), ["z"]);
    test.advance(SECOND * 2).await;
    assert_eq!(seen.all(), ["z", "a", "b"]);
    assert!(test.errors()[0].text.contains("deadline of 1s"), "{:?}", test.errors());
    test.stop().await.unwrap();
}

/// The sink fails for a minute: no checkpoint passes the event, and nothing is skipped.
#[tokio::test(start_paused = true)]
async fn no_checkpoint_passes_an_event_that_the_sink_does_not_have() {
    let (seen, sink) = (Seen::default(), Arc::new(Sink::default()));
    sink.fails.store(true, Ordering::Relaxed);
    let policy = each_second().attempts(1).then(GiveUp::dead_letter(Arc::clone(&sink)));
    let mut test =
        HandlerTest::start(|client| failing(client, &seen, fails_at("b")).on_failure(policy)).unwrap();
    test.push_all("0", ["a", "b", "c"]).await;
    for _ in 0..60 {
        test.advance(SECOND).await;
        assert_eq!(test.checkpoint("0").await, Some(0));
    }
    assert!(!seen.contains("c"));
    let errors = test.errors();
    assert!(errors.iter().any(|error| error.kind == ErrorKind::DeadLetter), "{errors:?}");
    sink.fails.store(false, Ordering::Relaxed);
    test.advance(SECOND * 60).await;
    assert_eq!((sink.numbers(), test.checkpoint("0").await), (vec![1], Some(2)));
    test.stop().await.unwrap();
}

/// What is downstream is away for five minutes: that is no reason to empty the event hub into the dead letters.
#[tokio::test(start_paused = true)]
async fn an_outage_of_everything_sends_few_events_to_the_dead_letters() {
    let (seen, sink, is_away) = (Seen::default(), Arc::new(Sink::default()), Arc::new(AtomicBool::new(true)));
    let policy = each_second().attempts(1).then(GiveUp::dead_letter(Arc::clone(&sink))).dead_letter_limit(10);
    let away = Arc::clone(&is_away);
    let fail = move |_: &str| {
        if away.load(Ordering::Relaxed) { Err(HandlerError::from("no database")) } else { Ok(()) }
    };
    let mut test = HandlerTest::start(|client| failing(client, &seen, fail).on_failure(policy)).unwrap();
    for partition in ["0", "1"] {
        test.push_all(partition, std::iter::repeat_n("x", 1_000)).await;
    }
    test.advance(SECOND * 300).await;
    let letters = sink.numbers().len();
    assert!((10..=60).contains(&letters), "{letters}");
    assert!(test.errors().iter().any(|error| error.kind == ErrorKind::DeadLetterLimit));
    is_away.store(false, Ordering::Relaxed);
    test.advance(SECOND * 60).await;
    assert_eq!((test.checkpoint("0").await, test.checkpoint("1").await), (Some(999), Some(999)));
    assert_eq!(sink.numbers().len(), letters);
    test.stop().await.unwrap();
}

/// Acceptance: every 100th of 10 000 events fails for good.
#[tokio::test(start_paused = true)]
async fn every_event_is_handled_or_in_the_dead_letters() {
    let (handled, sink) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Sink::default()));
    let policy = each_second().attempts(3).then(GiveUp::dead_letter(Arc::clone(&sink)));
    let log = Arc::clone(&handled);
    let mut test = HandlerTest::start(|client| {
        let receive = client.receive(move |_, event| {
            let number = event.sequence_number().value();
            let fails = number % 100 == 99;
            if !fails {
                log.lock().unwrap().push(number);
            }
            async move { if fails { Err("refused".into()) } else { Ok(()) } }
        });
        receive.on_failure(policy).checkpoint(CheckpointPolicy::every(SECOND))
    })
    .unwrap();
    test.push_all("0", std::iter::repeat_n("x", 10_000)).await;
    test.advance(SECOND * 300).await;
    let handled = handled.lock().unwrap().clone();
    assert_eq!(handled, (0..10_000).filter(|number| number % 100 != 99).collect::<Vec<_>>());
    assert_eq!(sink.numbers(), (0..10_000).filter(|number| number % 100 == 99).collect::<Vec<_>>());
    assert_eq!(test.checkpoint("0").await, Some(9_999));
    let report = test.stop().await.unwrap();
    assert_eq!((report.handled(), report.dead_lettered(), report.failed()), (9_900, 100, 300));
}

/// A batch callback that fails as `fail` says.
fn failing_batches(
    client: &ConsumerClient,
    seen: &Seen,
    fail: impl Fn(&[ReceivedEvent]) -> HandlerResult + Send + Sync + 'static,
) -> Receive<Batches> {
    let seen = seen.clone();
    let receive = client.receive_batch(move |_, events| {
        let numbers: Vec<_> = events.iter().map(|event| event.sequence_number().to_string()).collect();
        seen.push(numbers.join(" "));
        let result = fail(&events);
        async { result }
    });
    receive.starting_position(StartingPosition::Earliest).checkpoint(CheckpointPolicy::each_batch())
}

#[tokio::test(start_paused = true)]
async fn events_before_the_one_that_failed_do_not_come_again() {
    let (seen, failed) = (Seen::default(), AtomicBool::new(false));
    let fail = move |_: &[ReceivedEvent]| {
        if failed.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(BatchFailed::at(7, "refused").into()) }
    };
    let mut test =
        HandlerTest::start(|client| failing_batches(client, &seen, fail).on_failure(each_second())).unwrap();
    test.push_all("0", ["x"; 10]).await;
    assert_eq!(test.checkpoint("0").await, Some(6));
    test.advance(SECOND).await;
    assert_eq!(seen.all(), ["0 1 2 3 4 5 6 7 8 9", "7 8 9"]);
    assert_eq!(test.checkpoint("0").await, Some(9));
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poison_event_of_a_batch_is_given_up_alone() {
    let (seen, sink) = (Seen::default(), Arc::new(Sink::default()));
    let policy = each_second().then(GiveUp::dead_letter(Arc::clone(&sink)));
    let fail =
        |events: &[ReceivedEvent]| match events.iter().position(|event| event.sequence_number().value() == 2)
        {
            Some(index) => Err(BatchFailed::at(index, Poison::new("not JSON")).into()),
            None => Ok(()),
        };
    let mut test =
        HandlerTest::start(|client| failing_batches(client, &seen, fail).on_failure(policy)).unwrap();
    test.push_all("0", ["x"; 5]).await;
    assert_eq!((seen.all(), sink.numbers()), (vec!["0 1 2 3 4".to_owned(), "3 4".to_owned()], vec![2]));
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_halved_down_to_the_event_that_fails() {
    let (seen, sink) = (Seen::default(), Arc::new(Sink::default()));
    let policy = each_second().attempts(2).bisect(true).then(GiveUp::dead_letter(Arc::clone(&sink)));
    let fail = |events: &[ReceivedEvent]| {
        let fails = events.iter().any(|event| event.sequence_number().value() == 200);
        if fails { Err("refused".into()) } else { Ok(()) }
    };
    let mut test =
        HandlerTest::start(|client| failing_batches(client, &seen, fail).on_failure(policy)).unwrap();
    test.push_all("0", ["x"; 300]).await;
    test.advance(SECOND).await;
    assert_eq!((sink.numbers(), test.checkpoint("0").await), (vec![200], Some(299)));
    let calls = seen.all();
    let alone = calls.iter().position(|call| call == "200").unwrap();
    assert!(alone <= 10, "{calls:?}");
    let handled: BTreeSet<_> = calls.iter().flat_map(|call| call.split(' ')).collect();
    assert_eq!(handled.len(), 300);
    test.stop().await.unwrap();
}

/// How a partition is taken from its pump.
#[derive(Debug, Clone, Copy)]
enum End {
    Stop,
    HandOver,
    Revoke,
}

/// In which wait the end finds it.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Retry,
    Restart,
    Sink,
    Limit,
}

/// Acceptance: every wait obeys every end at once, and each initialize has its close.
#[tokio::test(start_paused = true)]
async fn every_wait_after_a_failure_obeys_every_end() {
    for end in [End::Stop, End::HandOver, End::Revoke] {
        for wait in [Wait::Retry, Wait::Restart, Wait::Sink, Wait::Limit] {
            obeys(end, wait).await;
        }
    }
}

async fn obeys(end: End, wait: Wait) {
    let (seen, sink) = (Seen::default(), Arc::new(Sink::default()));
    let slow = FailurePolicy::retry(RetryPolicy::fixed(SECOND * 30));
    let dead_letter = GiveUp::dead_letter(Arc::clone(&sink));
    let policy = match wait {
        Wait::Retry => slow,
        Wait::Restart => slow.attempts(1),
        Wait::Sink => slow.attempts(1).then(dead_letter),
        Wait::Limit => slow.attempts(1).then(dead_letter).dead_letter_limit(1),
    };
    sink.fails.store(matches!(wait, Wait::Sink), Ordering::Relaxed);
    let (opened, closed) = (seen.clone(), seen.clone());
    let mut test = HandlerTest::start(|client| {
        let receive = failing(client, &Seen::default(), |_| Err("refused".into())).on_failure(policy);
        let receive = receive.on_partition_initialize(move |_| {
            opened.push("open");
            async { Ok(()) }
        });
        receive.on_partition_close(move |_, _| {
            closed.push("close");
            async {}
        })
    })
    .unwrap();
    test.push_all("0", ["a", "b"]).await;
    let before = tokio::time::Instant::now();
    match end {
        End::Stop => drop(test.stop().await.unwrap()),
        End::HandOver => test.hand_over("0").await,
        End::Revoke => test.revoke("0").await,
    }
    assert!(before.elapsed() < Duration::from_millis(50), "{end:?} in {wait:?}: {:?}", before.elapsed());
    let all = seen.all();
    let opens = all.iter().filter(|what| *what == "open").count();
    assert_eq!(opens * 2, all.len(), "{end:?} in {wait:?}: {all:?}");
    assert_eq!(all.last().unwrap(), "close", "{end:?} in {wait:?}: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn an_option_that_cannot_be_used_is_refused_by_name() {
    let of = |policy: FailurePolicy| {
        let started = HandlerTest::start(|client| client.receive(|_, _| async { Ok(()) }).on_failure(policy));
        started.unwrap_err()
    };
    let errors: [(Error, _); 2] = [
        (of(FailurePolicy::default().attempts(0)), "attempts"),
        (of(FailurePolicy::default().dead_letter_limit(0)), "dead_letter_limit"),
    ];
    for (error, option) in errors {
        assert_eq!((error.kind(), error.to_string().contains(option)), (ErrorKind::InvalidArgument, true));
    }
}
