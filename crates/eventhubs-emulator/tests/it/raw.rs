//! A client that writes its frames by hand, and so sends any bytes as a message.

use eventhubs_emulator::Emulator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{KEY, SAS, in_an_hour, token, within};
use crate::wire::{frame, opened};

const FLOW: u8 = 0x13;
const TRANSFER: u8 = 0x14;
const DISPOSITION: u8 = 0x15;
const DETACH: u8 = 0x16;
const ACCEPTED: [u8; 3] = [0, 0x53, 0x24];

/// What the client does on a link.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Sender = 0x42,
    Receiver = 0x41,
}

pub(crate) fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap().to_be_bytes()
}

fn short(constructor: u8, text: &str) -> Vec<u8> {
    [&[constructor, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// An attach of a link whose handle, a digit, is its name too.
fn attach(handle: u8, role: Role, address: &str) -> Vec<u8> {
    let address = short(0xa1, address);
    let size = u8::try_from(address.len() + 1).unwrap();
    let terminus = |descriptor| [&[0, 0x53, descriptor, 0xc0, size, 1], address.as_slice()].concat();
    let head = [0xa1, 1, b'0' + handle, 0x52, handle, role as u8, 0x40, 0x40];
    // unsettled, incomplete-unsettled, initial-delivery-count
    frame(0, 0x12, 10, &[head.as_slice(), &terminus(0x28), &terminus(0x29), &[0x40, 0x40, 0x43]].concat())
}

fn credit(handle: u8) -> Vec<u8> {
    // windows and ids of the session, handle, delivery count, credit
    frame(0, 0x13, 7, &[0x43, 0x52, 0xff, 0x43, 0x52, 0xff, 0x52, handle, 0x43, 0x52, 100])
}

/// The transfers of one message, in frames that a client may send.
fn transfers(handle: u8, delivery: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunks = message.chunks(1_000_000).peekable();
    while let Some(chunk) = chunks.next() {
        let more = if chunks.peek().is_some() { 0x41 } else { 0x42 };
        // handle, delivery-id, delivery-tag, message-format, settled, more
        let fields = [0x52, handle, 0x52, delivery, 0xa0, 1, delivery, 0x43, 0x42, more];
        let transfer = [&[0, 0x53, TRANSFER, 0xc0, 11, 6], fields.as_slice(), chunk].concat();
        bytes.extend([length(8 + transfer.len()).as_slice(), &[2, 0, 0, 0], &transfer].concat());
    }
    bytes
}

/// A connection that sends or reads on one link.
pub(crate) struct Link {
    stream: TcpStream,
    handle: u8,
    deliveries: u8,
}

const RESPONSES: u8 = 0;
const REQUESTS: u8 = 1;
const ENTITY: u8 = 2;

impl Link {
    /// Sends to `$cbs`.
    pub(crate) async fn cbs(emulator: &Emulator) -> Self {
        let stream = TcpStream::connect(emulator.address()).await.unwrap();
        let mut link = Self { stream, handle: REQUESTS, deliveries: 0 };
        link.write(&opened("ANONYMOUS")).await;
        link.write(&attach(RESPONSES, Role::Receiver, "$cbs")).await;
        link.write(&attach(REQUESTS, Role::Sender, "$cbs")).await;
        link.next(FLOW).await;
        link
    }

    /// Sends to an address, or reads from it, with a token for everything.
    pub(crate) async fn attach(emulator: &Emulator, role: Role, address: &str) -> Self {
        let mut link = Self::cbs(emulator).await;
        assert!(link.send(&put_token()).await);
        link.handle = ENTITY;
        link.write(&attach(ENTITY, role, address)).await;
        match role {
            Role::Sender => drop(link.next(FLOW).await),
            Role::Receiver => link.write(&credit(ENTITY)).await,
        }
        link
    }

    async fn write(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends a message, and says whether it was accepted; if not, it was rejected, or the link is gone.
    pub(crate) async fn send(&mut self, message: &[u8]) -> bool {
        self.deliveries += 1;
        self.write(&transfers(self.handle, self.deliveries, message)).await;
        let (fields, _) = self.next_of(&[DISPOSITION, DETACH]).await;
        fields.windows(3).any(|bytes| bytes == ACCEPTED)
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        self.next(TRANSFER).await.1
    }

    /// The fields and the payload of the next frame of a kind.
    async fn next(&mut self, wanted: u8) -> (Vec<u8>, Vec<u8>) {
        self.next_of(&[wanted]).await
    }

    async fn next_of(&mut self, wanted: &[u8]) -> (Vec<u8>, Vec<u8>) {
        loop {
            let frame = within(next_frame(&mut self.stream)).await;
            let [0, 0x53, descriptor, list @ ..] = frame.as_slice() else { continue };
            if !wanted.contains(descriptor) {
                continue;
            }
            let (head, size) = match list[0] {
                0xc0 => (3, usize::from(list[1]) - 1),
                _ => (9, u32::from_be_bytes(list[1..5].try_into().unwrap()) as usize - 4),
            };
            let (fields, payload) = list[head..].split_at(size);
            return (fields.to_vec(), payload.to_vec());
        }
    }
}

/// Everything behind the header of a frame; nothing of a protocol header.
async fn next_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 8];
    stream.read_exact(&mut head).await.unwrap();
    let size = if head.starts_with(b"AMQP") {
        8
    } else {
        u32::from_be_bytes(head[..4].try_into().unwrap()) as usize
    };
    let mut body = vec![0; size - 8];
    stream.read_exact(&mut body).await.unwrap();
    body
}

fn put_token() -> Vec<u8> {
    let properties = [("operation", "put-token"), ("type", SAS), ("name", "sb://host/")];
    let entries: Vec<u8> =
        properties.iter().flat_map(|(key, value)| [short(0xa1, key), short(0xa1, value)].concat()).collect();
    let token = token("sb://host/", KEY, in_an_hour());
    [
        &[0, 0x53, 0x74, 0xc1, u8::try_from(entries.len() + 1).unwrap(), 6],
        entries.as_slice(),
        &[0, 0x53, 0x77],
        &short(0xa1, &token),
    ]
    .concat()
}
