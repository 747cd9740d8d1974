//! Bounded runs next to other instances of the consumer group.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use eventhubs::{
    Assignment, ConsumerClient, Error, ErrorKind, MemoryCheckpointStore, PartitionId, Receive,
    StartingPosition, Until,
};
use eventhubs_emulator::Emulator;

use crate::positions::watching;
use crate::support::{HUB, Seen, client_on, emulator, publish_to, record, start, until_owner, within};

/// A bound that is not reached.
fn later() -> Until {
    Until::sequence_numbers(["0", "1"].map(|partition| (partition.parse().unwrap(), 100.into())))
}

#[track_caller]
fn assert_refused(error: &Error, says: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn a_bounded_run_is_refused_where_another_instance_is_and_takes_nothing() {
    within(async {
        let emulator = emulator(2).await;
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        // It looks so seldom that what is taken from it stays taken.
        let first = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
        let first = first.checkpoint_store(Arc::clone(&store)).build().unwrap();
        let running = start(watching(&first, &seen));
        seen.until_count(2).await;
        let second = client_on(&emulator, Arc::clone(&store));
        let error = second.receive(|_, _| async { Ok(()) }).until(Until::now()).await.unwrap_err();
        assert_refused(&error, first.owner_id().as_str());
        assert_eq!(error.partition().map(ToString::to_string).as_deref(), Some("0"));
        for partition in ["0", "1"] {
            let owner = record(&*store, partition).await.unwrap().owner;
            assert_eq!(owner.as_ref(), Some(first.owner_id()));
        }
        assert_eq!(seen.count(), 2, "the first one reads on: {:?}", seen.all());
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_comes_later_ends_a_bounded_run_and_gets_its_partitions() {
    within(async {
        let emulator = emulator(2).await;
        let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
        let first = client_on(&emulator, Arc::clone(&store));
        let bounded = tokio::spawn(watching(&first, &seen).until(later()).into_future());
        seen.until_count(2).await;
        let second = client_on(&emulator, Arc::clone(&store));
        let others = Seen::default();
        let running = start(watching(&second, &others));
        assert_refused(&bounded.await.unwrap().unwrap_err(), second.owner_id().as_str());
        for partition in ["0", "1"] {
            until_owner(&store, partition, second.owner_id()).await;
        }
        running.stop().await;
    })
    .await;
}

/// Each would wait for the partitions of the other one.
#[tokio::test]
async fn of_two_bounded_runs_that_share_partitions_none_waits_for_the_other() {
    within(async {
        let emulator = emulator(2).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let max = NonZeroUsize::new(2).unwrap();
        let run = || {
            let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
                .checkpoint_store(Arc::clone(&store))
                .load_balancing_interval(Duration::from_millis(100))
                .max_partitions(max)
                .build();
            tokio::spawn(client.unwrap().receive(|_, _| async { Ok(()) }).until(later()).into_future())
        };
        let mut runs = [run(), run()];
        let [one, other] = &mut runs;
        let error = tokio::select! {
            ended = one => ended.unwrap().unwrap_err(),
            ended = other => ended.unwrap().unwrap_err(),
        };
        assert_refused(&error, "a bounded run needs its partitions for itself");
        runs.iter().for_each(tokio::task::JoinHandle::abort);
    })
    .await;
}

fn pod(emulator: &Emulator, store: &Arc<MemoryCheckpointStore>, ordinal: u32) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .load_balancing_interval(Duration::from_millis(100))
        .assignment(Assignment::ByOrdinal { ordinal, instances: 2 })
        .build()
        .unwrap()
}

#[tokio::test]
async fn instances_with_fixed_assignments_read_each_their_own_to_the_end() {
    within(async {
        let emulator = emulator(4).await;
        for partition in ["0", "1", "2", "3"] {
            publish_to(&emulator, partition, &["a", "b"]);
        }
        let store = Arc::new(MemoryCheckpointStore::new());
        let run = |ordinal| {
            let receive = pod(&emulator, &store, ordinal).receive(|_, _| async { Ok(()) });
            let receive: Receive<_> = receive.starting_position(StartingPosition::Earliest);
            receive.until(Until::now()).into_future()
        };
        let (one, other) = tokio::join!(run(0), run(1));
        for (report, expected) in [(one.unwrap(), ["0", "2"]), (other.unwrap(), ["1", "3"])] {
            assert_eq!((report.handled(), report.is_complete()), (4, true));
            assert!(report.partitions.keys().map(PartitionId::as_str).eq(expected));
        }
        assert_eq!(record(&*store, "3").await.unwrap().owner, None);
    })
    .await;
}

#[tokio::test]
async fn a_bound_that_cannot_be_reached_is_refused() {
    within(async {
        let emulator = emulator(2).await;
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let receive = || client.receive(|_, _| async { Ok(()) });
        let unknown = Until::sequence_numbers([("7".parse().unwrap(), 0.into())]);
        assert_refused(&receive().until(unknown.clone()).await.unwrap_err(), "no partition 7");
        let one = receive().partition_id("0".parse().unwrap()).until(unknown);
        assert_refused(&one.await.unwrap_err(), "none for partition 0");
        let limited = ConsumerClient::builder(emulator.connection_string(HUB), "$Default");
        let limited = limited.max_partitions(NonZeroUsize::MIN).build().unwrap();
        let error = limited.receive(|_, _| async { Ok(()) }).until(Until::now()).await.unwrap_err();
        assert_refused(&error, "max_partitions");
    })
    .await;
}
