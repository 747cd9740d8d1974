//! Keeps messages away from the AMQP library, which decodes them whole and by recursion: it gets the payload of each transfer as
//! a data section.

use bytes::{BufMut, BytesMut};
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp_types::messaging::{Batch, Data};

use crate::encoded;

/// How much longer a payload becomes.
pub(crate) const ENVELOPE: u32 = 8;
const DATA_DESCRIPTOR: [u8; 3] = [0x00, 0x53, 0x75];
const BINARY32: u8 = 0xb0;
const TRANSFER: u8 = 0x14;

/// Writes a frame that came in, with its payload in an envelope if it is a transfer.
pub(crate) fn put_incoming(frame: &[u8], out: &mut BytesMut) {
    match payload_start(frame) {
        Some(start) => {
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a frame is below 4 GiB");
            let payload = &frame[start..];
            out.reserve(frame.len() + ENVELOPE as usize);
            out.put_u32(length(frame) + ENVELOPE);
            out.put_slice(&frame[4..start]);
            out.put_slice(&DATA_DESCRIPTOR);
            out.put_u8(BINARY32);
            out.put_u32(length(payload));
            out.put_slice(payload);
        }
        None => out.put_slice(frame),
    }
}

fn payload_start(frame: &[u8]) -> Option<usize> {
    let [_, _, _, _, data_offset, 0, ..] = *frame else { return None };
    let body = frame.get(usize::from(data_offset) * 4..)?;
    let (performative, payload) = encoded::split_value(body)?;
    let (TRANSFER, _) = encoded::describes(performative)? else { return None };
    Some(frame.len() - payload.len())
}

/// The bytes that a client sent as one message.
pub(crate) fn open(delivery: Delivery<Batch<Data>>) -> (DeliveryInfo, Vec<u8>) {
    let (info, message) = delivery.into_parts();
    let mut sections: Vec<Vec<u8>> = message.body.into_iter().map(|Data(bytes)| bytes.into_vec()).collect();
    let bytes = if sections.len() == 1 { sections.swap_remove(0) } else { sections.concat() };
    (info, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_a_transfer_becomes_a_data_section() {
        let transfer =
            b"\x00\x00\x00\x16\x02\x00\x00\x01\x00\x53\x14\xc0\x06\x03\x43\x43\xa0\x01txyz".as_slice();
        let mut out = BytesMut::new();
        put_incoming(transfer, &mut out);
        let expected = [
            b"\x00\x00\x00\x1e".as_slice(),
            &transfer[4..transfer.len() - 3],
            b"\x00\x53\x75\xb0\x00\x00\x00\x03xyz",
        ]
        .concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn everything_else_comes_in_as_it_is() {
        for frame in [
            b"AMQP\x00\x01\x00\x00".as_slice(),
            b"\x00\x00\x00\x08\x02\x00\x00\x00",
            b"\x00\x00\x00\x0c\x02\x01\x00\x00\x00\x53\x14\x45",
            b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x18\x45",
            b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x14\xc0",
        ] {
            let mut out = BytesMut::new();
            put_incoming(frame, &mut out);
            assert_eq!(out, frame);
        }
    }
}
