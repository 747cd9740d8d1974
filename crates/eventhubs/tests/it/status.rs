//! What a client says of itself: its status, and what its observers are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::observe::{
    Call, CallObserver, CallOutcome, CallScope, Observation, ObservedPartition, Observer,
};
use eventhubs::status::{PartitionState, PartitionStatus, RunState, Stall, StatusReader, StoreState};
use eventhubs::testing::TestRun;
use eventhubs::{
    ConsumerClient, ConsumerScope, EventData, MemoryCheckpointStore, PartitionContext, ReceivedEvent,
    StartingPosition, Until,
};
use eventhubs_emulator::Emulator;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use crate::faulty_store::{Fault, FaultyStore};
use crate::log::Log;
use crate::support::{HUB, client, client_on, emulator, publish_to, seeing, start, until, within};

/// Keeps what it is told, as text.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn add(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn count(&self, part: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|told| told.contains(part)).count()
    }
}

impl Observer for Told {
    fn started(&self, status: StatusReader) {
        self.add(format!("started as {}", status.status().unwrap().owner_id));
    }

    fn observe(&self, _: &ConsumerScope, observation: &Observation<'_>) {
        self.add(format!("{observation:?}"));
    }

    fn calls(&self, _: &ObservedPartition<'_>) -> Option<Box<dyn CallObserver>> {
        Some(Box::new(self.clone()))
    }
}

impl CallObserver for Told {
    fn begin(&self, call: &Call<'_>) -> Option<Box<dyn CallScope>> {
        let number = call.events[0].sequence_number();
        self.add(format!("call {number} of {} events, attempt {}", call.events.len(), call.attempt));
        Some(Box::new(ToldScope(self.clone())))
    }
}

struct ToldScope(Told);

impl CallScope for ToldScope {
    fn poll(&mut self, poll: &mut dyn FnMut()) {
        self.0.add("polled".to_owned());
        poll();
    }

    fn end(self: Box<Self>, outcome: CallOutcome<'_>) {
        self.0.add(format!("ended: {:?}", outcome.error_type()));
    }
}

fn partition<'a>(status: &'a eventhubs::Status, id: &str) -> &'a PartitionStatus {
    status.partitions.iter().find(|partition| partition.partition.as_str() == id).expect("it was read")
}

async fn checkpoint(context: PartitionContext, event: ReceivedEvent) -> eventhubs::HandlerResult {
    context.update_checkpoint(&event).await?;
    Ok(())
}

#[tokio::test]
async fn the_status_says_what_each_partition_is_at() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let client = client(&emulator);
        let status = client.status();
        assert_eq!(
            (status.run, status.store, status.partitions.len()),
            (RunState::NotRunning, StoreState::Unknown, 0)
        );

        let running = start(client.receive(checkpoint).starting_position(StartingPosition::Earliest));
        let is_done = || {
            let status = client.status();
            status.is_ready()
                && status.partitions.len() == 2
                && partition(&status, "0").lag.is_some()
                && status.partitions.iter().all(|partition| partition.state == PartitionState::Idle)
        };
        until(seeing("the status", || client.status()), is_done).await;
        let status = client.status();
        assert_eq!(
            (status.run, &status.store, status.is_alive()),
            (RunState::Running, &StoreState::Answering, true)
        );
        assert!(status.rounds.is_some_and(|rounds| rounds.count > 0));
        let zero = partition(&status, "0");
        assert_eq!((zero.delivered, zero.done, zero.failed, zero.in_flight), (3, 3, 0, 0));
        assert_eq!((zero.position, zero.checkpoint), (Some(2.into()), Some(2.into())));
        assert!(
            zero.position_enqueued.is_some() && zero.checkpoint_age.is_some() && zero.owned_for.is_some()
        );
        let lag = zero.lag.unwrap();
        assert_eq!((lag.events, lag.time), (0, Some(Duration::ZERO)));
        assert_eq!(partition(&status, "1").position, None);

        running.stop().await;
        let status = client.status();
        assert_eq!((status.run, status.is_ready(), status.is_alive()), (RunState::NotRunning, false, true));
        let zero = partition(&status, "0");
        assert_eq!((&zero.state, zero.delivered, zero.done), (&PartitionState::Released, 3, 3));
    })
    .await;
}

#[tokio::test]
async fn the_lag_is_what_is_left_and_not_known_after_more_has_come() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c", "d"]);
        let client = client(&emulator);
        let may_handle = Arc::new(Semaphore::new(2));
        let permits = Arc::clone(&may_handle);
        let receive = client.receive(move |_, _| {
            let permits = Arc::clone(&permits);
            async move {
                permits.acquire().await?.forget();
                Ok(())
            }
        });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        let lag = || client.status().partitions.first().and_then(|zero| zero.lag.map(|lag| lag.events));
        until(seeing("the status", || client.status()), || lag() == Some(2)).await;
        let status = client.status();
        let zero = partition(&status, "0");
        assert_eq!((zero.position, zero.in_flight), (Some(1.into()), 1));
        assert!(matches!(zero.state, PartitionState::Handling { .. }), "{:?}", zero.state);
        assert!(zero.lag.unwrap().time.is_some());

        // The service was asked when there were four; it is not asked again for 30 seconds.
        publish_to(&emulator, "0", &["e"]);
        may_handle.add_permits(3);
        until(seeing("the status", || client.status()), || partition(&client.status(), "0").done == 5).await;
        assert_eq!(lag(), None);
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_is_no_reason_for_a_restart() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let client = client_on(&emulator, Arc::clone(&store));
        let running = start(client.receive(checkpoint).starting_position(StartingPosition::Earliest));
        until(seeing("the status", || client.status()), || client.status().is_ready()).await;
        store.set(Fault::Away);
        publish_to(&emulator, "0", &["a"]);
        let is_pending = || client.status().partitions.iter().all(|zero| zero.is_checkpoint_pending);
        until(seeing("the status", || client.status()), is_pending).await;
        let status = client.status();
        assert!(
            matches!(&status.store, StoreState::Failing { error, .. } if error.contains("cannot be reached"))
        );
        assert_eq!((status.is_alive(), status.is_ready()), (true, true));
        store.set(Fault::Nothing);
        until(seeing("the status", || client.status()), || client.status().store == StoreState::Answering)
            .await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_store_that_hangs_is_failing_too() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let client = client_on(&emulator, Arc::clone(&store));
        let running = start(client.receive(checkpoint).starting_position(StartingPosition::Earliest));
        until("it is ready", || client.status().is_ready()).await;
        store.set(Fault::Hangs);
        let is_failing = || matches!(client.status().store, StoreState::Failing { .. });
        until(seeing("the store fails", || client.status()), is_failing).await;
        store.set(Fault::Nothing);
        until("the store answers", || client.status().store == StoreState::Answering).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn observers_are_told_of_moves_rounds_calls_and_failures() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let (told, again) = (Told::default(), Told::default());
        let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
            .owner_id("pod-1".parse().unwrap())
            .observer(told.clone())
            .observer(again.clone())
            .build()
            .unwrap();
        let first = Mutex::new(true);
        let receive = client.receive(move |_, _| {
            let is_first = std::mem::take(&mut *first.lock().unwrap());
            async move { if is_first { Err("refused".into()) } else { Ok(()) } }
        });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        until(seeing("the end of a call", || told.clone()), || again.count("ended: None") == 1).await;
        running.stop().await;
        for part in [
            "started as pod-1",
            "Acquired { partition: \"0\", origin: Unowned }",
            "Claims { operation: \"claim\", outcome: \"won\", count: 1 }",
            "call 0 of 1 events, attempt 1",
            "ended: Some(\"_OTHER\")",
            "consequence: Retried",
            "call 0 of 1 events, attempt 2",
            "Released",
        ] {
            assert_eq!(told.count(part), 1, "{part}: {told:#?}");
        }
        for part in ["Round {", "operation: \"list_ownership\"", "get_event_hub_properties", "polled"] {
            assert!(told.count(part) > 0, "{part}: {told:#?}");
        }
    })
    .await;
}

/// Where reading begins is asked with `Latest`, and where a bounded run ends.
#[tokio::test]
async fn each_question_to_the_service_is_observed() {
    within(async {
        let (emulator, told) = (emulator(1).await, Told::default());
        let builder = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
        let client = builder.observer(told.clone()).build().unwrap();
        let receive = client.receive(checkpoint).starting_position(StartingPosition::Earliest);
        receive.until(Until::now()).await.unwrap();
        let asked = told.count("get_partition_properties");
        assert!(asked > 0, "where it ends: {told:#?}");
        let other = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
        let other = other.observer(told.clone()).build().unwrap();
        let running = start(other.receive(checkpoint).starting_position(StartingPosition::Latest));
        let is_asked = || told.count("get_partition_properties") > asked;
        until(seeing("where it begins", || told.clone()), is_asked).await;
        running.stop().await;
    })
    .await;
}

/// Panics whenever it is told anything.
struct Panics;

impl Observer for Panics {
    fn observe(&self, _: &ConsumerScope, _: &Observation<'_>) {
        panic!("a defect");
    }
}

#[tokio::test]
async fn an_observer_that_panics_harms_nobody() {
    within(async {
        let log = Log::record();
        let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
        publish_to(&emulator, "0", &["a"]);
        let builder = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
        let client = builder.observer(Panics).build().unwrap();
        let running = start(client.receive(checkpoint).starting_position(StartingPosition::Earliest));
        until(seeing("the status", || client.status()), || {
            client.status().partitions.iter().any(|zero| zero.done == 1)
        })
        .await;
        log.until(&["ERROR", "an observer panicked"]).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_end_is_a_stall() {
    let (log, told, goes_on) = (Log::record(), Told::default(), Arc::new(Notify::new()));
    let client = test_client(&told);
    let waits = Arc::clone(&goes_on);
    let receive = client.receive(move |_, _| {
        let waits = Arc::clone(&waits);
        async move {
            waits.notified().await;
            Ok(())
        }
    });
    let receive = receive.starting_position(StartingPosition::Earliest).stall_after(Duration::from_secs(60));
    let mut run = TestRun::new(receive).unwrap();
    let zero = "0".parse().unwrap();
    run.open(&zero);
    run.push(&zero, EventData::new("tea"), None);
    sleep(Duration::from_secs(59)).await;
    let state = || partition(&client.status(), "0").state.clone();
    let handling = PartitionState::Handling { since: Duration::from_secs(59) };
    assert_eq!(state(), handling);
    assert_eq!(told.count("Stalled"), 0);
    sleep(Duration::from_secs(11)).await;
    let stall = Stall::Call { sequence_number: Some(0.into()) };
    assert!(matches!(state(), PartitionState::Stalled { stall: why, .. } if why == stall));
    log.until(&["WARN", "the partition is stalled", "partition=0", "sequence_number=0", "after=60s"]).await;
    assert_eq!((told.count("Stalled {"), told.count("StallEnded")), (1, 0));

    goes_on.notify_one();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((state(), told.count("StallEnded")), (PartitionState::Idle, 1));
}

#[tokio::test(start_paused = true)]
async fn a_link_over_which_nothing_comes_is_attached_again() {
    let (log, told) = (Log::record(), Told::default());
    let client = test_client(&told);
    let mut run =
        TestRun::new(client.receive(checkpoint).starting_position(StartingPosition::Earliest)).unwrap();
    let zero = "0".parse().unwrap();
    run.open(&zero);
    run.push(&zero, EventData::new("tea"), None);
    sleep(Duration::from_secs(1)).await;
    // Quiet for an hour with nothing to read, which is no stall.
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        (partition(&client.status(), "0").state.clone(), told.count("Stalled")),
        (PartitionState::Idle, 0)
    );

    run.stall(&zero);
    run.push(&zero, EventData::new("coffee"), None);
    sleep(Duration::from_secs(180)).await;
    log.until(&["WARN", "the link is stalled", "the newest one is 1", "partition=0"]).await;
    assert_eq!((told.count("Stalled {"), told.count("StallEnded"), told.count("Recovered")), (1, 1, 1));
    let status = client.status();
    let zero = partition(&status, "0");
    assert_eq!((&zero.state, zero.done, zero.checkpoint), (&PartitionState::Idle, 2, Some(1.into())));
}

fn test_client(told: &Told) -> ConsumerClient {
    let address = "Endpoint=sb://localhost;SharedAccessKeyName=k;SharedAccessKey=a2V5;EntityPath=orders;\
                   UseDevelopmentEmulator=true";
    let builder = ConsumerClient::builder(address.replace(' ', ""), "$Default").observer(told.clone());
    builder.checkpoint_store(MemoryCheckpointStore::new()).build().unwrap()
}
