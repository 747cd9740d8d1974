//! A link of a client that sends any bytes as a message.

use eventhubs_emulator::Emulator;
use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::Transfer;

use crate::frames::{self, CBS_REQUESTS, DETACH, DISPOSITION, FLOW, Raw, TRANSFER};

const ENTITY: u32 = 2;
const ACCEPTED: [u8; 3] = [0, 0x53, 0x24];
/// A frame that every client may send.
const CHUNK: usize = 1_000_000;

pub(crate) fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap().to_be_bytes()
}

/// A connection that sends or reads on one link.
pub(crate) struct Link {
    client: Raw,
    handle: u32,
    deliveries: u32,
}

impl Link {
    /// Sends to `$cbs`.
    pub(crate) async fn cbs(emulator: &Emulator) -> Self {
        Self { client: Raw::connect(emulator).await, handle: CBS_REQUESTS, deliveries: 0 }
    }

    /// Sends to an address, or reads from it.
    pub(crate) async fn attach(emulator: &Emulator, role: Role, address: &str) -> Self {
        let mut client = Raw::connect(emulator).await;
        let reads = role == Role::Receiver;
        client.send(&frames::attach(ENTITY, "entity", role, address)).await;
        if reads {
            client.send(&frames::flow(ENTITY, 0, 100, false)).await;
        } else {
            client.until(FLOW).await;
        }
        Self { client, handle: ENTITY, deliveries: 0 }
    }

    /// Sends a message, and says whether it was accepted; if not, it was rejected, or the link is gone.
    pub(crate) async fn send(&mut self, message: &[u8]) -> bool {
        self.deliveries += 1;
        let mut chunks = message.chunks(CHUNK).peekable();
        while let Some(chunk) = chunks.next() {
            let transfer = frames::transfer(self.handle, self.deliveries, chunks.peek().is_some());
            self.client.send_with(&transfer, chunk).await;
        }
        loop {
            if let (DISPOSITION | DETACH, body) = self.client.next().await {
                return body.windows(3).any(|bytes| bytes == ACCEPTED);
            }
        }
    }

    /// The next message, of as many frames as it takes.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let frame = self.client.until(TRANSFER).await;
            let mut payload = frame.as_slice();
            let transfer: Transfer = serde_amqp::from_reader(&mut payload).unwrap();
            message.extend_from_slice(payload);
            if !transfer.more {
                return message;
            }
        }
    }
}
