//! Credit and drain as AMQP demands them (part 2, §2.6.7): what is there comes first, then the rest of the credit is void.

use eventhubs_test_harness::{seeing, until};
use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::{Attach, End, Flow, Transfer};

use crate::client::orders;
use crate::frames::{ATTACH, DETACH, END, FLOW, Raw, TRANSFER, attach, detach, flow};

const PARTITION: &str = "orders/ConsumerGroups/$Default/Partitions/0";

/// Attaches with the handle 1 and asks for a drain, in one go; returns the frames up to the answer.
async fn drain(client: &mut Raw, credit: u32) -> (usize, Flow) {
    client.send(&attach(1, "reader", Role::Receiver, PARTITION)).await;
    client.send(&flow(1, 0, credit, true)).await;
    answer(client).await
}

/// How many transfers come before the next flow, and that.
async fn answer(client: &mut Raw) -> (usize, Flow) {
    let mut transfers = 0;
    loop {
        match client.next().await {
            (TRANSFER, _) => transfers += 1,
            (FLOW, body) => return (transfers, serde_amqp::from_slice(&body).unwrap()),
            _ => {}
        }
    }
}

/// Detaches a reader while it is fed, and attaches it again; returns the deliveries until it is fed again.
async fn detach_while_fed(client: &mut Raw, round: u32) -> Vec<u32> {
    client.send(&flow(1, 0, 1000, false)).await;
    let mut deliveries = vec![delivery_id(&client.until(TRANSFER).await)];
    client.send(&detach(1)).await;
    client.send(&attach(1, &format!("reader {round}"), Role::Receiver, PARTITION)).await;
    let mut detached = false;
    loop {
        match client.next().await {
            (TRANSFER, body) => {
                assert!(!detached, "a transfer on a link that is detached");
                deliveries.push(delivery_id(&body));
            }
            (DETACH, _) => detached = true,
            (ATTACH, _) => return deliveries,
            _ => {}
        }
    }
}

fn delivery_id(transfer: &[u8]) -> u32 {
    let mut reader = transfer;
    let transfer: Transfer = serde_amqp::from_reader(&mut reader).unwrap();
    transfer.delivery_id.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_after_a_detach_and_no_delivery_is_missing_in_the_count() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", (0..500).map(|n| n.to_string())).unwrap();
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(1, "reader", Role::Receiver, PARTITION)).await;
    client.until(ATTACH).await;
    let mut deliveries = Vec::new();
    for round in 0..100 {
        deliveries.extend(detach_while_fed(&mut client, round).await);
    }
    let first = deliveries[0];
    assert!(deliveries.iter().zip(first..).all(|(id, expected)| *id == expected), "{deliveries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_it_is_fed_ends_without_a_reason() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", (0..500).map(|n| n.to_string())).unwrap();
    for _ in 0..50 {
        let mut client = Raw::connect(&emulator).await;
        client.send(&attach(1, "reader", Role::Receiver, PARTITION)).await;
        client.send(&flow(1, 0, 1000, false)).await;
        client.until(TRANSFER).await;
        client.send(&detach(1)).await;
        client.send(&End { error: None }).await;
        let end: End = serde_amqp::from_slice(&client.until(END).await).unwrap();
        assert_eq!(end.error, None);
    }
}

fn drained(flow: &Flow) -> (Option<u32>, Option<u32>, bool) {
    (flow.delivery_count, flow.link_credit, flow.drain)
}

#[tokio::test]
async fn a_drain_brings_what_is_there_and_voids_the_rest() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["a", "b", "c"]).unwrap();
    let mut client = Raw::connect(&emulator).await;
    let (transfers, flow) = drain(&mut client, 10).await;
    assert_eq!((transfers, drained(&flow)), (3, (Some(10), Some(0), true)));
    assert_eq!(emulator.receivers("orders").unwrap()[0].credit, Some(0));
}

#[tokio::test]
async fn a_drain_brings_no_more_than_the_credit() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", ["a", "b", "c"]).unwrap();
    let mut client = Raw::connect(&emulator).await;
    let (transfers, flow) = drain(&mut client, 2).await;
    assert_eq!((transfers, drained(&flow)), (2, (Some(2), Some(0), true)));
}

/// Also when the answer is given while events are on their way.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_drain_comes_behind_the_events() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", (0..30).map(|n| n.to_string())).unwrap();
    for _ in 0..100 {
        let mut client = Raw::connect(&emulator).await;
        let (transfers, flow) = drain(&mut client, 30).await;
        assert_eq!((transfers, drained(&flow)), (30, (Some(30), Some(0), true)));
    }
}

#[tokio::test]
async fn a_drained_link_delivers_again_with_new_credit() {
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    let (transfers, answered) = drain(&mut client, 5).await;
    assert_eq!((transfers, drained(&answered)), (0, (Some(5), Some(0), true)));
    emulator.publish_to("orders", "0", ["a", "b"]).unwrap();
    client.send(&flow(1, 5, 1, false)).await;
    client.until(TRANSFER).await;
    client.send(&flow(1, 6, 3, true)).await;
    let (transfers, answered) = answer(&mut client).await;
    assert_eq!((transfers, drained(&answered)), (1, (Some(9), Some(0), true)));
    until(seeing("two events delivered", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap()[0].delivered == 2
    })
    .await;
}

#[tokio::test]
async fn two_links_of_opposite_directions_may_have_one_name() {
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(1, "same", Role::Receiver, PARTITION)).await;
    client.send(&attach(2, "same", Role::Sender, "orders")).await;
    for role in [Role::Sender, Role::Receiver] {
        let answer: Attach = serde_amqp::from_slice(&client.until(ATTACH).await).unwrap();
        assert_eq!((answer.name.as_str(), answer.role), ("same", role));
    }
    assert_eq!(emulator.receivers("orders").unwrap()[0].link_name, "same");
}

/// With more credit than the session window.
#[tokio::test]
async fn a_client_gets_no_more_frames_than_its_session_window() {
    let emulator = orders().await;
    emulator.publish_to("orders", "0", (0..10).map(|n| n.to_string())).unwrap();
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(1, "reader", Role::Receiver, PARTITION)).await;
    client.until(ATTACH).await;
    let first = u32::try_from(client.received).unwrap();
    client.send(&Flow { next_incoming_id: Some(first), incoming_window: 3, ..flow(1, 0, 10, false) }).await;
    for _ in 0..3 {
        client.until(TRANSFER).await;
    }
    // The answer shows that three came and that nothing follows; the fourth waits for a window.
    client
        .send(&Flow {
            next_incoming_id: Some(first),
            incoming_window: 3,
            echo: true,
            ..flow(1, 0, 10, false)
        })
        .await;
    let (transfers, answered) = answer(&mut client).await;
    assert_eq!((transfers, answered.delivery_count, answered.link_credit), (0, Some(3), Some(7)));
    assert_eq!(answered.next_outgoing_id, first + 3);
    client.send(&Flow { next_incoming_id: Some(first + 3), ..flow(1, 3, 0, true) }).await;
    let (transfers, answered) = answer(&mut client).await;
    assert_eq!((transfers, drained(&answered)), (7, (Some(10), Some(0), true)));
}
