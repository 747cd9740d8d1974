//! A client that writes its frames itself, for what no library lets one do.

use bytes::BytesMut;
use eventhubs_emulator::Emulator;
use fe2o3_amqp::types::definitions::{Handle, ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp::types::messaging::message::__private::Serializable;
use fe2o3_amqp::types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, Source, Target, TargetArchetype,
};
use fe2o3_amqp::types::performatives::{Attach, Detach, Flow, Transfer};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{KEY, SAS, in_an_hour, token, within};
use crate::wire::{opened, read_open};

pub(crate) const BEGIN: u8 = 0x11;
pub(crate) const ATTACH: u8 = 0x12;
pub(crate) const FLOW: u8 = 0x13;
pub(crate) const TRANSFER: u8 = 0x14;
pub(crate) const DISPOSITION: u8 = 0x15;
pub(crate) const DETACH: u8 = 0x16;
pub(crate) const END: u8 = 0x17;

/// Handles that are taken; nobody reads the replies.
pub(crate) const CBS_REQUESTS: u32 = 100;
const CBS_REPLIES: u32 = 101;

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    read: BytesMut,
    /// Transfers that came so far.
    pub(crate) received: usize,
}

impl Raw {
    /// Connects, begins a session on channel 0, and puts a token for everything over a link.
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        let mut stream = TcpStream::connect(emulator.address()).await.unwrap();
        stream.write_all(&opened("ANONYMOUS")).await.unwrap();
        // the headers and the frames of SASL end before the open
        let open = read_open(&mut stream).await;
        let mut client = Self { stream, read: BytesMut::from(&open[..]), received: 0 };
        client.until(BEGIN).await;
        client.authorize().await;
        client
    }

    async fn authorize(&mut self) {
        self.send(&attach(CBS_REPLIES, "replies", Role::Receiver, "$cbs")).await;
        self.send(&attach(CBS_REQUESTS, "requests", Role::Sender, "$cbs")).await;
        self.until(FLOW).await;
        let text = |value: &str| SimpleValue::String(value.to_owned());
        let token = token("sb://host/", KEY, in_an_hour());
        let mut request = Message::builder().body(Body::Value(AmqpValue(Value::from(token)))).build();
        let properties = [("operation", "put-token"), ("type", SAS), ("name", "sb://host/")];
        let properties = properties.map(|(key, value)| (key.to_owned(), text(value)));
        request.application_properties = Some(ApplicationProperties(properties.into_iter().collect()));
        let payload = serde_amqp::to_vec(&Serializable(request)).unwrap();
        self.send_with(&transfer(CBS_REQUESTS, 0, false), &payload).await;
        self.until(DISPOSITION).await;
    }

    pub(crate) async fn send(&mut self, performative: &impl Serialize) {
        self.send_with(performative, &[]).await;
    }

    pub(crate) async fn send_with(&mut self, performative: &impl Serialize, payload: &[u8]) {
        self.stream.write_all(&frame(performative, payload)).await.unwrap();
    }

    /// Reads frames until one of this kind, with its performative and payload.
    pub(crate) async fn until(&mut self, code: u8) -> Vec<u8> {
        loop {
            let (found, body) = self.next().await;
            if found == code {
                return body;
            }
        }
    }

    /// The kind of the next frame, 0 for an empty one, and what it holds.
    pub(crate) async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some(size) = self.read.first_chunk::<4>() {
                let size = u32::from_be_bytes(*size) as usize;
                if self.read.len() >= size {
                    let frame = self.read.split_to(size);
                    let code = frame.get(10).copied().unwrap_or(0);
                    self.received += usize::from(code == TRANSFER);
                    return (code, frame[8..].to_vec());
                }
            }
            let read = within(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert_ne!(read, 0, "the stream ended");
        }
    }
}

pub(crate) fn frame(performative: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    let body = serde_amqp::to_vec(performative).unwrap();
    let size = u32::try_from(8 + body.len() + payload.len()).unwrap().to_be_bytes();
    [size.as_slice(), &[2, 0, 0, 0], &body, payload].concat()
}

pub(crate) fn attach(handle: u32, name: &str, role: Role, address: &str) -> Attach {
    let reads = role == Role::Receiver;
    let source = Source { address: reads.then(|| address.to_owned()), ..Source::default() };
    let target = Target { address: (!reads).then(|| address.to_owned()), ..Target::default() };
    Attach {
        name: name.into(),
        handle: Handle(handle),
        initial_delivery_count: (!reads).then_some(0),
        role,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::default(),
        source: Some(Box::new(source)),
        target: Some(Box::new(TargetArchetype::Target(target))),
        unsettled: None,
        incomplete_unsettled: false,
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

pub(crate) fn transfer(handle: u32, delivery_id: u32, more: bool) -> Transfer {
    Transfer {
        handle: Handle(handle),
        delivery_id: Some(delivery_id),
        delivery_tag: Some(delivery_id.to_be_bytes().to_vec().into()),
        message_format: Some(0),
        settled: None,
        more,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

pub(crate) fn detach(handle: u32) -> Detach {
    Detach { handle: Handle(handle), closed: true, error: None }
}

pub(crate) fn flow(handle: u32, delivery_count: u32, credit: u32, drain: bool) -> Flow {
    Flow {
        next_incoming_id: Some(0),
        incoming_window: 1_000_000,
        next_outgoing_id: 1,
        outgoing_window: 5000,
        handle: Some(Handle(handle)),
        delivery_count: Some(delivery_count),
        link_credit: Some(credit),
        available: None,
        drain,
        echo: false,
        properties: None,
    }
}
