//! How a link is refused: an attach without a terminus, the detach that says why at once, and nothing in between or again.

use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::End;

use crate::client::orders;
use crate::frames::{ATTACH, DETACH, END, Raw, attach, detach};

const NO_GROUP: &str = "orders/ConsumerGroups/nobody/Partitions/0";
const NO_HUB: &str = "nothing";

/// What the broker says until the session has ended.
async fn until_end(client: &mut Raw) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        let (code, _) = client.next().await;
        said.push(code);
        if code == END {
            return said;
        }
    }
}

#[tokio::test]
async fn a_refusal_is_an_attach_and_a_detach_with_nothing_between() {
    for (role, address) in [(Role::Receiver, NO_GROUP), (Role::Sender, NO_HUB)] {
        let emulator = orders().await;
        let mut client = Raw::connect(&emulator).await;
        client.send(&attach(7, "refused", role, address)).await;
        assert_eq!(client.next().await.0, ATTACH, "{address}");
        let (code, body) = client.next().await;
        assert_eq!(code, DETACH, "{address}");
        assert!(body.windows(14).any(|text| text == b"amqp:not-found"), "{address}");
    }
}

#[tokio::test]
async fn each_of_two_refused_links_is_detached_once() {
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(7, "reader", Role::Receiver, NO_GROUP)).await;
    client.send(&attach(8, "writer", Role::Sender, NO_HUB)).await;
    // A client that gives up by itself: its detaches cross those of the broker.
    client.send(&detach(7)).await;
    client.send(&detach(8)).await;
    client.send(&End { error: None }).await;
    let said = until_end(&mut client).await;
    let detaches: Vec<_> = said.iter().filter(|code| **code == DETACH).collect();
    assert!(detaches.len() <= 2, "{said:x?}");
    assert!(said.iter().all(|code| [ATTACH, DETACH, END].contains(code)), "{said:x?}");
}

#[tokio::test]
async fn a_client_that_answers_each_detach_hears_no_other() {
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(7, "reader", Role::Receiver, NO_GROUP)).await;
    client.send(&attach(8, "writer", Role::Sender, NO_HUB)).await;
    for _ in 0..2 {
        client.until(DETACH).await;
    }
    client.send(&detach(7)).await;
    client.send(&detach(8)).await;
    client.send(&End { error: None }).await;
    assert_eq!(until_end(&mut client).await, [END]);
}
