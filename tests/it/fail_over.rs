//! The event hub fails over to its geo-replica, which knows no offset from before (contract §0.2, no. 2 and §8.9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::{
    CheckpointStore, ConsumerClient, ErrorKind, InvalidPosition, MemoryCheckpointStore, PartitionContext,
    ReceivedEvent, RetryPolicy, StartingPosition,
};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::{HUB, World};
use eventhubs_types::ConsumerScope;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A consumer that checkpoints some of the events that it handles.
struct Consumer {
    seen: Arc<Mutex<Seen>>,
    stop: oneshot::Sender<()>,
    receiving: JoinHandle<eventhubs::Result<eventhubs::ReceiveReport>>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    /// Sequence numbers by partition, in the order of the calls.
    handled: BTreeMap<String, Vec<i64>>,
    checkpoints: usize,
    /// How often it was told that a position is invalid.
    refusals: usize,
}

impl Seen {
    fn calls(&self) -> usize {
        self.handled.values().map(Vec::len).sum()
    }

    fn distinct(&self) -> usize {
        self.handled.values().map(|numbers| numbers.iter().collect::<BTreeSet<_>>().len()).sum()
    }
}

fn client(emulator: &Emulator, store: impl CheckpointStore) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(store)
        .load_balancing_interval(Duration::from_millis(200))
        .retry(RetryPolicy::exponential(Duration::from_millis(50)))
        .build()
        .unwrap()
}

impl Consumer {
    /// Checkpoints the events with these numbers.
    fn start(
        client: &ConsumerClient,
        starting: StartingPosition,
        policy: InvalidPosition,
        checkpoints: fn(i64) -> bool,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (handling, failing) = (Arc::clone(&seen), Arc::clone(&seen));
        let handle = move |context: PartitionContext, event: ReceivedEvent| {
            let seen = Arc::clone(&handling);
            async move {
                let number = event.sequence_number().value();
                let partition = context.partition_id().to_string();
                seen.lock().unwrap().handled.entry(partition).or_default().push(number);
                if checkpoints(number) {
                    context.update_checkpoint(&event).await?;
                    seen.lock().unwrap().checkpoints += 1;
                }
                Ok(())
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(handle)
            .starting_position(starting)
            .on_invalid_position(policy)
            .on_error(move |_, error| {
                let refusals = usize::from(error.kind() == ErrorKind::InvalidPosition);
                failing.lock().unwrap().refusals += refusals;
                async {}
            })
            .with_graceful_shutdown(stopped);
        Self { seen, stop, receiving: tokio::spawn(receive.into_future()) }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    #[track_caller]
    fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> impl Future<Output = ()> {
        until(seeing(what, || self.seen()), move || condition(&self.seen.lock().unwrap()))
    }

    async fn stop(self) -> Seen {
        self.stop.send(()).unwrap();
        self.receiving.await.unwrap().unwrap();
        let seen = self.seen.lock().unwrap();
        seen.clone()
    }
}

/// Waits until the store holds the offsets at which the partitions end, and returns them.
async fn until_checkpointed(world: &World) -> Vec<String> {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let ends = world.emulator.partitions(HUB).unwrap();
        let ends: Vec<_> = ends.into_iter().map(|end| end.last_enqueued_offset.to_string()).collect();
        if checkpoints(world).await == ends {
            return ends;
        }
    }
}

/// The offsets in the store, in the order of the partitions.
async fn checkpoints(world: &World) -> Vec<String> {
    let scope = ConsumerScope::new(
        world.emulator.address().ip().to_string().parse().unwrap(),
        HUB.parse().unwrap(),
        "$Default".parse().unwrap(),
    );
    let mut checkpoints = world.store().await.list_checkpoints(&scope).await.unwrap();
    checkpoints.sort_by_key(|checkpoint| checkpoint.partition.to_string());
    checkpoints.into_iter().map(|checkpoint| checkpoint.offset.unwrap().to_string()).collect()
}

/// Fails over under a live reader that has handled and checkpointed all; what comes next comes before it is back.
async fn nothing_is_lost(starting: StartingPosition) {
    within(PATIENCE, async {
        let world = World::new(2).await;
        let emulator = &world.emulator;
        let client = client(emulator, world.store().await);
        let consumer =
            Consumer::start(&client, starting, InvalidPosition::default(), |number| number % 10 == 9);
        until("two readers", || emulator.receivers(HUB).unwrap().len() == 2).await;
        world.publish(100);
        until_checkpointed(&world).await;

        emulator.fail_over(HUB).unwrap();
        world.publish(100);
        let stored = until_checkpointed(&world).await;
        assert!(stored.iter().all(|offset| offset.starts_with("1:")), "{stored:?}");
        let after = consumer.seen();
        assert_eq!(after.distinct(), 200);
        assert!(after.refusals > 0);

        // in the middle of the stream: a composite offset outlives the next one, so there is no gap and no repeat
        world.publish(2_000);
        consumer.until("200 more events", |seen| seen.calls() >= after.calls() + 200).await;
        emulator.fail_over(HUB).unwrap();
        world.publish(20);
        until_checkpointed(&world).await;
        let end = consumer.stop().await;
        assert_eq!(end.calls(), after.calls() + 2_020);
        assert_eq!(end.refusals, after.refusals);
        let last: Vec<_> = (100..1_110).collect();
        for (partition, numbers) in &end.handled {
            assert!(numbers.ends_with(&last), "partition {partition}: {numbers:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_reader_repeats_from_its_starting_position_and_loses_nothing() {
    nothing_is_lost(StartingPosition::Earliest).await;
}

/// The newest event would be behind those that it has not handled yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_reader_that_began_at_the_newest_event_loses_nothing_either() {
    nothing_is_lost(StartingPosition::Latest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_a_fail_over_resumes_exactly_behind_the_checkpoint() {
    within(PATIENCE, async {
        let world = World::new(2).await;
        world.publish(10);
        world.emulator.fail_over(HUB).unwrap();
        let client = client(&world.emulator, world.store().await);
        for (before, after) in [(0, 5), (5, 55)] {
            let consumer =
                Consumer::start(&client, StartingPosition::Earliest, InvalidPosition::default(), |_| true);
            until_checkpointed(&world).await;
            let seen = consumer.stop().await;
            assert_eq!(seen.refusals, 0);
            let expected: Vec<_> = (before..after).collect();
            for partition in ["0", "1"] {
                assert_eq!(seen.handled[partition], expected, "partition {partition}");
            }
            world.publish(100);
        }
    })
    .await;
}

/// Contract §8.9: the checkpoint is of event 1, reading starts at event 2 by default, and event 4 comes late.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_numeric_checkpoint_is_given_up_as_the_policy_says() {
    let from_2 = StartingPosition::from_sequence_number(2);
    for (policy, starting, expected) in [
        (InvalidPosition::Retry, from_2.clone(), vec![2, 3, 4]),
        (InvalidPosition::Retry, StartingPosition::Latest, vec![2, 3, 4]),
        (InvalidPosition::Retry, StartingPosition::from_sequence_number(3), vec![2, 3, 4]),
        (InvalidPosition::StartingPosition, from_2.clone(), vec![2, 3, 4]),
        (InvalidPosition::StartingPosition, StartingPosition::Latest, vec![4]),
        (InvalidPosition::Earliest, from_2.clone(), vec![0, 1, 2, 3, 4]),
        (InvalidPosition::Latest, from_2, vec![4]),
    ] {
        within(PATIENCE, async {
            let emulator = Emulator::builder().event_hub(HUB, 1).start().await.unwrap();
            emulator.publish(HUB, ["0", "1", "2", "3"]).unwrap();
            let client = client(&emulator, MemoryCheckpointStore::new());
            let before = Consumer::start(&client, StartingPosition::Earliest, policy, |number| number <= 1);
            before.until("four calls", |seen| seen.calls() == 4).await;
            before.stop().await;

            emulator.fail_over(HUB).unwrap();
            let after = Consumer::start(&client, starting.clone(), policy, |_| true);
            until("a reader", || !emulator.receivers(HUB).unwrap().is_empty()).await;
            emulator.publish(HUB, ["4"]).unwrap();
            after.until("a checkpoint per event", |seen| seen.checkpoints == expected.len()).await;
            let seen = after.stop().await;
            let case = format!("{policy:?}, {starting:?}");
            assert_eq!(seen.handled["0"], expected, "{case}");
            assert_eq!(seen.refusals, 1, "{case}: reported once");
        })
        .await;
    }
}
