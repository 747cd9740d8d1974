//! Transfer frames as bytes: those of clients read, our own written, always settled. Which message is next and whether it may go is
//! decided in `sending_session.rs`. Tests: here.

use bytes::{BufMut, BytesMut};

use crate::codec::encoded;

const NULL: u8 = 0x40;
const TRUE: u8 = 0x41;
const FALSE: u8 = 0x42;
const UINT_0: u8 = 0x43;
const SMALL_UINT: u8 = 0x52;
const UINT: u8 = 0x70;
const BOOLEAN: u8 = 0x56;
const BINARY8: u8 = 0xa0;
const LIST8: u8 = 0xc0;
/// All fields are written: the Python SDK reads each of them (contract §2.3).
const FIELDS: u8 = 11;

/// The fields of a transfer that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(crate) handle: u32,
    /// That of the first frame of the message; 0 in the others if they leave it out.
    pub(crate) delivery_id: u32,
    pub(crate) format: u32,
    pub(crate) settled: bool,
    pub(crate) more: bool,
    pub(crate) aborted: bool,
}

impl Incoming {
    /// Reads the performative at the front, and returns how long it is; `None` if it is malformed.
    pub(crate) fn read(body: &[u8]) -> Option<(Self, usize)> {
        let (performative, payload) = encoded::split_value(body)?;
        let (_, list) = encoded::describes(performative)?;
        let mut rest = encoded::list_content(list)?;
        let mut fields = [[NULL].as_slice(); FIELDS as usize];
        for field in &mut fields {
            if rest.is_empty() {
                break;
            }
            (*field, rest) = encoded::split_value(rest)?;
        }
        let [handle, id, _tag, format, settled, more, _, _, _, aborted, _] = fields;
        let transfer = Self {
            handle: number(handle)?,
            delivery_id: number(id).unwrap_or(0),
            format: number(format).unwrap_or(0),
            settled: is_true(settled),
            more: is_true(more),
            aborted: is_true(aborted),
        };
        Some((transfer, body.len() - payload.len()))
    }
}

fn number(value: &[u8]) -> Option<u32> {
    match *value {
        [UINT_0] => Some(0),
        [SMALL_UINT, n] => Some(n.into()),
        [UINT, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

fn is_true(value: &[u8]) -> bool {
    matches!(value, [TRUE] | [BOOLEAN, 1])
}

/// One message that goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) channel: u16,
    pub(crate) handle: u32,
    pub(crate) id: u32,
    pub(crate) message: &'a [u8],
}

impl Delivery<'_> {
    /// Writes the next frame of a message of which `sent` bytes went out in earlier frames. Returns how many more it carries.
    pub(crate) fn put_frame(&self, sent: usize, max_frame_size: u32, out: &mut BytesMut) -> usize {
        let start = out.len();
        out.put_u32(0);
        out.put_slice(&[2, 0]);
        out.put_u16(self.channel);
        let more = self.put_performative(sent == 0, out);
        let left = &self.message[sent..];
        let space = (max_frame_size as usize).saturating_sub(out.len() - start);
        // Of a client whose frames have no space, at least one byte, or the message would never end.
        let part = &left[..left.len().min(space.max(1))];
        if part.len() < left.len() {
            out[more] = TRUE;
        }
        out.put_slice(part);
        let size = u32::try_from(out.len() - start).expect("a frame is no larger than a u32 limit");
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        part.len()
    }

    /// Returns where the field `more` is, which is false until it is overwritten.
    fn put_performative(&self, is_first: bool, out: &mut BytesMut) -> usize {
        out.put_slice(&[0x00, 0x53, 0x14, LIST8, 0, FIELDS, UINT]);
        let size = out.len() - 3;
        out.put_u32(self.handle);
        if is_first {
            out.put_u8(UINT);
            out.put_u32(self.id);
            // The delivery tag has to differ among unsettled deliveries only, and there are none.
            out.put_slice(&[BINARY8, 4]);
            out.put_u32(self.id);
            out.put_u8(UINT_0);
        } else {
            out.put_slice(&[NULL, NULL, NULL]);
        }
        let more = out.len() + 1;
        // settled, more, receiver settle mode, state, resume, aborted, batchable
        out.put_slice(&[TRUE, FALSE, NULL, NULL, FALSE, FALSE, TRUE]);
        out[size] = u8::try_from(out.len() - size - 1).expect("the fields take at most 26 bytes");
        more
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::performatives::Transfer;

    use super::*;

    /// The frames of a message, each as its performative and payload.
    fn frames(message: &[u8], max_frame_size: u32) -> Vec<(Transfer, Vec<u8>)> {
        let delivery = Delivery { channel: 258, handle: 9, id: 7, message };
        let (mut sent, mut frames) = (0, Vec::new());
        loop {
            let mut out = BytesMut::from("before".as_bytes());
            sent += delivery.put_frame(sent, max_frame_size, &mut out);
            let frame = &out[6..];
            assert_eq!(
                frame[..8],
                [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], &[2, 0, 1, 2]].concat()
            );
            assert!(frame.len() <= max_frame_size as usize);
            let mut rest = &frame[8..];
            let transfer = serde_amqp::from_reader(&mut rest).unwrap();
            frames.push((transfer, rest.to_vec()));
            if sent == message.len() {
                return frames;
            }
        }
    }

    #[test]
    fn what_the_library_writes_is_read() {
        let transfer = |id: Option<u32>, format, [settled, more, aborted]: [Option<bool>; 3]| Transfer {
            handle: 300.into(),
            delivery_id: id,
            delivery_tag: Some(b"tag".to_vec().into()),
            message_format: format,
            settled,
            more: more.unwrap_or_default(),
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: aborted.unwrap_or_default(),
            batchable: false,
        };
        let flags = [None, Some(false), Some(true)];
        for (id, format) in
            [(Some(0), Some(0)), (Some(9), None), (Some(u32::MAX), Some(0x8001_3700)), (None, None)]
        {
            for settled in flags {
                for (more, aborted) in [(false, false), (true, false), (false, true)] {
                    let written = transfer(id, format, [settled, Some(more), Some(aborted)]);
                    let body = [serde_amqp::to_vec(&written).unwrap().as_slice(), b"payload"].concat();
                    let (read, length) = Incoming::read(&body).unwrap();
                    let expected = Incoming {
                        handle: 300,
                        delivery_id: id.unwrap_or(0),
                        format: format.unwrap_or(0),
                        settled: settled.unwrap_or(false),
                        more,
                        aborted,
                    };
                    assert_eq!((read, &body[length..]), (expected, b"payload".as_slice()));
                }
            }
        }
    }

    #[test]
    fn a_transfer_without_handle_or_with_a_cut_list_is_malformed() {
        for body in [
            b"\x00\x53\x14\x45".as_slice(),
            b"\x00\x53\x14\xc0\x02\x01\x40",
            b"\x00\x53\x14\xc0\x03\x02\x43\x52",
        ] {
            assert_eq!(Incoming::read(body), None, "{body:x?}");
        }
    }

    #[test]
    fn a_message_that_fits_is_one_frame() {
        for message in [b"".as_slice(), b"message"] {
            let [(transfer, payload)] = &frames(message, 512)[..] else { panic!("more than one frame") };
            assert_eq!(payload, message);
            assert_eq!((transfer.handle.0, transfer.delivery_id, transfer.more), (9, Some(7), false));
            assert_eq!((transfer.settled, transfer.message_format), (Some(true), Some(0)));
            assert_eq!(transfer.delivery_tag.as_ref().unwrap().as_slice(), [0, 0, 0, 7]);
        }
    }

    #[test]
    fn a_longer_one_fills_its_frames() {
        let message: Vec<u8> = (0..=250).cycle().take(1200).collect();
        let frames = frames(&message, 512);
        let mores: Vec<_> = frames.iter().map(|(transfer, _)| transfer.more).collect();
        let ids: Vec<_> = frames.iter().map(|(transfer, _)| transfer.delivery_id).collect();
        assert_eq!((mores, ids), (vec![true, true, false], vec![Some(7), None, None]));
        let payload: Vec<u8> = frames.into_iter().flat_map(|(_, payload)| payload).collect();
        assert_eq!(payload, message);
    }
}
