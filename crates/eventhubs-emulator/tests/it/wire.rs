//! Peers that speak no AMQP, or not all of it.

use fe2o3_amqp::types::performatives::Close;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, Reading, orders, within};

const SASL_HEADER: &[u8] = b"AMQP\x03\x01\x00\x00";
const AMQP_HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";

/// The descriptor of an open.
pub(crate) const OPENED: &[u8] = b"\x00\x53\x10";

/// A frame of type 0 (AMQP) or 1 (SASL) with a performative of so many fields.
pub(crate) fn frame(kind: u8, descriptor: u8, count: u8, fields: &[u8]) -> Vec<u8> {
    let length = u8::try_from(fields.len()).unwrap();
    let head = [0, 0, 0, 14 + length, 2, kind, 0, 0];
    [&head, [0, 0x53, descriptor, 0xc0, length + 1, count].as_slice(), fields].concat()
}

fn sasl_init(mechanism: &str) -> Vec<u8> {
    let length = u8::try_from(mechanism.len()).unwrap();
    frame(1, 0x41, 1, &[&[0xa3, length], mechanism.as_bytes()].concat())
}

fn close() -> Vec<u8> {
    frame(0, 0x18, 0, &[])
}

/// A client up to its first session.
pub(crate) fn opened(mechanism: &str) -> Vec<u8> {
    let open = frame(0, 0x10, 1, b"\xa1\x04test");
    let begin = frame(0, 0x11, 4, b"\x40\x43\x52\x64\x52\x64");
    [SASL_HEADER, &sasl_init(mechanism), AMQP_HEADER, &open, &begin].concat()
}

async fn connect(emulator: &eventhubs_emulator::Emulator) -> TcpStream {
    TcpStream::connect(emulator.address()).await.unwrap()
}

/// Everything until the broker ends the stream.
pub(crate) async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // the broker may reset a stream that it has not read to the end
    let _ = within(stream.read_to_end(&mut bytes)).await;
    bytes
}

pub(crate) async fn read_until(stream: &mut TcpStream, wanted: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.windows(wanted.len()).any(|window| window == wanted) {
        assert_ne!(within(stream.read_buf(&mut bytes)).await.unwrap(), 0, "the stream ended");
    }
    bytes
}

/// The frame with which the broker opens, and what has come after it.
pub(crate) async fn read_open(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = read_until(stream, OPENED).await;
    let start = bytes.windows(3).position(|window| window == OPENED).unwrap() - 8;
    let mut open = bytes.split_off(start);
    let size = u32::from_be_bytes(open[..4].try_into().unwrap()) as usize;
    while open.len() < size {
        assert_ne!(within(stream.read_buf(&mut open)).await.unwrap(), 0, "the stream ended");
    }
    open
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let emulator = orders().await;
    let mut good = Client::connect(&emulator).await;
    let short = b"\x00\x00\x00\x04".as_slice();
    let long = b"\x7f\xff\xff\xff\x02\x00\x00\x00".as_slice();
    let opened = opened("ANONYMOUS");
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"AMQP\x09\x09\x09\x09".to_vec(),
        [SASL_HEADER, short].concat(),
        [SASL_HEADER, long].concat(),
        [SASL_HEADER, &sasl_init("ANONYMOUS"), AMQP_HEADER, short].concat(),
        [opened.as_slice(), short].concat(),
        [opened.as_slice(), long].concat(),
        [opened.as_slice(), b"\x00\x00\x00\x0c\x02\x00\x00\x00\xff\xff\xff\xff"].concat(),
    ] {
        let mut stream = connect(&emulator).await;
        stream.write_all(&garbage).await.unwrap();
        rest(stream).await;
    }
    good.read("0", Reading::default()).await.unwrap();
}

#[tokio::test]
async fn sasl_offers_both_mechanisms_without_credentials() {
    let emulator = orders().await;
    let mut stream = connect(&emulator).await;
    stream.write_all(SASL_HEADER).await.unwrap();
    let answer = read_until(&mut stream, b"ANONYMOUS").await;
    assert!(answer.windows(7).any(|window| window == b"MSSBCBS"));
}

#[tokio::test]
async fn both_mechanisms_let_everybody_in() {
    let emulator = orders().await;
    for mechanism in ["ANONYMOUS", "MSSBCBS"] {
        let mut stream = connect(&emulator).await;
        stream.write_all(&[opened(mechanism), close()].concat()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.windows(3).any(|window| window == OPENED), "{mechanism}: {answer:x?}");
    }
}

/// The library would wait, and spin, until the client answers.
#[tokio::test]
async fn a_client_that_falls_silent_holds_up_neither_faults_nor_stop() {
    let emulator = orders().await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&emulator).await;
        stream.write_all(&opened("ANONYMOUS")).await.unwrap();
        read_until(&mut stream, OPENED).await;
        silent.push(stream);
    }
    assert_eq!(emulator.close_connections("amqp:connection:forced", "on demand"), 2);
    rest(silent.remove(0)).await;
    within(emulator.stop()).await;
    rest(silent.remove(0)).await;
}

#[tokio::test]
async fn an_unknown_sasl_mechanism_is_refused() {
    let emulator = orders().await;
    let mut stream = connect(&emulator).await;
    stream.write_all(&[SASL_HEADER, &sasl_init("PLAIN")].concat()).await.unwrap();
    let answer = rest(stream).await;
    let outcome = answer.windows(3).position(|window| window == b"\x00\x53\x44").expect("an outcome");
    let authentication_failed = b"\x50\x01";
    assert!(answer[outcome..].windows(2).any(|window| window == authentication_failed), "{answer:x?}");
}

/// The Python SDK indexes the fields of a performative without looking how many there are (contract §2.3).
#[tokio::test]
async fn performatives_are_written_with_all_their_fields() {
    let emulator = orders().await;
    let mut stream = connect(&emulator).await;
    stream.write_all(&[opened("ANONYMOUS"), close()].concat()).await.unwrap();
    let answer = rest(stream).await;
    for (descriptor, fields) in [(0x10, 10), (0x18, 1)] {
        let start = answer.windows(3).position(|window| window == [0, 0x53, descriptor]).unwrap() + 3;
        let count = match answer[start] {
            0xc0 => u32::from(answer[start + 2]),
            0xd0 => u32::from_be_bytes(answer[start + 5..start + 9].try_into().unwrap()),
            other => panic!("no list: {other:x}"),
        };
        assert_eq!(count, fields, "performative {descriptor:#x}");
    }
}

/// As rhea writes them for no capabilities.
#[tokio::test]
async fn empty_arrays_in_an_open_are_understood() {
    let emulator = orders().await;
    let mut stream = connect(&emulator).await;
    let nulls = [0x40; 6];
    let fields = [b"\xa1\x04test".as_slice(), &nulls, b"\xf0\x00\x00\x00\x05\x00\x00\x00\x00\xa3"].concat();
    let open = frame(0, 0x10, 8, &fields);
    stream
        .write_all(&[SASL_HEADER, &sasl_init("ANONYMOUS"), AMQP_HEADER, &open, &close()].concat())
        .await
        .unwrap();
    let answer = rest(stream).await;
    let close = answer.windows(3).position(|window| window == [0, 0x53, 0x18]).expect("a close");
    let close: Close = serde_amqp::from_slice(&answer[close..]).unwrap();
    assert_eq!(close.error, None);
}

/// The largest frame that the broker takes from a client that offers so much.
async fn announced_frame_size(offered: &[u8]) -> u32 {
    let emulator = orders().await;
    let mut stream = connect(&emulator).await;
    let fields = [b"\xa1\x04test\x40", offered].concat();
    let open = frame(0, 0x10, 3, &fields);
    stream.write_all(&[SASL_HEADER, &sasl_init("ANONYMOUS"), AMQP_HEADER].concat()).await.unwrap();
    // Not in one go: the AMQP library would answer before it has heard what the client offers.
    read_until(&mut stream, AMQP_HEADER).await;
    stream.write_all(&open).await.unwrap();
    // The only number of four bytes before the channel maximum.
    let open = read_open(&mut stream).await;
    let number = open.iter().position(|byte| *byte == 0x70).unwrap() + 1;
    u32::from_be_bytes(open[number..number + 4].try_into().unwrap())
}

#[tokio::test]
async fn the_frame_size_is_that_of_the_client_but_no_more_than_ours() {
    assert_eq!(announced_frame_size(b"\x70\x00\x01\x00\x00").await, 65_536);
    assert_eq!(announced_frame_size(b"\x70\x7f\xff\xff\xff").await, 1024 * 1024);
    assert_eq!(announced_frame_size(b"\x40").await, 1024 * 1024);
}
