//! How a handler is tested: with the policies of production, in virtual time, and without a network.

use std::time::Duration;

use eventhubs::receive::Events;
use eventhubs::{CheckpointPolicy, ConsumerClient, FailurePolicy, GiveUp, Poison, Receive};
use eventhubs_testkit::{HandlerTest, TestEvent, event};

/// What the program does, as its `main` calls it with a real client.
fn orders(client: &ConsumerClient) -> Receive<Events> {
    let receive = client.receive(|_, event| async move {
        match &*event.body_as_str().map_err(Poison::new)? {
            "the database is away" => Err("no connection".into()),
            _ => Ok(()),
        }
    });
    receive
        .concurrency(4)
        .keyed_by(|event| event.partition_key().map(str::to_owned))
        .on_failure(FailurePolicy::default().attempts(3).then(GiveUp::Skip))
        .checkpoint(CheckpointPolicy::every(Duration::from_secs(10)))
}

#[tokio::test(start_paused = true)]
async fn orders_are_retried_and_what_cannot_be_read_is_skipped() {
    let mut test = HandlerTest::start(orders).unwrap();
    test.push("0", event("tea").partition_key("a")).await;
    test.push("0", TestEvent::undecodable([0xff])).await;
    test.push("0", event("the database is away").partition_key("b")).await;
    test.advance(Duration::from_secs(60)).await;
    assert_eq!(test.checkpoint("0").await, Some(2));
    let report = test.stop().await.unwrap();
    assert_eq!((report.handled(), report.skipped(), report.failed()), (1, 2, 4));
}
