//! One consumer group with one eventhubs instance and one of the official Python SDK, on the same blobs (contract §9).

use eventhubs_test_harness::{PATIENCE, interpreter, within};
use eventhubs_tests::{Consumer, World, distinct};

const INSTANCE: &str = env!("CARGO_BIN_EXE_instance");
const CONSUMER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/consumer.py");
const NEVER: u32 = 600;
const EVENTS: usize = 800;

fn ours(world: &World) -> Consumer {
    Consumer::start(&mut world.consumer(INSTANCE, NEVER, 1))
}

fn theirs(world: &World) -> Consumer {
    Consumer::start(world.consumer(interpreter(), NEVER, 1).arg(CONSUMER))
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_and_python_balance_and_each_goes_on_where_the_other_stopped() {
    within(PATIENCE, async {
        let world = World::new(8).await;
        let (ours_first, theirs_first) = (ours(&world), theirs(&world));
        world.until_shared(&[4, 4]).await;

        world.publish(EVENTS);
        theirs_first.until("40 calls", |said| said.calls() >= 40).await;
        let theirs_first = theirs_first.stop().await;
        ours_first.until("all events handled", |said| distinct([said, &theirs_first]).len() == EVENTS).await;

        let theirs_second = theirs(&world);
        world.until_shared(&[4, 4]).await;
        world.publish(EVENTS);
        ours_first
            .until("40 calls more than events", |said| said.calls() + theirs_first.calls() >= EVENTS + 40)
            .await;
        let ours_first = ours_first.stop().await;
        let said = [&theirs_first, &ours_first];
        theirs_second
            .until("all events handled", |last| distinct(said.into_iter().chain([last])).len() == 2 * EVENTS)
            .await;
        let theirs_second = theirs_second.stop().await;

        let calls = theirs_first.calls() + ours_first.calls() + theirs_second.calls();
        assert_eq!(calls, 2 * EVENTS, "clean stops repeat nothing, in either direction");
        for (who, said) in
            [("Python", &theirs_first), ("ours", &ours_first), ("Python again", &theirs_second)]
        {
            assert!(said.calls() > 0, "{who} had its share");
        }
    })
    .await;
}

/// Contract §9.3: every write replaces the whole record, so a mark on one of Python's would break its next renewal.
#[tokio::test(flavor = "multi_thread")]
async fn instances_hand_over_next_to_python_and_break_no_renewals() {
    within(PATIENCE, async {
        let world = World::new(9).await;
        let (leaver, python) = (ours(&world), theirs(&world));
        world.until_shared(&[4, 5]).await;
        let stayer = ours(&world);
        world.until_shared(&[3, 3, 3]).await;

        let (owned, troubles) = (world.records().await, python.said().other.len());
        world.publish(EVENTS);
        let left = leaver.stop().await;
        world.until_shared(&[4, 5]).await;
        world.publish(EVENTS);
        stayer
            .until("all events handled", |said| distinct([&left, &python.said(), said]).len() == 2 * EVENTS)
            .await;

        let theirs_before = owned.iter().filter(|record| record.mark.is_none());
        let now = world.records().await;
        for before in theirs_before {
            let now = now.iter().find(|record| record.partition == before.partition).unwrap();
            assert_eq!(now.owner, before.owner, "Python kept what it had");
            assert_ne!(now.version, before.version, "and renewed it");
        }
        let python = python.stop().await;
        assert_eq!(python.other.len(), troubles, "Python had no trouble: {:?}", python.other);
        let calls = left.calls() + stayer.stop().await.calls() + python.calls();
        assert_eq!(calls, 2 * EVENTS, "nothing was read twice");
    })
    .await;
}
