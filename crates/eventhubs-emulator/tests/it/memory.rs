//! What hostile clients cost in memory, counted by the allocator in a process of its own.

use std::env;
use std::process::Command;
use std::time::Duration;

use cap::Cap;
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{seeing, until};
use eventhubs_types::EventData;
use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::Flow;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, orders, within};
use crate::frames::{DETACH, FLOW, Raw, attach, flow, frame, transfer};
use crate::wire::{OPENED, opened, read_until};

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

const ALONE: &str = "EVENTHUBS_MEMORY_TEST";
const MIB: usize = 1024 * 1024;
const PARTITION: &str = "orders/ConsumerGroups/$Default/Partitions/0";

/// Runs this one test again in a process where nothing else allocates; true there.
fn alone(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = Command::new(env::current_exe().unwrap());
    let output = again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test has another name");
    false
}

/// The most that was allocated while the attack went on, beyond what was before, in bytes.
async fn peak_during(attack: impl Future<Output = ()>) -> usize {
    let before = ALLOCATOR.allocated();
    let mut peak = before;
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    let mut attack = std::pin::pin!(attack);
    loop {
        tokio::select! {
            () = &mut attack => break,
            _ = looks.tick() => peak = peak.max(ALLOCATOR.allocated()),
        }
    }
    let peak = peak.max(ALLOCATOR.allocated()) - before;
    eprintln!("{peak} bytes more at most");
    peak
}

/// Waits until the emulator takes no more, or has ended the connection.
async fn write_until_stuck(client: &mut TcpStream, bytes: &[u8], most: usize) {
    for _ in 0..most.div_ceil(bytes.len()) {
        match timeout(Duration::from_secs(1), client.write_all(bytes)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

#[tokio::test]
async fn a_consumer_that_never_reads_costs_little() {
    if !alone("memory::a_consumer_that_never_reads_costs_little") {
        return;
    }
    let emulator = orders().await;
    let large = |_| EventData::new(vec![0; 100_000]);
    emulator.publish_to("orders", "0", (0..500).map(large)).unwrap();
    let mut client = Raw::connect(&emulator).await;
    let peak = peak_during(async {
        client.send(&attach(1, "reader", Role::Receiver, PARTITION)).await;
        client.send(&Flow { incoming_window: u32::MAX, ..flow(1, 0, 100_000, false) }).await;
        let delivered = || emulator.receivers("orders").unwrap().first().map_or(0, |reader| reader.delivered);
        until(seeing("more than 5 events delivered", delivered), || delivered() > 5).await;
        let mut before = 0;
        while delivered() > before {
            before = delivered();
            // That nothing more comes has no event to wait for, so this is a time: too short, it makes the test
            // weaker, and never wrong.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(delivered() < 500, "the sockets take everything");
    })
    .await;
    assert!(peak < 8 * MIB, "{peak} bytes");
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_before_it_is_whole() {
    if !alone("memory::a_message_above_the_limit_is_refused_before_it_is_whole") {
        return;
    }
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(1, "producer", Role::Sender, "orders")).await;
    client.until(FLOW).await;
    let chunk = frame(&transfer(1, 1, true), &vec![0; 500_000]);
    let peak = peak_during(async {
        write_until_stuck(&mut client.stream, &chunk, 200 * MIB).await;
        let detach = client.until(DETACH).await;
        assert!(detach.windows(31).any(|text| text == b"amqp:link:message-size-exceeded"), "{detach:x?}");
    })
    .await;
    assert!(peak < 32 * MIB, "{peak} bytes");
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 0);
}

/// Its credit does not stop it: it waits for its events in the partition instead of the flows that it does not read.
#[tokio::test]
async fn a_producer_that_never_reads_costs_little() {
    if !alone("memory::a_producer_that_never_reads_costs_little") {
        return;
    }
    let emulator = Emulator::builder().event_hub("orders", 1).retention(10, 1000).start().await.unwrap();
    let mut client = Raw::connect(&emulator).await;
    client.send(&attach(1, "producer", Role::Sender, "orders")).await;
    client.until(FLOW).await;
    let events: Vec<u8> =
        (1..=100).flat_map(|id| frame(&transfer(1, id, false), b"\x00\x53\x75\xa0\x00")).collect();
    let peak = peak_during(async {
        for round in 1..=5000 {
            within(client.stream.write_all(&events)).await.unwrap();
            let arrived = || {
                emulator.partition("orders", "0").unwrap().last_enqueued_sequence_number.value()
                    >= 100 * round - 1
            };
            if timeout(Duration::from_secs(1), until("the events arrived", arrived)).await.is_err() {
                return;
            }
        }
        panic!("the sockets take everything");
    })
    .await;
    assert!(peak < 4 * MIB, "{peak} bytes");
}

#[tokio::test]
async fn flows_of_links_that_do_not_exist_are_not_collected() {
    if !alone("memory::flows_of_links_that_do_not_exist_are_not_collected") {
        return;
    }
    let emulator = orders().await;
    let mut client = Raw::connect(&emulator).await;
    let flows: Vec<u8> = (10..60).flat_map(|handle| frame(&flow(handle, 0, 1, false), &[])).collect();
    let flows = flows.repeat(1500);
    let peak = peak_during(async {
        within(client.stream.write_all(&flows)).await.unwrap();
        // answered when all flows before it are read
        client.send(&attach(1, "producer", Role::Sender, "orders")).await;
        client.until(FLOW).await;
    })
    .await;
    assert!(peak < 2 * MIB, "{peak} bytes");
}

#[tokio::test]
async fn open_connections_cost_little_and_their_number_has_a_limit() {
    if !alone("memory::open_connections_cost_little_and_their_number_has_a_limit") {
        return;
    }
    let emulator: Emulator =
        Emulator::builder().event_hub("orders", 1).max_connections(50).start().await.unwrap();
    let mut clients = Vec::new();
    let peak = peak_during(async {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
            stream.write_all(&opened("ANONYMOUS")).await.unwrap();
            read_until(&mut stream, OPENED).await;
            clients.push(stream);
        }
    })
    .await;
    assert!(peak < 50 * MIB, "{peak} bytes");
    let mut late = TcpStream::connect(emulator.address()).await.unwrap();
    late.write_all(&opened("ANONYMOUS")).await.unwrap();
    let early = timeout(Duration::from_millis(100), late.read(&mut [0])).await;
    assert!(early.is_err(), "{early:?}");
    clients.pop();
    within(read_until(&mut late, OPENED)).await;
    drop(clients);
    Client::connect(&emulator).await;
}
