//! The frames that the tap writes itself.
//!
//! Tests: below, read by the AMQP library.

use bytes::{BufMut, BytesMut};
use eventhubs_amqp_frames::descriptor::{ACCEPTED, DISPOSITION, FLOW};
use eventhubs_amqp_frames::format::{DESCRIBED, LIST0, LIST8, LIST32, SMALL_ULONG, TRUE, UINT};
use eventhubs_amqp_frames::{Performative, field, put_frame};

use super::numbers::{DeliveryId, OurChannel, OurHandle};

/// What a flow says of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionFlow {
    pub(crate) next_incoming_id: u32,
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing_id: u32,
    pub(crate) outgoing_window: u32,
}

/// What a flow says of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkFlow {
    pub(crate) handle: OurHandle,
    pub(crate) delivery_count: u32,
    pub(crate) credit: u32,
}

/// Writes a flow of the session and, if given, of one of its links.
pub(crate) fn flow(channel: OurChannel, session: SessionFlow, link: Option<LinkFlow>, out: &mut BytesMut) {
    let of_session = [
        session.next_incoming_id,
        session.incoming_window,
        session.next_outgoing_id,
        session.outgoing_window,
    ];
    let of_link = link.map(|link| [link.handle.0, link.delivery_count, link.credit]);
    let numbers = of_session.into_iter().chain(of_link.into_iter().flatten());
    // Fields at the end may be left out: those of the link, and after it `available`, `drain` and `echo`.
    let count: u8 = if link.is_some() { 7 } else { 4 };
    put_frame(channel.0, FLOW, out, |out| {
        // Each number takes five bytes; the size counts the count too.
        out.put_slice(&[LIST8, count * 5 + 1, count]);
        for number in numbers {
            uint(number, out);
        }
    });
}

/// Writes that the deliveries from `first` to `last` are accepted and settled.
pub(crate) fn accepted(channel: OurChannel, first: DeliveryId, last: DeliveryId, out: &mut BytesMut) {
    put_frame(channel.0, DISPOSITION, out, |out| {
        out.put_slice(&[LIST8, 17, 5, TRUE]);
        uint(first.0, out);
        uint(last.0, out);
        out.put_slice(&[TRUE, DESCRIBED, SMALL_ULONG, ACCEPTED, LIST0]);
    });
}

/// Writes a flow of the library's with the number of transfers that really came.
pub(crate) fn corrected(
    channel: OurChannel,
    flow: &Performative<'_>,
    next_incoming_id: u32,
    out: &mut BytesMut,
) {
    let first = flow.field(field::flow::NEXT_INCOMING_ID).map_or(0, <[u8]>::len);
    let rest = &flow.fields[first..];
    put_frame(channel.0, FLOW, out, |out| {
        out.put_u8(LIST32);
        out.put_u32(length(rest.len() + 9));
        out.put_u32(flow.count.max(1));
        uint(next_incoming_id, out);
        out.put_slice(rest);
    });
}

fn uint(number: u32, out: &mut BytesMut) {
    out.put_u8(UINT);
    out.put_u32(number);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a flow is as short as the one of the library")
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::definitions::Role;
    use fe2o3_amqp_types::messaging::DeliveryState;
    use fe2o3_amqp_types::performatives::{Disposition, Flow};

    use super::*;

    const CHANNEL: OurChannel = OurChannel(0x0102);

    const SESSION: SessionFlow = SessionFlow {
        next_incoming_id: u32::MAX,
        incoming_window: 2_048,
        next_outgoing_id: 7,
        outgoing_window: 9,
    };

    fn written(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        write(&mut out);
        let size = u32::from_be_bytes(*out.first_chunk().unwrap());
        assert_eq!(size as usize, out.len());
        assert_eq!(out[4..8], [2, 0, 1, 2]);
        out.split_off(8)
    }

    #[test]
    fn flows_are_read_by_the_library_as_they_were_meant() {
        let link = LinkFlow { handle: OurHandle(3), delivery_count: 1_000, credit: 300 };
        for link in [None, Some(link)] {
            let body = written(|out| flow(CHANNEL, SESSION, link, out));
            let read: Flow = serde_amqp::from_slice(&body).unwrap();
            assert_eq!(read.next_incoming_id, Some(u32::MAX));
            assert_eq!((read.incoming_window, read.next_outgoing_id), (2_048, 7));
            assert_eq!(read.outgoing_window, 9);
            assert_eq!(read.handle.map(u32::from), link.map(|link| link.handle.0));
            assert_eq!(read.delivery_count, link.map(|link| link.delivery_count));
            assert_eq!(read.link_credit, link.map(|link| link.credit));
            assert!(!read.drain && !read.echo);
        }
    }

    #[test]
    fn a_disposition_covers_its_range() {
        let body = written(|out| accepted(CHANNEL, DeliveryId(5), DeliveryId(9), out));
        let read: Disposition = serde_amqp::from_slice(&body).unwrap();
        assert_eq!((read.role, read.first, read.last), (Role::Receiver, 5, Some(9)));
        assert!(read.settled);
        assert!(matches!(read.state, Some(DeliveryState::Accepted(_))));
    }

    #[test]
    fn a_flow_of_the_library_keeps_all_but_the_number_of_transfers() {
        let ours = Flow {
            next_incoming_id: Some(4),
            incoming_window: 5_000,
            next_outgoing_id: 70_000,
            outgoing_window: 1,
            handle: Some(8.into()),
            delivery_count: Some(2),
            link_credit: Some(5),
            available: None,
            drain: true,
            echo: true,
            properties: None,
        };
        let bytes = serde_amqp::to_vec(&ours).unwrap();
        let performative = Performative::read(&bytes).unwrap();
        let body = written(|out| corrected(CHANNEL, &performative, 99_999, out));
        let read: Flow = serde_amqp::from_slice(&body).unwrap();
        let expected = Flow { next_incoming_id: Some(99_999), ..ours };
        assert_eq!(format!("{read:?}"), format!("{expected:?}"));
    }
}
