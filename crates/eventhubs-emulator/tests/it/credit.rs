//! Credit and drain as AMQP demands them (part 2, §2.6.7): what is there comes first, then the rest of the credit is void.

use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::{Attach, Flow};

use crate::client::{eventually, orders};
use crate::frames::{ATTACH, FLOW, Raw, TRANSFER, attach, flow};

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
    eventually(|| emulator.receivers("orders").unwrap()[0].delivered == 2).await;
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
