//! Transfer frames as bytes, always settled. Which message is next and whether it may go is decided in `session_flow.rs`. Tests: here.

use bytes::{BufMut, BytesMut};
use eventhubs_amqp_frames::descriptor::TRANSFER;
use eventhubs_amqp_frames::format::{BINARY8, DESCRIBED, FALSE, LIST8, NULL, SMALL_ULONG, TRUE, UINT, UINT0};

use crate::wire::numbers::{OurChannel, OurDelivery, OurHandle};

/// All fields are written: the Python SDK reads each of them (docs/contract.md §2.3).
const FIELDS: u8 = 11;

/// One message that goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) channel: OurChannel,
    pub(crate) handle: OurHandle,
    pub(crate) id: OurDelivery,
    pub(crate) message: &'a [u8],
}

impl Delivery<'_> {
    /// Writes the next frame of a message of which `sent` bytes went out in earlier frames. Returns how many more it carries.
    pub(crate) fn put_frame(&self, sent: usize, max_frame_size: u32, out: &mut BytesMut) -> usize {
        let start = out.len();
        out.put_u32(0);
        out.put_slice(&[2, 0]);
        out.put_u16(self.channel.0);
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
        out.put_slice(&[DESCRIBED, SMALL_ULONG, TRANSFER, LIST8, 0, FIELDS, UINT]);
        let size = out.len() - 3;
        out.put_u32(self.handle.0);
        if is_first {
            out.put_u8(UINT);
            out.put_u32(self.id.get());
            // The delivery tag has to differ among unsettled deliveries only, and there are none.
            out.put_slice(&[BINARY8, 4]);
            out.put_u32(self.id.get());
            out.put_u8(UINT0);
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
        let (channel, handle, id) = (OurChannel(258), OurHandle(9), OurDelivery::new(7));
        let delivery = Delivery { channel, handle, id, message };
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
