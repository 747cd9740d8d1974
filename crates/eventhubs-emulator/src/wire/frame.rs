//! Control frames as bytes: decoded, encoded, and with the fields that the AMQP library leaves out. How frames are split and checked:
//! crate `eventhubs-amqp-frames`. Tests: here.

use bytes::{BufMut, BytesMut};
use eventhubs_amqp_frames::descriptor::{ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, OPEN};
use eventhubs_amqp_frames::format::{LIST0, LIST8, LIST32, NULL};
use eventhubs_amqp_frames::{AMQP_FRAME, HEADER_LENGTH, Performative, channel, field, is_true};
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use crate::codec::encoded;

/// How many bytes of a frame are inverted to garble it.
const GARBLED: usize = 16;

/// How large things may be that a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of a frame, in bytes.
    pub(crate) frame: u32,
    /// Of a message, in bytes.
    pub(crate) message: u64,
}

/// Returns the channel, the descriptor and the encoding of the performative of an AMQP frame; `None` for other and empty frames.
pub(crate) fn parse(frame: &[u8]) -> Option<(u16, u8, &[u8])> {
    let body = frame.get(body_start(frame)..).filter(|_| frame[5] == AMQP_FRAME)?;
    let (descriptor, _) = encoded::describes(body)?;
    Some((channel(frame), descriptor, body))
}

/// Where the performative of a whole frame starts.
pub(crate) fn body_start(frame: &[u8]) -> usize {
    usize::from(frame[4]) * 4
}

/// Puts a frame of the AMQP type around a performative.
pub(crate) fn write(channel: u16, body: &[u8], out: &mut BytesMut) {
    out.put_u32(u32::try_from(HEADER_LENGTH + body.len()).expect("a performative is shorter than 4 GiB"));
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
    for byte in frame.iter_mut().skip(HEADER_LENGTH).take(GARBLED) {
        *byte = !*byte;
    }
}

/// How many fields the list of a performative has.
fn field_count(descriptor: u8) -> usize {
    match descriptor {
        OPEN => 10,
        BEGIN => 8,
        ATTACH => 14,
        FLOW => 11,
        DISPOSITION => 6,
        DETACH => 3,
        END | CLOSE => 1,
        _ => 0,
    }
}

/// Writes a frame of the library: with the null fields that it leaves out at the end of a performative, since
/// the Python SDK indexes them blindly (docs/contract.md §2.3), and with the true limits. A frame of another
/// form is written as it is.
pub(crate) fn put_outgoing(mut frame: BytesMut, limits: Limits, out: &mut BytesMut) {
    let Some((descriptor, list)) = performative(&frame) else {
        return out.put_slice(&frame);
    };
    if descriptor == OPEN {
        // What the client offers may be less than what the library was told.
        overwrite(&mut frame, &list, field::open::MAX_FRAME_SIZE, &limits.frame.to_be_bytes());
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
const LIST_AT: usize = HEADER_LENGTH + 3;

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
    let [0, 0x53, descriptor] = *frame.get(HEADER_LENGTH..LIST_AT)? else {
        return None;
    };
    let is_amqp = frame[4] == 2 && frame[5] == 0;
    let list = List::read(frame).filter(|_| is_amqp)?;
    Some((descriptor, list))
}

/// Whether an attach refuses a link: its own terminus is null, or left out (docs/contract.md §5.3).
pub(crate) fn refuses_link(frame: &[u8]) -> bool {
    let Ok(Some(attach)) = Performative::of_frame(frame) else { return false };
    let receives = attach.field(field::attach::ROLE).is_some_and(is_true);
    let own = if receives { field::attach::TARGET } else { field::attach::SOURCE };
    attach.descriptor == ATTACH && attach.field(own).is_none_or(|terminus| terminus == [NULL])
}

#[cfg(test)]
mod tests {
    use eventhubs_amqp_frames::format::{FALSE, TRUE};

    use super::*;

    /// An attach with name, handle, role and what follows the settle modes.
    fn attach(role: u8, termini: &[&[u8]]) -> Vec<u8> {
        let fields = [b"\xa1\x01n\x52\x07", &[role][..], b"\x50\x01\x40", &termini.concat()].concat();
        let [size, count] = [fields.len() + 1, 5 + termini.len()].map(|number| u8::try_from(number).unwrap());
        [b"\x00\x00\x00\x00\x02\x00\x00\x00\x00\x53\x12\xc0", &[size, count][..], &fields].concat()
    }

    #[test]
    fn an_attach_without_the_own_terminus_refuses_the_link() {
        let some = b"\x00\x53\x28\xc0\x04\x01\xa1\x01a".as_slice();
        let none = [NULL].as_slice();
        for (role, termini, refuses) in [
            (FALSE, [none, some].as_slice(), true),
            (FALSE, &[some, none], false),
            (FALSE, &[], true),
            (TRUE, &[some, none], true),
            (TRUE, &[some], true),
            (TRUE, &[some, some], false),
        ] {
            assert_eq!(refuses_link(&attach(role, termini)), refuses, "{role:#x} {termini:x?}");
        }
        assert!(!refuses_link(b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x16\x45"));
    }

    fn written(frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_outgoing(frame.into(), Limits { frame: 5, message: 6 }, &mut out);
        out.to_vec()
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
}
