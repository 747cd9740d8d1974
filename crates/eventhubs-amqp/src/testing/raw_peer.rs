//! A service for unit tests that answers by the book until a link has credit, and then writes the bytes it is
//! given.

use eventhubs_amqp_frames::{Performative, uint};
use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::performatives::{Attach, Begin, Detach, End, Open, Transfer};
use fe2o3_amqp_types::sasl::{SaslCode, SaslMechanisms, SaslOutcome};
use serde_amqp::serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::transport::stream::Io;

/// The handle of the peer's end of the link.
pub(crate) const HANDLE: u32 = 9;

/// The channel of the peer's end of the session.
pub(crate) const CHANNEL: u16 = 5;

/// What the peer is to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) next_outgoing_id: u32,
    pub(crate) initial_delivery_count: u32,
    /// What is written once the link has credit, with a pause between the pieces.
    pub(crate) pieces: Vec<Vec<u8>>,
}

/// A flow or disposition of the client: its code, and its fields as far as they are numbers.
pub(crate) type Said = (u8, Vec<Option<u32>>);

/// Starts the peer; gives the stream to it and what the client says of flow and settlement.
pub(crate) fn start(script: Script) -> (DuplexStream, mpsc::Receiver<Said>) {
    let (ours, theirs) = duplex(1 << 20);
    (ours, start_on(theirs, script))
}

/// Starts the peer on its end of a stream.
pub(crate) fn start_on(theirs: impl Io + 'static, script: Script) -> mpsc::Receiver<Said> {
    let (said, saying) = mpsc::channel(1_024);
    tokio::spawn(async move {
        // The end of the client is the end of the peer.
        let _ = serve(theirs, script, said).await;
    });
    saying
}

/// A frame of the AMQP kind.
pub(crate) fn frame(channel: u16, performative: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    typed_frame(0, channel, performative, payload)
}

fn typed_frame(kind: u8, channel: u16, performative: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    let body = serde_amqp::to_vec(performative).unwrap();
    let size = u32::try_from(8 + body.len() + payload.len()).unwrap();
    let [a, b] = channel.to_be_bytes();
    [&size.to_be_bytes()[..], &[2, kind, a, b], &body, payload].concat()
}

/// A transfer on the link.
pub(crate) fn transfer(id: Option<u32>, settled: bool, more: bool, aborted: bool, payload: &[u8]) -> Vec<u8> {
    let transfer = Transfer {
        handle: HANDLE.into(),
        delivery_id: id,
        delivery_tag: id.map(|id| id.to_be_bytes().to_vec().into()),
        message_format: id.map(|_| 0),
        settled: Some(settled),
        more,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted,
        batchable: false,
    };
    frame(CHANNEL, &transfer, payload)
}

async fn serve(mut stream: impl Io, script: Script, said: mpsc::Sender<Said>) -> std::io::Result<()> {
    let mut begun = false;
    loop {
        let mut frame = vec![0; 8];
        stream.read_exact(&mut frame).await?;
        if frame.starts_with(b"AMQP") {
            stream.write_all(&frame).await?;
            if frame[4] == 3 {
                let mechanisms = SaslMechanisms { sasl_server_mechanisms: vec!["ANONYMOUS".into()].into() };
                stream.write_all(&typed_frame(1, 0, &mechanisms, &[])).await?;
            }
            stream.flush().await?;
            continue;
        }
        let size = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        frame.resize(size as usize, 0);
        stream.read_exact(&mut frame[8..]).await?;
        let Ok(Some(performative)) = Performative::of_frame(&frame) else {
            continue;
        };
        let numbers = || (0..11).map(|index| performative.field(index).and_then(uint)).collect();
        if let Some(answer) = answer(&frame, &performative, &script) {
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
        if matches!(performative.descriptor, 0x13 | 0x15) {
            let _ = said.try_send((performative.descriptor, numbers()));
        }
        if performative.descriptor == 0x13 && !std::mem::replace(&mut begun, true) {
            for piece in &script.pieces {
                stream.write_all(piece).await?;
                stream.flush().await?;
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

fn answer(bytes: &[u8], performative: &Performative<'_>, script: &Script) -> Option<Vec<u8>> {
    let body = &bytes[8..];
    let channel = u16::from_be_bytes([bytes[6], bytes[7]]);
    Some(match performative.descriptor {
        0x41 => {
            let outcome = SaslOutcome { code: SaslCode::Ok, additional_data: None };
            typed_frame(1, 0, &outcome, &[])
        }
        0x10 => {
            let mut open: Open = serde_amqp::from_slice(body).unwrap();
            open.container_id = "peer".to_owned();
            frame(0, &open, &[])
        }
        0x11 => {
            let mut begin: Begin = serde_amqp::from_slice(body).unwrap();
            begin.remote_channel = Some(channel);
            begin.next_outgoing_id = script.next_outgoing_id;
            frame(CHANNEL, &begin, &[])
        }
        0x12 => {
            let mut attach: Attach = serde_amqp::from_slice(body).unwrap();
            attach.role = Role::Sender;
            attach.handle = HANDLE.into();
            attach.initial_delivery_count = Some(script.initial_delivery_count);
            frame(CHANNEL, &attach, &[])
        }
        0x16 => {
            let mut detach: Detach = serde_amqp::from_slice(body).unwrap();
            detach.handle = HANDLE.into();
            frame(CHANNEL, &detach, &[])
        }
        0x17 => frame(CHANNEL, &End { error: None }, &[]),
        0x18 => bytes.to_vec(),
        _ => return None,
    })
}
