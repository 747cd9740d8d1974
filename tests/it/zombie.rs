//! A process that hangs longer than its leases last, while another takes over, and then continues (README, "What it promises").

use eventhubs_test_harness::{PATIENCE, within};
use eventhubs_tests::{Consumer, Said, World, distinct};

const INSTANCE: &str = env!("CARGO_BIN_EXE_instance");

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hung_beyond_its_leases_handles_and_writes_nothing() {
    const EVENTS: usize = 8_000;
    within(PATIENCE, async {
        let world = World::new(4).await;
        let zombie = Consumer::start(&mut world.consumer(INSTANCE, 3, 10));
        world.until_shared(&[4]).await;
        world.publish(EVENTS);
        zombie.until("200 calls", |said| said.calls() >= 200).await;
        zombie.suspend().await;

        let survivor = Consumer::start(&mut world.consumer(INSTANCE, 3, 10));
        survivor.until("all events handled", |said| distinct([said, &zombie.said()]).len() == EVENTS).await;
        survivor.until("all events checkpointed", |said| is_all_checkpointed(said, EVENTS)).await;
        let before = zombie.said();
        assert!(before.calls() < EVENTS / 2, "it hung with work to do, and events in its buffers");

        zombie.resume().await;
        world.until_shared(&[2, 2]).await;
        let after = zombie.stop().await;
        let survivor = survivor.stop().await;

        for (partition, handled) in &after.handled {
            let known = &before.handled[partition];
            let more = handled.len() - known.len();
            assert!(
                more <= 1,
                "partition {partition}: {more} events after the fence, not only the running one"
            );
            // An answer that had come before may be heard of only now.
            let (checkpoint, last) = (after.checkpoints[partition], known[known.len() - 1]);
            assert!(
                checkpoint <= last,
                "partition {partition}: checkpoint {checkpoint} came after the fence"
            );
        }
        survivor.assert_contiguous("the survivor");
    })
    .await;
}

fn is_all_checkpointed(said: &Said, events: usize) -> bool {
    let last = i64::try_from(events / 4 - 1).unwrap();
    said.checkpoints.len() == 4 && said.checkpoints.values().all(|number| *number == last)
}
