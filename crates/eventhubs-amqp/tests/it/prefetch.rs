use eventhubs_types::{ConsumerGroup, StartingPosition};

use crate::proxy::Proxy;
use crate::support::{builder, client_builder, emulator, numbers, partition, texts, until, within};

/// Contract §5.5: what is outstanding and what is buffered never exceed the prefetch together.
#[tokio::test]
async fn the_service_never_sends_more_than_the_prefetch_ahead() {
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", texts(0..1_000)).unwrap();
    for prefetch in [1, 2, 20, 300] {
        let proxy = Proxy::start(&emulator).await;
        let client = client_builder(&proxy.connection_string(&emulator)).build().unwrap();
        let receiver = builder(&client, StartingPosition::Earliest).prefetch(prefetch).open().await;
        let (mut receiver, prefetch) = (receiver.unwrap(), usize::try_from(prefetch).unwrap());
        // One transfer is the answer of $cbs.
        let sent = || proxy.transfers() - 1;
        until("most of the prefetch is used", || 2 * sent() > prefetch).await;
        let mut handed_out = Vec::new();
        while handed_out.len() < 700 {
            assert!(
                sent() <= handed_out.len() + prefetch,
                "{} sent, {} handed out",
                sent(),
                handed_out.len()
            );
            handed_out.extend(within(receiver.receive_batch(7, None)).await.unwrap());
        }
        assert_eq!(numbers(&handed_out), (0..i64::try_from(handed_out.len()).unwrap()).collect::<Vec<_>>());
        receiver.close().await.unwrap();
    }
}

#[tokio::test]
async fn large_events_are_not_sent_ahead_beyond_the_byte_budget() {
    const SIZE: usize = 900_000;
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", (0..60).map(|_| "x".repeat(SIZE))).unwrap();
    let client = client_builder(&emulator.connection_string("orders")).build().unwrap();
    let opened = builder(&client, StartingPosition::Earliest).prefetch_bytes(5 * SIZE).open().await;
    let mut receiver = opened.unwrap();
    let sent = || usize::try_from(emulator.receivers("orders").unwrap()[0].delivered).unwrap();
    let mut handed_out = 0;
    until("events are sent ahead", || sent() == 4).await;
    while handed_out < 60 {
        assert!(sent() <= handed_out + 5, "{} sent, {handed_out} handed out", sent());
        handed_out += within(receiver.receive_batch(2, None)).await.unwrap().len();
    }
}

/// A slow caller works on what it got while more is sent ahead: both are in memory.
#[tokio::test]
async fn what_the_last_call_returned_counts_until_the_next_call() {
    const SIZE: usize = 100_000;
    const BUDGET: usize = 20;
    let emulator = emulator().await;
    emulator.publish_to("orders", "0", (0..200).map(|_| "x".repeat(SIZE))).unwrap();
    let client = client_builder(&emulator.connection_string("orders")).build().unwrap();
    let opened =
        builder(&client, StartingPosition::Earliest).prefetch_bytes(BUDGET * (SIZE + 200)).open().await;
    let mut receiver = opened.unwrap();
    let sent = || usize::try_from(emulator.receivers("orders").unwrap()[0].delivered).unwrap();
    // what the sizes are is learnt from the first events
    let mut done = crate::support::receive(&mut receiver, 50).await.len();
    let mut largest = 0;
    while done < 150 {
        let batch = within(receiver.receive_batch(1_000, None)).await.unwrap();
        largest = largest.max(batch.len());
        until("more is sent ahead", || sent() >= done + BUDGET / 2).await;
        // whatever was granted before has reached the service when it answers
        client.event_hub_properties().await.unwrap();
        assert!(sent() <= done + BUDGET, "{} sent, {done} done, {} held", sent(), batch.len());
        done += batch.len();
    }
    assert!((BUDGET / 4..=BUDGET / 2).contains(&largest), "{largest} at once");
}

#[tokio::test]
async fn partitions_share_one_connection() {
    let emulator = emulator().await;
    let proxy = Proxy::start(&emulator).await;
    let client = client_builder(&proxy.connection_string(&emulator)).build().unwrap();
    let open = |id: &str| client.partition_receiver(ConsumerGroup::default(), partition(id)).open();
    let opened = futures::future::join_all(["0", "1", "2", "3"].map(open)).await;
    assert!(opened.iter().all(Result::is_ok));
    client.event_hub_properties().await.unwrap();
    assert_eq!(proxy.connections(), 1);
}
