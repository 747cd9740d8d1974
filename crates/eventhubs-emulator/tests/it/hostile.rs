//! Clients that mean harm: each ends at most its own connection, and other clients continue.

use std::time::Duration;

use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{seeing, until};
use eventhubs_types::EventData;
use fe2o3_amqp::types::definitions::Role;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Client, Reading, next, orders, text, within};
use crate::raw::{self, length};
use crate::wire::{OPENED, frame, opened, read_until, rest};

/// A good client that is attached, and notices whether the broker still serves.
struct Witness {
    client: Client,
    seen: usize,
}

impl Witness {
    async fn new(emulator: &Emulator) -> Self {
        let client = Client::connect(emulator).await;
        Self { client, seen: 0 }
    }

    /// A link, an event, and away.
    async fn is_served(&mut self, emulator: &Emulator) {
        self.seen += 1;
        let body = format!("event {}", self.seen);
        emulator.publish_to("orders", "3", [body.clone()]).unwrap();
        let mut receiver = self.client.read("3", Reading::default()).await.unwrap();
        while text(&next(&mut receiver).await) != body {}
        within(receiver.close()).await.unwrap();
    }
}

async fn connect(emulator: &Emulator) -> TcpStream {
    TcpStream::connect(emulator.address()).await.unwrap()
}

/// Sends bytes and waits for the end of the stream; the broker may have ended it before they are all sent.
async fn hurl(emulator: &Emulator, bytes: &[u8]) {
    let mut stream = connect(emulator).await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    rest(stream).await;
}

/// Lists in lists, so many deep.
fn lists(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for inner in (0..depth).rev() {
        // a list head of nine bytes per level, around an empty list
        value.push(0xd0);
        value.extend(length(9 * inner + 1 + 4));
        value.extend([0, 0, 0, 1]);
    }
    value.push(0x45);
    value
}

/// A map with the symbol or string `a` as its only key.
fn map(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0xd1], length(value.len() + 3 + 4).as_slice(), &[0, 0, 0, 2], key, value].concat()
}

/// An attach with a property of lists in lists, so many deep.
fn nested(depth: usize) -> Vec<u8> {
    let properties = map(b"\xa3\x01a", &lists(depth));
    let fields = [b"\xa1\x01a\x43\x41".as_slice(), &[0x40; 10], &properties].concat();
    let list = [&[0xd0], length(fields.len() + 4).as_slice(), &14_u32.to_be_bytes(), &fields].concat();
    [length(8 + 3 + list.len()).as_slice(), &[2, 0, 0, 0, 0, 0x53, 0x12], &list].concat()
}

#[tokio::test]
async fn any_bytes_behind_any_part_of_a_handshake_harm_only_their_sender() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let handshake = opened("ANONYMOUS");
    let mut runner = TestRunner::deterministic();
    let cases = (0..=handshake.len(), prop::collection::vec(any::<u8>(), 0..200));
    for _ in 0..100 {
        let (kept, garbage) = cases.new_tree(&mut runner).unwrap().current();
        hurl(&emulator, &[&handshake[..kept], &garbage].concat()).await;
    }
    witness.is_served(&emulator).await;
}

#[tokio::test]
async fn frames_with_any_body_harm_only_their_sender() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let mut runner = TestRunner::deterministic();
    let cases = (0x10_u8..=0x18, any::<u8>(), prop::collection::vec(any::<u8>(), 0..100));
    for _ in 0..100 {
        let (descriptor, fields, body) = cases.new_tree(&mut runner).unwrap().current();
        let bytes = [opened("ANONYMOUS"), frame(0, descriptor, fields, &body)].concat();
        hurl(&emulator, &bytes).await;
    }
    witness.is_served(&emulator).await;
}

#[tokio::test]
async fn deeply_nested_performatives_harm_only_their_sender() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    for depth in [10, 1000, 100_000] {
        hurl(&emulator, &[opened("ANONYMOUS"), nested(depth)].concat()).await;
        witness.is_served(&emulator).await;
    }
}

/// Nobody needs a token to reach `$cbs`.
#[tokio::test]
async fn deeply_nested_requests_are_refused() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let mut link = raw::Link::cbs(&emulator).await;
    for (depth, taken) in [(10, true), (1000, false), (100_000, false)] {
        let lists = lists(depth);
        for message in [
            [&[0, 0x53, 0x77], lists.as_slice()].concat(),
            [&[0, 0x53, 0x73, 0xd0], length(lists.len() + 4).as_slice(), &[0, 0, 0, 1], &lists].concat(),
            [[0, 0x53, 0x77].repeat(depth), vec![0x45]].concat(),
        ] {
            let accepted = link.send(&message).await;
            assert!(taken || !accepted, "{depth}");
        }
        witness.is_served(&emulator).await;
    }
}

/// The broker decodes neither: it keeps the bytes, and they come out as they went in.
#[tokio::test]
async fn deeply_nested_events_are_kept_as_they_are() {
    let builder = Emulator::builder().event_hub("orders", 4).max_message_size(16 << 20);
    let emulator = builder.retention(1000, 1 << 30).start().await.unwrap();
    let mut witness = Witness::new(&emulator).await;
    let mut producer = raw::Link::attach(&emulator, Role::Sender, "orders/Partitions/0").await;
    let source = "orders/ConsumerGroups/$Default/Partitions/0";
    let mut consumer = raw::Link::attach(&emulator, Role::Receiver, source).await;
    for depth in [10, 1000, 1_000_000] {
        let lists = lists(depth);
        for message in [
            [&[0, 0x53, 0x77], lists.as_slice()].concat(),
            [&[0, 0x53, 0x74], map(b"\xa1\x01a", &lists).as_slice()].concat(),
            [&[0, 0x53, 0x72], map(b"\xa3\x01a", &lists).as_slice()].concat(),
        ] {
            assert!(producer.send(&message).await, "{depth}");
            let event = consumer.receive().await;
            assert!(event.windows(lists.len()).any(|bytes| bytes == lists), "{depth}");
        }
        witness.is_served(&emulator).await;
    }
}

#[tokio::test]
async fn a_frame_on_a_channel_without_session_harms_only_its_sender() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    for descriptor in 0x12..=0x17 {
        let mut wrong = frame(0, descriptor, 1, &[0x43]);
        wrong[6..8].copy_from_slice(&[0xff, 0xfe]);
        hurl(&emulator, &[opened("ANONYMOUS"), wrong].concat()).await;
    }
    witness.is_served(&emulator).await;
}

#[tokio::test]
async fn clients_that_stop_half_way_stall_nobody() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let handshake = opened("ANONYMOUS");
    let mut silent = Vec::new();
    for length in 0..handshake.len() {
        let mut stream = connect(&emulator).await;
        stream.write_all(&handshake[..length]).await.unwrap();
        silent.push(stream);
    }
    witness.is_served(&emulator).await;
    within(emulator.stop()).await;
}

#[tokio::test]
async fn a_client_that_never_reads_stalls_nobody() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let mut stream = connect(&emulator).await;
    stream.write_all(&opened("ANONYMOUS")).await.unwrap();
    read_until(&mut stream, OPENED).await;
    // begins and ends of sessions, whose answers nobody takes
    let end = frame(0, 0x17, 0, &[]);
    let begin = frame(0, 0x11, 4, b"\x40\x43\x52\x64\x52\x64");
    let flood = [end, begin].concat().repeat(1000);
    let sent = tokio::time::timeout(Duration::from_secs(2), async {
        loop {
            stream.write_all(&flood).await?;
        }
    });
    // either the broker stops reading, or it ends the connection
    let _: Result<std::io::Result<()>, _> = sent.await;
    witness.is_served(&emulator).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_costs_no_more_than_a_window() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let mut idle = Client::connect(&emulator).await;
    let _receiver = idle.manual("orders/ConsumerGroups/$Default/Partitions/0").await;
    let large = || EventData::new(vec![0; 100_000]);
    emulator.publish_to("orders", "0", (0..100).map(|_| large())).unwrap();
    witness.is_served(&emulator).await;
    drop(idle);
    until(seeing("its readers are gone", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_disposition_of_everything_stalls_nobody() {
    let emulator = orders().await;
    let mut witness = Witness::new(&emulator).await;
    let mut stream = connect(&emulator).await;
    // as receiver and as sender, from the first delivery to the last that there can be
    for role in [0x41, 0x42] {
        let everything = frame(0, 0x15, 4, &[role, 0x43, 0x70, 0xff, 0xff, 0xff, 0xff, 0x41]);
        stream.write_all(&[opened("ANONYMOUS"), everything].concat()).await.unwrap();
        read_until(&mut stream, OPENED).await;
        stream = connect(&emulator).await;
    }
    witness.is_served(&emulator).await;
}
