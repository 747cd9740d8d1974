//! The idle time-out in both directions (contract §2).

use std::time::Duration;

use eventhubs_emulator::Emulator;
use fe2o3_amqp::types::performatives::{Close, Open};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Client, Reading, next, start, within};
use crate::wire::{OPENED, frame, opened, read_open, read_until, rest};

const OPEN: &[u8] = OPENED;
const CLOSE: &[u8] = b"\x00\x53\x18";

async fn patient_for(idle_timeout: Duration) -> Emulator {
    start(Emulator::builder().event_hub("orders", 4).idle_timeout(idle_timeout)).await
}

fn performative<T: serde::de::DeserializeOwned>(bytes: &[u8], descriptor: &[u8]) -> T {
    let start = bytes.windows(3).position(|window| window == descriptor).expect("the performative");
    serde_amqp::from_slice(&bytes[start..]).unwrap()
}

#[tokio::test]
async fn a_silent_client_is_told_that_it_was_inactive() {
    let emulator = patient_for(Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    stream.write_all(&opened("ANONYMOUS")).await.unwrap();
    let answer = rest(stream).await;
    assert_eq!(performative::<Open>(&answer, OPEN).idle_time_out, Some(160));
    let error = performative::<Close>(&answer, CLOSE).error.expect("an error");
    assert_eq!(
        error.description.as_deref(),
        Some(
            "The connection was inactive for more than the allowed 200 milliseconds and is closed by container 'eventhubs-emulator'."
        )
    );
    assert!(format!("{:?}", error.condition).contains("ConnectionForced"), "{error:?}");
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_alive_stays() {
    let emulator = patient_for(Duration::from_secs(2)).await;
    // the library sends empty frames as the emulator asks for
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    // several times as long as the emulator waits
    let longer = tokio::time::timeout(Duration::from_secs(5), client.connection.on_close());
    assert!(longer.await.is_err());
    emulator.publish_to("orders", "0", ["event"]).unwrap();
    next(&mut receiver).await;
}

#[tokio::test]
async fn a_client_that_announces_a_time_out_gets_empty_frames_in_half_of_it() {
    let emulator = patient_for(Duration::ZERO).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    // an idle time-out of 400 ms in the fifth field
    let open = frame(0, 0x10, 5, b"\xa1\x04test\x40\x40\x40\x70\x00\x00\x01\x90");
    let handshake = opened("ANONYMOUS");
    let plain = frame(0, 0x10, 1, b"\xa1\x04test");
    let at = handshake.windows(plain.len()).position(|window| window == plain).unwrap();
    stream.write_all(&[&handshake[..at], &open].concat()).await.unwrap();
    let answer = read_open(&mut stream).await;
    assert_eq!(performative::<Open>(&answer, OPEN).idle_time_out, None);
    let empty = b"\x00\x00\x00\x08\x02\x00\x00\x00";
    within(read_until(&mut stream, &[empty.as_slice(), empty].concat())).await;
}

#[tokio::test]
async fn by_default_the_time_out_is_that_of_the_service() {
    let emulator = start(Emulator::builder().event_hub("orders", 1)).await;
    let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
    stream.write_all(&[opened("ANONYMOUS"), frame(0, 0x18, 0, &[])].concat()).await.unwrap();
    let answer = rest(stream).await;
    assert_eq!(performative::<Open>(&answer, OPEN).idle_time_out, Some(240_000));
}
