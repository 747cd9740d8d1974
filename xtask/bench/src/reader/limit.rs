//! What no reader of this runtime can beat by much: the socket is read into large chunks, each frame is parsed by hand
//! with no regard to errors, and an event owns slices of the chunk.

use std::hint::black_box;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{InOrder, Orders, Outcome};
use crate::amqp::decode::{Raw, split};
use crate::amqp::encode::{Fields, described, frame};
use crate::amqp::{AMQP, AMQP_FRAME, SASL, SASL_FRAME, code};
use crate::meter::Meter;

const CHUNK: usize = 256 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Stream for S {}

/// Dials the replayer, with TLS if ordered.
pub(super) async fn connect(orders: &Orders) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(("127.0.0.1", orders.port)).await?;
    stream.set_nodelay(true)?;
    let Some(certificate) = &orders.tls else {
        return Ok(Box::new(stream));
    };
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// An event that can be kept and sent to another task.
#[derive(Debug)]
struct Event {
    partition: u32,
    sequence_number: i64,
    offset: Bytes,
    enqueued_millis: i64,
    body: Bytes,
}

/// One connection and session, a link per partition; all read by this task.
pub(super) async fn read(orders: &Orders, meter: &Meter) -> Outcome {
    let mut stream = connect(orders).await?;
    stream.write_all(&opening(orders)).await?;
    stream.flush().await?;
    let mut links: Vec<Link> = (0..orders.partitions).map(|_| Link::default()).collect();
    let mut input = BytesMut::with_capacity(CHUNK);
    let mut events = Vec::new();
    loop {
        if input.capacity() - input.len() < CHUNK / 4 {
            input.reserve(CHUNK);
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err("the replayer closed".into());
        }
        parse_all(&mut input, &mut events)?;
        for event in &events {
            meter.comes_from(|| event.partition);
            links[event.partition as usize].order.check(event.sequence_number)?;
            black_box((&event.offset, event.enqueued_millis));
            meter.look_at(&event.body);
        }
        meter.count(events.len());
        let flows = replenish(orders, &mut links);
        if !flows.is_empty() {
            stream.write_all(&flows).await?;
            // TLS may keep back what it could not write at once, and nothing else comes that would write it
            stream.flush().await?;
        }
        events.clear();
    }
}

#[derive(Debug, Default)]
struct Link {
    order: InOrder,
    granted: i64,
}

/// Flow frames for the links that have used half of their credit.
fn replenish(orders: &Orders, links: &mut [Link]) -> Vec<u8> {
    let total: i64 = links.iter().map(|link| link.order.next).sum();
    let prefetch = i64::from(orders.prefetch);
    let mut flows = Vec::new();
    for (handle, link) in (0..).zip(links) {
        if link.granted - link.order.next <= prefetch / 2 && link.order.next > 0 {
            link.granted = link.order.next + prefetch;
            flows.extend(flow(total as u32, handle, link.order.next as u32, orders.prefetch));
        }
    }
    flows
}

/// All that a client has to say before its first event, in one go.
fn opening(orders: &Orders) -> Vec<u8> {
    let put = |kind, performative, fields: Fields| frame(kind, 0, &described(performative, &fields.list()));
    let open = Fields::new().string("bench").string("localhost").uint(1 << 20).ushort(255).nulls(6);
    let begin = Fields::new().nulls(1).uint(0).uint(u32::MAX / 2).uint(1024).uint(255).nulls(3);
    let mut bytes = [
        SASL.to_vec(),
        put(SASL_FRAME, code::SASL_INIT, Fields::new().symbol("ANONYMOUS").nulls(2)),
        AMQP.to_vec(),
        put(AMQP_FRAME, code::OPEN, open),
        put(AMQP_FRAME, code::BEGIN, begin),
    ]
    .concat();
    for id in 0..orders.partitions {
        let source = Fields::new().string(&format!("hub/ConsumerGroups/$Default/Partitions/{id}")).nulls(10);
        let attach = Fields::new()
            .string(&format!("bench-{id}"))
            .uint(id)
            .boolean(true)
            .ubyte(1)
            .ubyte(0)
            .raw(&described(code::SOURCE, &source.list()))
            .raw(&described(code::TARGET, &Fields::new().nulls(7).list()))
            .nulls(7);
        bytes.extend(put(AMQP_FRAME, code::ATTACH, attach));
        bytes.extend(flow(0, id, 0, orders.prefetch));
    }
    bytes
}

fn flow(next_incoming: u32, handle: u32, count: u32, credit: u32) -> Vec<u8> {
    let fields = Fields::new()
        .uint(next_incoming)
        .uint(u32::MAX / 2)
        .uint(0)
        .uint(1024)
        .uint(handle)
        .uint(count)
        .uint(credit)
        .nulls(1)
        .boolean(false)
        .boolean(false)
        .nulls(1);
    frame(AMQP_FRAME, 0, &described(code::FLOW, &fields.list()))
}

/// Takes the whole frames off the input.
fn parse_all(input: &mut BytesMut, events: &mut Vec<Event>) -> Outcome {
    let mut whole = 0;
    while let Some(size) = input.get(whole..).and_then(frame_size) {
        if input.len() < whole + size {
            break;
        }
        whole += size;
    }
    let mut frames = input.split_to(whole).freeze();
    while let Some(size) = frame_size(&frames) {
        let frame = &frames[..size];
        if frame.get(8..11) == Some(&[0x00, 0x53, code::TRANSFER]) {
            let event = parse(&frames, size).ok_or_else(|| format!("cannot read {frame:x?}"))?;
            events.push(event);
        }
        frames.advance(size);
    }
    Ok(())
}

fn frame_size(input: &[u8]) -> Option<usize> {
    let size = u32::from_be_bytes(*input.first_chunk()?);
    Some(if size == u32::from_be_bytes(*b"AMQP") { 8 } else { size as usize })
}

fn parse(frames: &Bytes, size: usize) -> Option<Event> {
    let mut rest = &frames[11..size];
    let mut event = Event {
        partition: handle(split(&mut rest)?)?,
        sequence_number: 0,
        offset: Bytes::new(),
        enqueued_millis: 0,
        body: Bytes::new(),
    };
    while let [0x00, 0x53, section, value @ ..] = rest {
        rest = value;
        let value = split(&mut rest)?;
        match *section {
            code::ANNOTATIONS => annotations(frames, value, &mut event)?,
            code::DATA => event.body = frames.slice_ref(value.bytes()?),
            _ => {}
        }
    }
    Some(event)
}

/// The first field of a transfer.
fn handle(transfer: Raw<'_>) -> Option<u32> {
    let mut fields = compound(transfer)?;
    split(&mut fields)?.uint()
}

fn annotations(frames: &Bytes, map: Raw<'_>, event: &mut Event) -> Option<()> {
    let mut rest = compound(map)?;
    while !rest.is_empty() {
        let (key, value) = (split(&mut rest)?.bytes()?, split(&mut rest)?);
        match key {
            b"x-opt-sequence-number" => event.sequence_number = value.number()? as i64,
            b"x-opt-offset" => event.offset = frames.slice_ref(value.bytes()?),
            b"x-opt-enqueued-time" => event.enqueued_millis = value.number()? as i64,
            _ => {}
        }
    }
    Some(())
}

/// The elements of a list or a map, still encoded.
fn compound(value: Raw<'_>) -> Option<&[u8]> {
    match value.0 {
        [0xc0 | 0xc1, _, _, rest @ ..] | [0xd0 | 0xd1, _, _, _, _, _, _, _, _, rest @ ..] => Some(rest),
        _ => None,
    }
}
