//! Partitions that move from one eventhubs instance to another without an event lost or seen twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::{
    CheckpointPolicy, CheckpointStore, CloseReason, ConsumerClient, EventData, MemoryCheckpointStore,
    ReceivedEvent, StartingPosition,
};
use eventhubs_emulator::Emulator;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::support::{HUB, Running, Seen, body, publish_to, start, until, within};

const PARTITIONS: usize = 4;

/// How long an instance that stops offers its partitions: longer than a busy machine needs to take them.
const OFFER: Duration = Duration::from_secs(45);

/// A client whose owners have as long to hand over as a busy machine may need.
fn client(emulator: &Emulator, store: &Arc<impl CheckpointStore>) -> ConsumerClient {
    let interval = Duration::from_secs(2);
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .load_balancing_interval(interval)
        .partition_ownership_expiration_interval(10 * interval)
        .build()
        .unwrap()
}

/// An instance that writes its checkpoints only when a partition is closed, if it still may.
fn lazy(client: &ConsumerClient, events: &Seen, states: &Seen) -> Running {
    let (events, opened, closed) = (events.clone(), states.clone(), states.clone());
    let last = Arc::new(Mutex::new(BTreeMap::new()));
    let latest = Arc::clone(&last);
    start(
        client
            .receive(move |context, event| {
                events.push(body(&event));
                latest.lock().unwrap().insert(context.partition_id().clone(), event);
                async { Ok(()) }
            })
            .starting_position(StartingPosition::Earliest)
            .offer_timeout(OFFER)
            .on_partition_initialize(move |context| {
                opened.push(format!("open {}", context.partition_id()));
                async { Ok(()) }
            })
            .on_partition_close(move |context, reason| {
                let event = last.lock().unwrap().remove(context.partition_id());
                let closed = closed.clone();
                async move {
                    if let Some(event) = event {
                        context.update_checkpoint(&event).await.unwrap();
                    }
                    closed.push(format!("{reason:?}"));
                }
            }),
    )
}

fn open(states: &Seen) -> usize {
    let all = states.all();
    let opened = all.iter().filter(|state| state.starts_with("open")).count();
    2 * opened - all.len()
}

fn publish(emulator: &Emulator, numbers: std::ops::Range<usize>) {
    emulator.publish(HUB, numbers.map(|number| number.to_string())).unwrap();
}

fn once_each(events: &Seen, count: usize) {
    let mut numbers: Vec<usize> = events.all().iter().map(|number| number.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "{numbers:?}");
}

fn closed(states: &Seen) -> Vec<String> {
    states.all().into_iter().filter(|state| !state.starts_with("open")).collect()
}

#[tokio::test]
async fn what_a_newcomer_takes_is_checkpointed_before_it_is_read_again() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, PARTITIONS).start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let (events, first, second) = (Seen::default(), Seen::default(), Seen::default());
        let older = lazy(&client(&emulator, &store), &events, &first);
        until("the first reads all", || open(&first) == PARTITIONS).await;
        publish(&emulator, 0..100);
        events.until_count(100).await;

        let newer = lazy(&client(&emulator, &store), &events, &second);
        until("each reads two", || open(&first) == 2 && open(&second) == 2).await;
        publish(&emulator, 100..200);
        events.until_count(200).await;
        assert_eq!(closed(&first), ["HandedOver"; 2]);
        newer.stop().await;
        older.stop().await;
        once_each(&events, 200);
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_stops_reads_on_until_its_partitions_are_taken() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, PARTITIONS).start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let (events, first, second) = (Seen::default(), Seen::default(), Seen::default());
        let leaver = lazy(&client(&emulator, &store), &events, &first);
        until("the first reads all", || open(&first) == PARTITIONS).await;
        let stayer = lazy(&client(&emulator, &store), &events, &second);
        until("each reads two", || open(&first) == 2 && open(&second) == 2).await;

        let mut published = 0;
        // On this runtime of one thread the stop begins no sooner than the first wait below, so at least the events
        // that are published first are read during it.
        let stopping = tokio::spawn(leaver.stop());
        while !stopping.is_finished() {
            publish(&emulator, published..published + 8);
            published += 8;
            events.until_count(published).await;
        }
        stopping.await.unwrap();
        assert_eq!(closed(&first), ["HandedOver"; PARTITIONS]);
        // The one that stopped had only to end its own reading; the next one may not have opened yet.
        until("the second reads all", || open(&second) == PARTITIONS).await;
        stayer.stop().await;
        assert_eq!(closed(&second), ["Shutdown"; PARTITIONS], "there is nobody to wait for");
        once_each(&events, published);
    })
    .await;
}

/// The cut link is all that the old owner sees at first; only a look into the store tells it from a theft.
#[tokio::test]
async fn what_keyed_calls_have_begun_is_finished_before_it_is_read_again() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, 2).start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let gate = Arc::new(Semaphore::new(0));
        let keyed = |client: &ConsumerClient, seen: &Seen| {
            let (seen, gate) = (seen.clone(), Arc::clone(&gate));
            let receive = client.receive(move |_, event| {
                let (seen, gate) = (seen.clone(), Arc::clone(&gate));
                async move {
                    if body(&event) == "slow" {
                        drop(gate.acquire().await?);
                        // Until the link that was cut off is seen.
                        sleep(Duration::from_millis(200)).await;
                    }
                    seen.push(body(&event));
                    Ok(())
                }
            });
            let receive = receive.starting_position(StartingPosition::Earliest);
            let policy = CheckpointPolicy::on_close_only();
            let key = |event: &ReceivedEvent| event.partition_key().map(str::to_owned);
            start(receive.checkpoint(policy).concurrency(2).keyed_by(key))
        };
        let (first, second) = (Seen::default(), Seen::default());
        let older = keyed(&client(&emulator, &store), &first);
        for partition in ["0", "1"] {
            let events = [("a", "slow"), ("a", "next"), ("b", "other")];
            let events = events.map(|(key, body)| EventData::new(body).partition_key(key));
            emulator.publish_to(HUB, partition, events).unwrap();
        }
        first.until_count(2).await;

        let newcomer = client(&emulator, &store);
        let newer = keyed(&newcomer, &second);
        let readers = || emulator.receivers(HUB).unwrap();
        let is_newcomer = |name: &Option<String>| name.as_deref() == Some(newcomer.owner_id().as_str());
        until("the newcomer reads", || readers().iter().any(|reader| is_newcomer(&reader.name))).await;
        gate.add_permits(2);
        until("all events are handled", || first.count() + second.count() >= 6).await;
        newer.stop().await;
        older.stop().await;
        assert_eq!((first.count(), second.all()), (6, vec![]), "nothing came twice");
    })
    .await;
}

#[tokio::test]
async fn a_callback_that_does_not_end_holds_up_a_handover_only_for_a_time() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, 2).start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        publish_to(&emulator, "0", &["a"]);
        publish_to(&emulator, "1", &["b"]);
        let gate = Arc::new(Semaphore::new(0));
        let hanging = |seen: &Seen| {
            let (seen, gate) = (seen.clone(), Arc::clone(&gate));
            client(&emulator, &store)
                .receive(move |_, event| {
                    seen.push(body(&event));
                    let gate = Arc::clone(&gate);
                    async move {
                        drop(gate.acquire().await?);
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest)
        };
        let (first, second) = (Seen::default(), Seen::default());
        let owner = start(hanging(&first));
        first.until_count(2).await;
        let newcomer = start(hanging(&second));
        second.until_count(1).await;
        gate.add_permits(1);
        newcomer.stop().await;
        owner.stop().await;
    })
    .await;
}

#[tokio::test]
async fn offers_can_be_done_without() {
    within(async {
        let emulator = Emulator::builder().event_hub(HUB, 2).start().await.unwrap();
        let store = Arc::new(MemoryCheckpointStore::new());
        let (events, stays) = (Seen::default(), Seen::default());
        let stayer = lazy(&client(&emulator, &store), &events, &stays);
        until("the one that stays reads two", || open(&stays) == 2).await;
        let reasons = Seen::default();
        let (opened, log) = (reasons.clone(), reasons.clone());
        let hurried = client(&emulator, &store)
            .receive(|_, _| async { Ok(()) })
            .offer_timeout(Duration::ZERO)
            .on_partition_initialize(move |_| {
                opened.push("open");
                async { Ok(()) }
            })
            .on_partition_close(move |_, reason| {
                assert_eq!(reason, CloseReason::Shutdown);
                log.push("closed");
                async {}
            });
        let hurried = start(hurried);
        until("one partition was closed", || reasons.count() == 1).await;
        hurried.stop().await;
        assert_eq!(reasons.all(), ["open", "closed"]);
        until("the one that stays reads two", || open(&stays) == 2).await;
        stayer.stop().await;
    })
    .await;
}
