//! Transfer frames, read in one pass: the fields that decide which delivery the payload belongs to.
//!
//! One comes with each delivery, so this reads what [`Performative`](crate::Performative) would, several
//! times faster.
//!
//! Tests: below, against what the AMQP library writes.

use crate::descriptor::TRANSFER;
use crate::field::transfer::{ABORTED, DELIVERY_ID, HANDLE, MESSAGE_FORMAT, MORE, SETTLED};
use crate::format::{
    BOOLEAN, DESCRIBED, FALSE, LIST8, LIST32, NULL, SMALL_UINT, SMALL_ULONG, TRUE, UINT, UINT0,
};
use crate::frame::{AMQP_FRAME, HEADER_LENGTH};
use crate::length::value_length;

/// The parts of a transfer that matter to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfer {
    /// The handle of the sender's end of the link.
    pub handle: u32,
    /// The number of the delivery, in its first frame at least.
    pub delivery_id: Option<u32>,
    /// What the message is, in its first frame; a batch of events, for example.
    pub message_format: Option<u32>,
    /// Whether the delivery needs no disposition.
    pub settled: bool,
    /// Whether the delivery continues in another frame.
    pub more: bool,
    /// Whether the delivery is given up.
    pub aborted: bool,
    /// Where the payload begins in the frame.
    pub payload: usize,
}

impl Transfer {
    /// Returns whether a whole frame is a transfer, with its descriptor in the short form that all peers
    /// write.
    ///
    /// # Panics
    /// When the frame is shorter than its header.
    #[inline]
    pub fn is(frame: &[u8]) -> bool {
        let start = usize::from(frame[4]) * 4;
        frame[5] == AMQP_FRAME
            && start >= HEADER_LENGTH
            && frame.get(start..).is_some_and(|body| body.starts_with(&[DESCRIBED, SMALL_ULONG, TRANSFER]))
    }

    /// Reads such a frame; `None` if it is malformed.
    ///
    /// # Panics
    /// When the frame is shorter than its header.
    #[inline]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let start = usize::from(frame[4]) * 4 + 3;
        let number = |at: usize| Some(u32::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        let (count, fields, end) = match *frame.get(start..)? {
            [LIST8, size, count, ..] => (u32::from(count), start + 3, start + 2 + usize::from(size)),
            [LIST32, ..] => {
                let size = usize::try_from(number(start + 1)?).ok()?;
                (number(start + 5)?, start + 9, start + 5 + size)
            }
            _ => return None,
        };
        let mut rest = frame.get(fields..end)?;
        let mut transfer = Self { payload: end, ..Self::default() };
        if count == 0 {
            return None;
        }
        for index in 0..count as usize {
            rest = transfer.field(index, rest)?;
        }
        rest.is_empty().then_some(transfer)
    }

    /// Reads the field at the front and returns what follows it.
    #[inline]
    fn field<'a>(&mut self, index: usize, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (rest, number, flag) = match bytes {
            [NULL | FALSE, rest @ ..] => (rest, None, false),
            [UINT0, rest @ ..] => (rest, Some(0), false),
            [SMALL_UINT, small, rest @ ..] => (rest, Some(u32::from(*small)), false),
            [UINT, a, b, c, d, rest @ ..] => (rest, Some(u32::from_be_bytes([*a, *b, *c, *d])), false),
            [TRUE, rest @ ..] | [BOOLEAN, 1, rest @ ..] => (rest, None, true),
            other => (&other[value_length::<true>(other).ok()?..], None, false),
        };
        match index {
            HANDLE => self.handle = number?,
            DELIVERY_ID => self.delivery_id = number,
            MESSAGE_FORMAT => self.message_format = number,
            SETTLED => self.settled = flag,
            MORE => self.more = flag,
            ABORTED => self.aborted = flag,
            _ => {}
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::performatives::Transfer as Full;
    use proptest::prelude::*;

    use super::*;

    fn frame(performative: &[u8], payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(performative.len() + payload.len() + 8).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 1], performative, payload].concat()
    }

    fn full(handle: u32, delivery_id: Option<u32>, flags: [bool; 3]) -> Full {
        Full {
            handle: handle.into(),
            delivery_id,
            delivery_tag: delivery_id.map(|id| id.to_be_bytes().to_vec().into()),
            message_format: Some(0x8001_3700),
            settled: Some(flags[0]),
            more: flags[1],
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: flags[2],
            batchable: false,
        }
    }

    proptest! {
        #[test]
        fn what_the_library_writes_is_read(handle: u32, id: Option<u32>, flags: [bool; 3], payload: Vec<u8>) {
            let performative = serde_amqp::to_vec(&full(handle, id, flags)).unwrap();
            let frame = frame(&performative, &payload);
            prop_assert!(Transfer::is(&frame));
            let [settled, more, aborted] = flags;
            let message_format = Some(0x8001_3700);
            let payload = 8 + performative.len();
            let expected = Transfer { handle, delivery_id: id, message_format, settled, more, aborted, payload };
            prop_assert_eq!(Transfer::read(&frame), Some(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Transfer::read(&frame(&[&[0x00, 0x53, 0x14], &body[..]].concat(), &[]));
        }
    }

    #[test]
    fn a_transfer_without_a_handle_is_malformed() {
        for performative in [&[0x00, 0x53, 0x14, 0x45][..], &[0x00, 0x53, 0x14, 0xc0, 2, 1, 0x40]] {
            assert_eq!(Transfer::read(&frame(performative, &[])), None);
        }
    }
}
