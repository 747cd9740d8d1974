//! The receiver against links that follow a script, under a clock of our own.

use std::collections::VecDeque;
use std::sync::Mutex;

use eventhubs_types::{ConsumerGroup, EventBody, EventData};
use futures::FutureExt;
use futures::future::pending;

use super::*;
use crate::ErrorKind;
use crate::event::attributes::Attributes;

fn origin() -> EventSource {
    EventSource {
        event_hub: "orders".parse().unwrap(),
        consumer_group: ConsumerGroup::default(),
        partition: "0".parse().unwrap(),
    }
}

/// What opening a link leads to.
enum Open {
    Refused(Error),
    Link(Vec<Step>),
}

/// What a link does when it is read; after the last step it is silent.
enum Step {
    Events(std::ops::Range<i64>),
    Silence(Duration),
    Lost(Error),
}

/// A script of openings; after the last one everything is refused as busy or broken, as the script says.
struct Script {
    openings: Mutex<VecDeque<Open>>,
    afterwards: Error,
    asked: Mutex<Vec<(StartingPosition, bool, Instant)>>,
}

impl Script {
    fn new(openings: impl IntoIterator<Item = Open>) -> Arc<Self> {
        let openings = Mutex::new(openings.into_iter().collect());
        Arc::new(Self { openings, afterwards: broken(), asked: Mutex::default() })
    }

    fn positions(&self) -> Vec<StartingPosition> {
        self.asked.lock().unwrap().iter().map(|(position, ..)| position.clone()).collect()
    }

    fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Opener for Script {
    fn open(
        &self,
        position: StartingPosition,
        fresh: bool,
    ) -> BoxFuture<'static, Result<Box<dyn DeliverySource>>> {
        self.asked.lock().unwrap().push((position, fresh, Instant::now()));
        let opened = match self.openings.lock().unwrap().pop_front() {
            Some(Open::Link(steps)) => Ok(Box::new(ScriptedSource(steps.into())) as Box<dyn DeliverySource>),
            Some(Open::Refused(error)) => Err(error),
            None => Err(self.afterwards.clone()),
        };
        async move { opened }.boxed()
    }
}

struct ScriptedSource(VecDeque<Step>);

impl DeliverySource for ScriptedSource {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<ReceivedEvent>>> {
        async move {
            loop {
                match self.0.front_mut() {
                    Some(Step::Events(range)) if !range.is_empty() => {
                        return Ok(range.by_ref().take(max).map(received).collect());
                    }
                    Some(Step::Events(_)) => {}
                    Some(Step::Silence(time)) => tokio::time::sleep(*time).await,
                    Some(Step::Lost(error)) => return Err(error.clone()),
                    None => pending().await,
                }
                self.0.pop_front();
            }
        }
        .boxed()
    }

    fn is_stolen(&self) -> bool {
        false
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        async { Ok(()) }.boxed()
    }
}

fn received(number: i64) -> ReceivedEvent {
    ReceivedEvent::from_parts(EventData::new(""), format!("o{number}"), number, None)
}

fn broken() -> Error {
    Error::remote("receiving", "amqp:link:detach-forced", None)
}

fn stolen() -> Error {
    Error::remote("receiving", "amqp:link:stolen", None)
}

async fn open(script: &Arc<Script>) -> PartitionReceiver {
    let start = StartingPosition::Earliest;
    PartitionReceiver::open(origin(), Arc::clone(script) as _, RetryPolicy::default(), start).await.unwrap()
}

async fn numbers(receiver: &mut PartitionReceiver, max: usize) -> Vec<i64> {
    let events = receiver.receive_batch(max, None).await.unwrap();
    events.iter().map(|event| event.sequence_number().value()).collect()
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_it_resumes_behind_the_last_event_handed_out() {
    let script = Script::new([
        Open::Link(vec![Step::Lost(broken())]),
        Open::Link(vec![Step::Events(0..5), Step::Lost(broken())]),
        Open::Link(vec![Step::Events(5..6)]),
    ]);
    let mut receiver = open(&script).await;
    assert_eq!(numbers(&mut receiver, 3).await, [0, 1, 2]);
    assert_eq!(numbers(&mut receiver, 3).await, [3, 4]);
    assert_eq!(numbers(&mut receiver, 3).await, [5]);
    let start = StartingPosition::Earliest;
    assert_eq!(script.positions(), [start.clone(), start, StartingPosition::after_offset("o4")]);
}

#[tokio::test(start_paused = true)]
async fn a_stolen_link_is_never_attached_again() {
    let script = Script::new([Open::Link(vec![Step::Events(0..1), Step::Lost(stolen())])]);
    let mut receiver = open(&script).await;
    assert_eq!(numbers(&mut receiver, 9).await, [0]);
    for _ in 0..3 {
        let error = receiver.receive_batch(9, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnershipLost);
    }
    assert_eq!(script.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_stolen_while_it_recovers_stays_lost() {
    let script = Script::new([Open::Link(vec![Step::Lost(broken())]), Open::Refused(stolen())]);
    let mut receiver = open(&script).await;
    for _ in 0..3 {
        let error = receiver.receive_batch(9, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnershipLost);
    }
    assert_eq!(script.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_once_per_series_and_recovered_from_in_the_end() {
    let failures = (0..11).map(|_| Open::Refused(broken()));
    let link = |steps| [Open::Link(steps)];
    let openings = link(vec![Step::Events(0..1), Step::Lost(broken())]).into_iter().chain(failures);
    let script = Script::new(openings.chain(link(vec![Step::Events(1..2)])));
    let mut receiver = open(&script).await;
    assert_eq!(numbers(&mut receiver, 9).await, [0]);
    // One loss and eleven refusals are three series of four failures: a first try and three retries.
    for tries in [4, 8, 12] {
        let error = receiver.receive_batch(9, None).await.unwrap_err();
        assert!(error.is_transient());
        assert_eq!(script.times(), tries);
    }
    assert_eq!(numbers(&mut receiver, 9).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn losses_between_events_never_add_up() {
    let link = |n| Open::Link(vec![Step::Events(n..n + 1), Step::Lost(broken())]);
    let script = Script::new((0..50).map(link));
    let mut receiver = open(&script).await;
    for n in 0..50 {
        assert_eq!(numbers(&mut receiver, 9).await, [n]);
    }
}

#[tokio::test(start_paused = true)]
async fn losses_after_a_healthy_minute_never_add_up() {
    let link = |_| Open::Link(vec![Step::Silence(HEALTHY), Step::Lost(broken())]);
    let script = Script::new((0..20).map(link).chain([Open::Link(vec![Step::Events(0..1)])]));
    let mut receiver = open(&script).await;
    assert_eq!(numbers(&mut receiver, 9).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn links_that_die_at_once_are_an_outage() {
    let script = Script::new((0..20).map(|_| Open::Link(vec![Step::Lost(broken())])));
    let mut receiver = open(&script).await;
    assert!(receiver.receive_batch(9, None).await.unwrap_err().is_transient());
    assert_eq!(script.times(), 4);
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_stay_below_their_bound() {
    let mut receiver = open(&Script::new([Open::Link(vec![Step::Lost(broken())])])).await;
    let start = Instant::now();
    for _ in 0..25 {
        receiver.receive_batch(9, None).await.unwrap_err();
    }
    // A hundred waits of up to a minute, thirty seconds on average.
    let minutes = start.elapsed().as_secs() / 60;
    assert!((30..100).contains(&minutes), "{minutes}");
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_is_left_alone() {
    let busy = Error::remote("attaching", "com.microsoft:server-busy", None);
    let script = Script::new([Open::Link(vec![Step::Lost(busy)]), Open::Link(vec![Step::Events(0..1)])]);
    let mut receiver = open(&script).await;
    let start = Instant::now();
    assert_eq!(numbers(&mut receiver, 9).await, [0]);
    assert!(start.elapsed() >= Duration::from_secs(4));
}

/// docs/contract.md §5.4: re-authorise once, then final.
#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once() {
    let refused = || Error::remote("attaching", "amqp:unauthorized-access", None);
    let link = |steps| Open::Link(steps);
    let script = Script::new([
        link(vec![Step::Events(0..1), Step::Lost(refused())]),
        link(vec![Step::Events(1..2), Step::Lost(refused())]),
        Open::Refused(refused()),
    ]);
    let mut receiver = open(&script).await;
    assert_eq!(numbers(&mut receiver, 9).await, [0]);
    assert_eq!(numbers(&mut receiver, 9).await, [1]);
    for _ in 0..2 {
        assert_eq!(receiver.receive_batch(9, None).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    }
    let fresh: Vec<bool> = script.asked.lock().unwrap().iter().map(|(_, fresh, _)| *fresh).collect();
    assert_eq!(fresh, [false, true, true]);
}

/// A token may expire again while the service is away: only two refusals in a row tell that the credential is
/// wrong.
#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_again_after_another_failure() {
    let refused = || Open::Refused(Error::remote("attaching", "amqp:unauthorized-access", None));
    let lost = Open::Link(vec![Step::Lost(broken())]);
    let events = Open::Link(vec![Step::Events(0..1)]);
    let script = Script::new([lost, refused(), Open::Refused(broken()), refused(), events]);
    let start = StartingPosition::Earliest;
    let retry = RetryPolicy::default().max_retries(9);
    let mut receiver =
        PartitionReceiver::open(origin(), Arc::clone(&script) as _, retry, start).await.unwrap();
    assert_eq!(numbers(&mut receiver, 9).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_within_max_wait_is_an_empty_list() {
    let script = Script::new([Open::Link(vec![Step::Silence(Duration::from_secs(10)), Step::Events(0..1)])]);
    let mut receiver = open(&script).await;
    let wait = Some(Duration::from_secs(6));
    assert_eq!(receiver.receive_batch(9, wait).await.unwrap(), []);
    assert_eq!(receiver.receive_batch(9, Some(Duration::from_secs(20))).await.unwrap().len(), 1);
}

/// Trap 25 of the contract: callers that give up early must not keep a recovery from completing.
#[tokio::test(start_paused = true)]
async fn a_recovery_goes_on_when_calls_are_dropped() {
    let busy = Error::remote("attaching", "com.microsoft:server-busy", None);
    let script = Script::new([Open::Link(vec![Step::Lost(busy)]), Open::Link(vec![Step::Events(0..1)])]);
    let mut receiver = open(&script).await;
    assert_eq!(receiver.receive_batch(9, Some(Duration::ZERO)).await.unwrap(), []);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(script.times(), 2, "nobody polled the receiver meanwhile");
    assert_eq!(receiver.receive_batch(9, Some(Duration::ZERO)).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn opening_is_retried_and_then_reported() {
    let script = Script::new([]);
    let start = StartingPosition::Earliest;
    let opened =
        PartitionReceiver::open(origin(), Arc::clone(&script) as _, RetryPolicy::default(), start).await;
    assert!(opened.unwrap_err().is_transient());
    assert_eq!(script.times(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_the_partition_is_remembered() {
    let head = LastEnqueuedEventProperties {
        sequence_number: 9.into(),
        offset: "o9".into(),
        enqueued_time: None,
        retrieval_time: None,
    };
    let mut receiver = open(&Script::new([Open::Link(vec![])])).await;
    assert_eq!(receiver.last_enqueued_event_properties(), None);
    let attributes = Attributes { head: Some(head.clone()), ..Attributes::default() };
    let with_head = ReceivedEvent::whole(EventBody::default(), attributes, "o8".into(), 8.into(), None);
    receiver.hand_out(vec![with_head, received(9)]);
    assert_eq!(receiver.last_enqueued_event_properties(), Some(head.clone()));
    assert_eq!(receiver.receive_batch(9, Some(Duration::ZERO)).await.unwrap(), []);
    assert_eq!(receiver.last_enqueued_event_properties(), Some(head));
}

/// They run in tasks of a multi-threaded runtime.
#[test]
fn futures_can_move_between_threads() {
    fn is_send<T: Send>(_: impl FnOnce(PartitionReceiver) -> T) {}
    is_send(|receiver| receiver);
    is_send(|mut receiver| async move { receiver.receive_batch(1, None).await });
    is_send(PartitionReceiver::close);
}
