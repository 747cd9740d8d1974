//! How a link is refused: an attach without a terminus, the detach that says why at once, and nothing in between or again.

use std::collections::BTreeSet;

use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::{Detach, End};

use crate::client::orders;
use crate::frames::{ATTACH, DETACH, END, Raw, attach, detach};

const NO_GROUP: &str = "orders/ConsumerGroups/nobody/Partitions/0";
const NO_HUB: &str = "nothing";

/// What the broker says until the session has ended.
async fn until_end(client: &mut Raw) -> Vec<(u8, Vec<u8>)> {
    let mut said = Vec::new();
    loop {
        let (code, body) = client.next().await;
        said.push((code, body));
        if code == END {
            return said;
        }
    }
}

fn codes(said: &[(u8, Vec<u8>)]) -> Vec<u8> {
    said.iter().map(|(code, _)| *code).collect()
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
    let detaches = said.iter().filter(|(code, _)| *code == DETACH);
    let links: Vec<_> =
        detaches.map(|(_, body)| serde_amqp::from_slice::<Detach>(body).unwrap().handle.0).collect();
    assert!(links.len() <= 2, "{said:x?}");
    assert_eq!(links.iter().collect::<BTreeSet<_>>().len(), links.len(), "{said:x?}");
    assert!(codes(&said).iter().all(|code| [ATTACH, DETACH, END].contains(code)), "{said:x?}");
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
    assert_eq!(codes(&until_end(&mut client).await), [END]);
}
