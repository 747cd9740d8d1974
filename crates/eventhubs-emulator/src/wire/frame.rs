//! Frames as bytes: the checks before the AMQP library sees them, and the fields it leaves out.

use std::io;

use bytes::{BufMut, BytesMut};
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use crate::codec::encoded;
use crate::codec::nesting::Nesting;

/// A frame starts with its size, the offset of its data, its type and its channel; a protocol header is as long.
const HEADER: usize = 8;
const PROTOCOL: &[u8; 4] = b"AMQP";

/// How many bytes of a frame are inverted to garble it.
const GARBLED: usize = 16;

const NULL: u8 = 0x40;
const TRUE: u8 = 0x41;
const LIST0: u8 = 0x45;
const LIST8: u8 = 0xc0;
const LIST32: u8 = 0xd0;

const OPEN: u8 = 0x10;
const ATTACH: u8 = 0x12;

/// How large things may be that a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of a frame, in bytes.
    pub(crate) frame: u32,
    /// Of a message, in bytes.
    pub(crate) message: u64,
}

/// Follows incoming frames and refuses sizes that would make the library panic or allocate without limit.
#[derive(Debug)]
pub(crate) struct FrameCheck {
    max_frame_size: u32,
    header: [u8; HEADER],
    /// How many bytes of the header are known.
    known: usize,
    /// How many bytes of the frame follow its header.
    rest: usize,
    /// How many of them stand before the performative.
    extended_header: usize,
    nesting: Nesting,
}

impl FrameCheck {
    pub(crate) fn new(max_frame_size: u32) -> Self {
        Self {
            max_frame_size,
            header: [0; HEADER],
            known: 0,
            rest: 0,
            extended_header: 0,
            nesting: Nesting::default(),
        }
    }

    /// # Errors
    /// When a frame is shorter than its header, longer than the limit, its data starts outside of it, or its values
    /// are nested too deep.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let wanted = if self.known < HEADER { HEADER - self.known } else { self.rest };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.known < HEADER {
                self.header[self.known..self.known + taken.len()].copy_from_slice(taken);
                self.known += taken.len();
                self.check_header()?;
            } else {
                self.rest -= taken.len();
                let skipped = self.extended_header.min(taken.len());
                self.extended_header -= skipped;
                self.nesting.advance(&taken[skipped..])?;
            }
            if self.known == HEADER && self.rest == 0 {
                self.known = 0;
            }
        }
        Ok(())
    }

    /// As soon as the size is known: the library acts on it before the rest arrives.
    fn check_header(&mut self) -> io::Result<()> {
        if self.known < 4 || self.header.starts_with(PROTOCOL) {
            return Ok(());
        }
        let [a, b, c, d, data_offset, ..] = self.header;
        let size = u32::from_be_bytes([a, b, c, d]);
        let data_starts = u32::from(data_offset) * 4;
        let offset_known = self.known == HEADER;
        if size < 8 || size > self.max_frame_size || offset_known && (data_starts < 8 || data_starts > size) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("malformed frame of {size} bytes"),
            ));
        }
        if offset_known {
            self.rest = size as usize - HEADER;
            self.extended_header = data_starts as usize - HEADER;
            self.nesting = Nesting::default();
        }
        Ok(())
    }
}

/// Takes the first whole frame or protocol header out of what the library wrote.
pub(crate) fn split_frame(written: &mut BytesMut) -> Option<BytesMut> {
    let prefix = written.first_chunk::<4>()?;
    let size = if prefix == PROTOCOL { HEADER } else { u32::from_be_bytes(*prefix) as usize };
    (written.len() >= size).then(|| written.split_to(size))
}

/// How many bytes the frame at the front lacks; 0 if nothing is known of it. Its size has been checked.
pub(crate) fn missing(frame: &[u8]) -> usize {
    let Some(prefix) = frame.first_chunk::<4>() else { return 0 };
    if prefix == PROTOCOL { 0 } else { (u32::from_be_bytes(*prefix) as usize).saturating_sub(frame.len()) }
}

/// The channel, the code and the encoding of the performative of an AMQP frame; `None` for other and empty frames.
pub(crate) fn parse(frame: &[u8]) -> Option<(u16, u8, &[u8])> {
    let [_, _, _, _, data_offset, 0, a, b, ..] = *frame else { return None };
    let body = frame.get(usize::from(data_offset) * 4..)?;
    let ([0, 0x53, code, ..] | [0, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..]) = *body else { return None };
    Some((u16::from_be_bytes([a, b]), code, body))
}

/// Where in an AMQP frame its performative starts.
pub(crate) fn body_start(frame: &[u8]) -> usize {
    usize::from(frame[4]) * 4
}

/// Whether a frame of the AMQP type holds something that [`parse`] cannot tell.
pub(crate) fn is_unknown(frame: &[u8]) -> bool {
    !frame.starts_with(PROTOCOL) && frame[5] == 0 && frame.len() > body_start(frame) && parse(frame).is_none()
}

/// Puts a frame of the AMQP type around a performative.
pub(crate) fn write(channel: u16, body: &[u8], out: &mut BytesMut) {
    out.put_u32(u32::try_from(HEADER + body.len()).expect("a performative is shorter than 4 GiB"));
    out.put_slice(&[2, 0]);
    out.put_u16(channel);
    out.put_slice(body);
}

/// Decodes a performative; `None` for what the library will not decode either.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_amqp::from_slice(body).ok()
}

/// Writes the frame of a performative.
pub(crate) fn put<T: Serialize>(channel: u16, performative: &T, out: &mut BytesMut) {
    let body = serde_amqp::to_vec(performative).expect("what was decoded can be encoded");
    write(channel, &body, out);
}

/// Returns the frame of a performative.
pub(crate) fn framed<T: Serialize>(channel: u16, performative: &T) -> BytesMut {
    let mut frame = BytesMut::new();
    put(channel, performative, &mut frame);
    frame
}

/// Makes a frame undecodable and leaves its size alone: no AMQP value starts with the inverse of a zero.
pub(crate) fn garble(frame: &mut [u8]) {
    for byte in frame.iter_mut().skip(HEADER).take(GARBLED) {
        *byte = !*byte;
    }
}

/// How many fields the list of a performative has.
fn field_count(descriptor: u8) -> usize {
    match descriptor {
        OPEN => 10,
        0x11 => 8, // begin
        ATTACH => 14,
        0x13 => 11,       // flow
        0x15 => 6,        // disposition
        0x16 => 3,        // detach
        0x17 | 0x18 => 1, // end, close
        _ => 0,
    }
}

/// Writes a frame of the library: with the null fields that it leaves out at the end of a performative, since the Python SDK indexes
/// them blindly (contract §2.3), and with the true limits. A frame of another form is written as it is.
pub(crate) fn put_outgoing(mut frame: BytesMut, limits: Limits, out: &mut BytesMut) {
    let Some((descriptor, list)) = performative(&frame) else {
        return out.put_slice(&frame);
    };
    if descriptor == OPEN {
        // What the client offers may be less than what the library was told.
        overwrite(&mut frame, &list, 2, &limits.frame.to_be_bytes());
    }
    let (fields, payload) = (&frame[list.content.clone()], &frame[list.content.end..]);
    let missing = field_count(descriptor).saturating_sub(list.fields as usize);
    let start = out.len();
    out.put_slice(&frame[..LIST_AT]);
    match missing {
        // so that a full frame does not become longer than the client may take
        0 => out.put_slice(&frame[LIST_AT..list.content.start]),
        _ => list.write_header(missing, out),
    }
    out.put_slice(fields);
    out.put_bytes(NULL, missing);
    out.put_slice(payload);
    let size = u32::try_from(out.len() - start).expect("the library writes frames below 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Replaces the number in a field, if it has that width.
fn overwrite(frame: &mut [u8], list: &List, index: usize, number: &[u8]) {
    let Some(field) = list.field(frame, index) else { return };
    if field.len() == 1 + number.len() {
        frame[field.start + 1..field.end].copy_from_slice(number);
    }
}

/// Where the list of a performative starts, after the frame header and a descriptor of three bytes.
const LIST_AT: usize = HEADER + 3;

struct List {
    content: std::ops::Range<usize>,
    fields: u32,
}

impl List {
    fn read(frame: &[u8]) -> Option<Self> {
        let at = LIST_AT;
        let (header, content_size, fields) = match *frame.get(at)? {
            LIST0 => (1, 0, 0),
            LIST8 => (3, usize::from(*frame.get(at + 1)?).checked_sub(1)?, u32::from(*frame.get(at + 2)?)),
            LIST32 => {
                let word = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
                (9, (word(at + 1)? as usize).checked_sub(4)?, word(at + 5)?)
            }
            _ => return None,
        };
        let content = at + header..at + header + content_size;
        (content.end <= frame.len()).then_some(Self { content, fields })
    }

    /// Where in the frame a field is.
    fn field(&self, frame: &[u8], index: usize) -> Option<std::ops::Range<usize>> {
        let mut rest = &frame[self.content.clone()];
        for _ in 0..index {
            rest = encoded::split_value(rest)?.1;
        }
        let (field, rest) = encoded::split_value(rest)?;
        let end = self.content.end - rest.len();
        Some(end - field.len()..end)
    }

    /// Always the long form: one form less to get wrong.
    fn write_header(&self, missing: usize, out: &mut BytesMut) {
        let size =
            u32::try_from(self.content.len() + missing + 4).expect("a list lies in a frame below 4 GiB");
        let missing = u32::try_from(missing).expect("no performative has more than 14 fields");
        out.put_u8(LIST32);
        out.put_u32(size);
        out.put_u32(self.fields + missing);
    }
}

/// The descriptor of a frame's performative, and its list.
fn performative(frame: &[u8]) -> Option<(u8, List)> {
    let [0, 0x53, descriptor] = *frame.get(HEADER..LIST_AT)? else {
        return None;
    };
    let is_amqp = frame[4] == 2 && frame[5] == 0;
    let list = List::read(frame).filter(|_| is_amqp)?;
    Some((descriptor, list))
}

/// Whether the frame is an attach that refuses a link: its own terminus is null (contract §5.3).
pub(crate) fn refuses_link(frame: &[u8]) -> bool {
    let attach = matches!(frame.get(HEADER..LIST_AT), Some([0, 0x53, 0x12]));
    attach && List::read(frame).and_then(|list| lacks_terminus(&frame[list.content])).unwrap_or(false)
}

/// Name, handle, role, two settle modes, source, target.
fn lacks_terminus(mut fields: &[u8]) -> Option<bool> {
    for _ in 0..2 {
        fields = fields.get(value_size(fields)?..)?;
    }
    let receives = *fields.first()? == TRUE;
    for _ in 2..if receives { 6 } else { 5 } {
        fields = fields.get(value_size(fields)?..)?;
    }
    // nulls at the end may be left out
    Some(fields.first().is_none_or(|terminus| *terminus == NULL))
}

/// How long the first encoded value is.
fn value_size(bytes: &[u8]) -> Option<usize> {
    let (code, rest) = bytes.split_first()?;
    Some(match code >> 4 {
        0x0 => {
            let descriptor = value_size(rest)?;
            1 + descriptor + value_size(rest.get(descriptor..)?)?
        }
        0x4 => 1,
        width @ 0x5..=0x9 => 1 + (1 << (width - 5)),
        0xa | 0xc | 0xe => 2 + usize::from(*rest.first()?),
        _ => 5 + u32::from_be_bytes(*rest.first_chunk()?) as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FALSE: u8 = 0x42;

    /// An attach with name, handle, role and what follows the settle modes.
    fn attach(role: u8, termini: &[u8]) -> Vec<u8> {
        let fields = [b"\xa1\x01n\x52\x07", &[role][..], b"\x50\x01\x40", termini].concat();
        let size = u8::try_from(fields.len()).unwrap();
        [b"\x00\x00\x00\x00\x02\x00\x00\x00\x00\x53\x12\xc0", &[size + 1, 7][..], &fields].concat()
    }

    #[test]
    fn an_attach_without_the_own_terminus_refuses_the_link() {
        let some = b"\x00\x53\x28\xc0\x04\x01\xa1\x01a".as_slice();
        for (role, termini, refuses) in [
            (FALSE, [&[NULL], some].concat(), true),
            (FALSE, [some, &[NULL]].concat(), false),
            (FALSE, Vec::new(), true),
            (TRUE, [some, &[NULL]].concat(), true),
            (TRUE, some.to_vec(), true),
            (TRUE, [some, some].concat(), false),
        ] {
            assert_eq!(refuses_link(&attach(role, &termini)), refuses, "{role:#x} {termini:x?}");
        }
        assert!(!refuses_link(b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x16\x45"));
    }

    fn check(chunks: &[&[u8]]) -> io::Result<()> {
        let mut check = FrameCheck::new(1024);
        chunks.iter().try_for_each(|chunk| check.advance(chunk))
    }

    fn written(frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_outgoing(frame.into(), Limits { frame: 5, message: 6 }, &mut out);
        out.to_vec()
    }

    #[test]
    fn well_formed_frames_pass_in_any_chunks() {
        let stream = b"AMQP\x03\x01\x00\x00\x00\x00\x00\x0c\x02\x01\x00\x00abcd\x00\x00\x00\x08\x02\x00\x00\x00AMQP\x00\x01\x00\x00";
        for size in 1..stream.len() {
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            check(&chunks).unwrap();
        }
    }

    #[test]
    fn a_frame_of_impossible_size_is_refused() {
        for bad in [
            b"\x00\x00\x00\x00".as_slice(),
            b"\x00\x00\x00\x04",
            b"\x00\x00\x00\x07",
            b"\x00\x00\x04\x01",
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x08\x01\x00\x00\x00",
            b"\x00\x00\x00\x08\x03\x00\x00\x00",
            b"GET / HTTP/1.1",
        ] {
            assert!(check(&[bad]).is_err(), "{bad:?}");
            let mut whole = b"AMQP\x00\x01\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00".to_vec();
            whole.extend_from_slice(bad);
            assert!(check(&[&whole]).is_err(), "{bad:?} behind good ones");
        }
    }

    #[test]
    fn missing_fields_become_nulls() {
        // detach with its handle alone, as list8
        let detach = b"\x00\x00\x00\x0f\x02\x00\x00\x01\x00\x53\x16\xc0\x02\x01\x43";
        let expected =
            b"\x00\x00\x00\x17\x02\x00\x00\x01\x00\x53\x16\xd0\x00\x00\x00\x07\x00\x00\x00\x03\x43\x40\x40";
        assert_eq!(written(detach), expected);
        // close as list0
        let close = b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x18\x45";
        let expected =
            b"\x00\x00\x00\x15\x02\x00\x00\x00\x00\x53\x18\xd0\x00\x00\x00\x05\x00\x00\x00\x01\x40";
        assert_eq!(written(close), expected);
    }

    #[test]
    fn everything_else_is_written_as_it_is() {
        for frame in [
            b"AMQP\x00\x01\x00\x00".as_slice(),
            b"\x00\x00\x00\x08\x02\x00\x00\x00",
            b"\x00\x00\x00\x11\x02\x00\x00\x00\x00\x53\x16\xc0\x04\x03\x43\x41\x40",
            b"\x00\x00\x00\x0c\x02\x01\x00\x00\x00\x53\x40\x45",
        ] {
            assert_eq!(written(frame), frame);
        }
    }

    #[test]
    fn an_open_says_the_limit_of_this_client() {
        let open =
            b"\x00\x00\x00\x17\x02\x00\x00\x00\x00\x53\x10\xc0\x0a\x03\xa1\x01e\x40\x70\x00\x10\x00\x08";
        let written_open = written(open);
        assert_eq!(written_open[20..29], *b"\xa1\x01e\x40\x70\x00\x00\x00\x05");
    }

    #[test]
    fn frames_are_split_off_when_they_are_whole() {
        let mut written =
            BytesMut::from(b"AMQP\x00\x01\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00\x00\x00".as_slice());
        assert_eq!(split_frame(&mut written).unwrap(), b"AMQP\x00\x01\x00\x00".as_slice());
        assert_eq!(split_frame(&mut written).unwrap().len(), 8);
        assert_eq!(split_frame(&mut written), None);
        assert_eq!(written.len(), 2);
    }
}
