//! When checkpoints are written by themselves, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use eventhubs::receive::Events;
use eventhubs::{CheckpointPolicy, ConsumerClient, Receive, StartingPosition};
use eventhubs_testkit::HandlerTest;

use crate::faulty_store::{Fault, FaultyStore};

const SECOND: Duration = Duration::from_secs(1);

fn receive(client: &ConsumerClient, policy: CheckpointPolicy) -> Receive<Events> {
    let receive = client.receive(|_, _| async { Ok(()) });
    receive.starting_position(StartingPosition::Earliest).checkpoint(policy)
}

fn start(policy: CheckpointPolicy) -> (Arc<FaultyStore>, HandlerTest) {
    let store = Arc::new(FaultyStore::default());
    let test = HandlerTest::start_on(Arc::clone(&store), |client| receive(client, policy)).unwrap();
    (store, test)
}

#[tokio::test(start_paused = true)]
async fn at_most_one_checkpoint_is_written_in_an_interval() {
    let (store, mut test) = start(CheckpointPolicy::every(SECOND * 10));
    for second in 0..100 {
        test.push_all("0", ["x"; 50]).await;
        test.advance(SECOND).await;
        let writes = store.writes();
        assert!(writes <= 1 + second / 9, "{writes} writes after {second} s");
    }
    assert!(store.writes() >= 8, "{} writes", store.writes());
    // What is still unwritten is due by then: an interval is up to a tenth longer.
    test.advance(SECOND * 11).await;
    let writes = store.writes();
    test.advance(SECOND * 100).await;
    assert_eq!(
        (store.writes() - writes, test.checkpoint("0").await),
        (0, Some(4_999)),
        "none when nothing moves"
    );
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn enough_events_are_written_before_the_interval_is_over() {
    let (_, mut test) = start(CheckpointPolicy::every(SECOND * 1_000).or_events(100));
    test.push_all("0", ["x"; 99]).await;
    assert_eq!(test.checkpoint("0").await, None);
    test.push("0", "x").await;
    assert_eq!(test.checkpoint("0").await, Some(99));
    test.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_handled_is_written_before_the_partition_is_closed() {
    for policy in [CheckpointPolicy::on_close_only(), CheckpointPolicy::every(SECOND * 1_000)] {
        let (_, mut test) = start(policy);
        test.push_all("0", ["x"; 10]).await;
        test.push_all("1", ["x"; 5]).await;
        assert_eq!(test.checkpoint("0").await, None);
        test.hand_over("0").await;
        assert_eq!((test.checkpoint("0").await, test.checkpoint("1").await), (Some(9), None));
        test.revoke("1").await;
        assert_eq!(test.checkpoint("1").await, None, "it is somebody else's");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_delays_a_checkpoint_and_holds_no_callback() {
    let (store, mut test) = start(CheckpointPolicy::each_batch());
    test.push("0", "x").await;
    assert_eq!(test.checkpoint("0").await, Some(0));
    store.set(Fault::Away);
    test.push_all("0", ["x"; 10]).await;
    test.advance(SECOND * 60).await;
    test.push_all("0", ["x"; 10]).await;
    store.set(Fault::Nothing);
    assert_eq!(test.checkpoint("0").await, Some(0));
    test.advance(SECOND * 60).await;
    assert_eq!(test.checkpoint("0").await, Some(20));
    test.stop().await.unwrap();
}
