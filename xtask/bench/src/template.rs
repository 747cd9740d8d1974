//! One event as the bytes of its frame, copied many times and patched where copies differ.

use std::ops::Range;

use crate::amqp::encode::{Fields, described, frame};
use crate::amqp::{AMQP_FRAME, code};
use crate::clock;

/// Offsets are this far ahead of sequence numbers, so that all have the same length.
const FIRST_OFFSET: u64 = 1_000_000_000_000;

/// 2026-01-01, the enqueued time of the first event; each later one is a millisecond younger.
const FIRST_TIME: i64 = 1_767_225_600_000;

/// What one event looks like: pre-settled, with the three annotations of the service (contract §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the body, at least 8.
    pub body: usize,
    /// Whether it carries five application properties.
    pub properties: bool,
}

/// Many copies of one event in one buffer, so that sending is patching and one write.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    len: usize,
    places: Places,
}

/// Where in a frame the patched values begin.
#[derive(Debug, Clone, Copy)]
struct Places {
    delivery: usize,
    tag: usize,
    sequence: usize,
    offset: usize,
    time: usize,
    body: usize,
}

impl Batch {
    /// `count` copies of the event, for one link.
    pub fn new(shape: Shape, channel: u16, handle: u32, count: usize) -> Self {
        let (event, places) = event(shape, channel, handle);
        Self { len: event.len(), bytes: event.repeat(count), places }
    }

    /// How many events are written at once at most.
    pub fn capacity(&self) -> usize {
        self.bytes.len() / self.len
    }

    /// The first `count` events with these delivery ids and sequence numbers, stamped with the time.
    pub fn fill(&mut self, count: usize, delivery: u32, sequence: u64) -> &[u8] {
        let now = clock::nanos().to_be_bytes();
        let bytes = &mut self.bytes[..count * self.len];
        for ((event, delivery), sequence) in
            bytes.chunks_exact_mut(self.len).zip((0..).map(|n| delivery.wrapping_add(n))).zip(sequence..)
        {
            self.places.patch(event, delivery, sequence, now);
        }
        bytes
    }
}

impl Places {
    fn patch(self, event: &mut [u8], delivery: u32, sequence: u64, now: [u8; 8]) {
        let mut put = |at: usize, value: &[u8]| event[at..at + value.len()].copy_from_slice(value);
        put(self.delivery, &delivery.to_be_bytes());
        put(self.tag, &delivery.to_be_bytes());
        put(self.sequence, &sequence.to_be_bytes());
        put(self.time, &(FIRST_TIME as u64 + sequence).to_be_bytes());
        put(self.body, &now);
        decimal(&mut event[self.offset..self.offset + 13], FIRST_OFFSET + sequence);
    }
}

/// Writes the last digits of the number.
fn decimal(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn event(shape: Shape, channel: u16, handle: u32) -> (Vec<u8>, Places) {
    let mut body = vec![b'x'; shape.body];
    body[..8].copy_from_slice(b"\xf1nanos\xf1\xf1");
    let transfer = Fields::new()
        .uint(handle)
        .uint(0xf2f2_f2f2)
        .raw(b"\xa0\x04\xf3\xf3\xf3\xf3")
        .uint(0)
        .boolean(true)
        .boolean(false)
        .nulls(2)
        .boolean(false)
        .boolean(false)
        .boolean(false);
    let message = [
        described(code::TRANSFER, &transfer.list()),
        described(code::ANNOTATIONS, &annotations()),
        if shape.properties { properties() } else { Vec::new() },
        described(code::DATA, &data(&body)),
    ];
    let event = frame(AMQP_FRAME, channel, &message.concat());
    let places = Places {
        delivery: find(&event, &[0xf2; 4]).start,
        tag: find(&event, &[0xf3; 4]).start,
        sequence: find(&event, &[0xf4; 8]).start,
        offset: find(&event, b"offset-digits").start,
        time: find(&event, &[0xf5; 8]).start,
        body: find(&event, b"\xf1nanos\xf1\xf1").start,
    };
    (event, places)
}

fn annotations() -> Vec<u8> {
    Fields::new()
        .symbol("x-opt-sequence-number")
        .raw(&[&[0x81][..], &[0xf4; 8]].concat())
        .symbol("x-opt-offset")
        .raw(&[b"\xa1\x0d", &b"offset-digits"[..]].concat())
        .symbol("x-opt-enqueued-time")
        .raw(&[&[0x83][..], &[0xf5; 8]].concat())
        .map()
}

fn properties() -> Vec<u8> {
    let map = Fields::new()
        .string("device")
        .string("thermometer-17")
        .string("site")
        .string("north")
        .string("reading")
        .int(21)
        .string("calibrated")
        .boolean(true)
        .string("since")
        .long(1_767_225_600);
    described(code::APPLICATION_PROPERTIES, &map.map())
}

/// In the narrow form where it fits, as senders do.
fn data(body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[0xa0, length], body].concat(),
        Err(_) => [&[0xb0][..], &(body.len() as u32).to_be_bytes(), body].concat(),
    }
}

fn find(event: &[u8], mark: &[u8]) -> Range<usize> {
    let at = event.windows(mark.len()).position(|window| window == mark);
    let at = at.expect("the event was made with this mark");
    at..at + mark.len()
}
