//! Checks the frames of the peer before the AMQP library decodes them.
//!
//! Tests: below. The fuzz targets `library` and `stream` look for bytes that get past it.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use eventhubs_amqp_frames::descriptor::{DETACH, END, OPEN, TRANSFER};
use eventhubs_amqp_frames::{AMQP_FRAME, Performative, Refused, Walk, channel, field, is_true, uint};

use super::numbers::{PeerChannel, PeerHandle};

/// The largest frame we offer to take, in bytes.
pub(crate) const MAX_FRAME_SIZE: u32 = 64 * 1024;

/// The largest message that may reach the library, in bytes: the service takes up to 20 MiB of its producers,
/// and adds some annotations. One that is longer ends the connection, since the library collects all of it
/// before it looks at it.
const MAX_PASSED_MESSAGE: u64 = 20 * 1024 * 1024 + 64 * 1024;

/// Deliveries of several frames that may be unfinished at the same time: one for each link.
const MAX_UNFINISHED: usize = 4_096;

/// Why the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error(transparent)]
    Frame(#[from] eventhubs_amqp_frames::Violation),
    #[error("the peer sent a message of more than {MAX_PASSED_MESSAGE} bytes")]
    MessageSize,
    #[error("the peer left too many deliveries unfinished")]
    Unfinished,
    #[error("the peer sent a message that cannot be decoded safely: {0}")]
    Message(#[from] Refused),
}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        Self::new(io::ErrorKind::InvalidData, violation)
    }
}

/// Follows the frames of one connection.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    /// Deliveries of which more frames must come.
    unfinished: HashMap<(PeerChannel, PeerHandle), Walk>,
    idle_timeout: Option<Duration>,
}

impl Inspector {
    /// Looks at a whole frame before it is decoded; what it says if it belongs to AMQP itself.
    pub(crate) fn inspect<'a>(&mut self, frame: &'a [u8]) -> Result<Option<Performative<'a>>, Violation> {
        let Some(performative) = Performative::of_frame(frame)?.filter(|_| frame[5] == AMQP_FRAME) else {
            return Ok(None);
        };
        self.performative(PeerChannel(channel(frame)), &performative)?;
        Ok(Some(performative))
    }

    /// The silence after which the peer would give us up, once it has said so.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    fn performative(
        &mut self,
        channel: PeerChannel,
        performative: &Performative<'_>,
    ) -> Result<(), Violation> {
        match performative.descriptor {
            OPEN => {
                let millis = performative.field(field::open::IDLE_TIME_OUT).and_then(uint);
                let millis = millis.filter(|millis| *millis > 0);
                self.idle_timeout = millis.map(|millis| Duration::from_millis(millis.into()));
            }
            TRANSFER => self.transfer(channel, performative)?,
            DETACH => _ = self.unfinished.remove(&(channel, PeerHandle(performative.handle()?))),
            END => self.unfinished.retain(|(of, _), _| *of != channel),
            _ => {}
        }
        Ok(())
    }

    fn transfer(&mut self, channel: PeerChannel, transfer: &Performative<'_>) -> Result<(), Violation> {
        let key = (channel, PeerHandle(transfer.handle()?));
        let flag = |index| transfer.field(index).is_some_and(is_true);
        // The values of a delivery may nest across its frames, so its walk continues where the last frame
        // ended.
        let mut walk = self.unfinished.remove(&key).unwrap_or_default();
        if flag(field::transfer::ABORTED) {
            return Ok(()); // its payload does not count
        }
        walk.values(transfer.payload)?;
        match (flag(field::transfer::MORE), walk.at_boundary()) {
            (false, true) => Ok(()),
            (false, false) => Err(Refused::BadSize.into()),
            (true, _) if walk.position() > MAX_PASSED_MESSAGE => Err(Violation::MessageSize),
            (true, _) if self.unfinished.len() == MAX_UNFINISHED => Err(Violation::Unfinished),
            (true, _) => {
                self.unfinished.insert(key, walk);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_amqp_frames::{Violation as Frame, frame_length, whole_frames};
    use proptest::prelude::*;

    use super::*;
    use crate::tap::MAX_FRAME_SIZE;

    fn frame(channel: u8, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, channel], body].concat()
    }

    /// A transfer on handle 3: delivery id, tag and format null, not settled.
    fn transfer(channel: u8, more: bool, payload: &[u8]) -> Vec<u8> {
        let more = if more { 0x41 } else { 0x42 };
        frame(
            channel,
            &[&[0x00, 0x53, 0x14, 0xc0, 8, 6, 0x52, 3, 0x40, 0x40, 0x40, 0x42, more], payload].concat(),
        )
    }

    /// Inspects all whole frames and says how long they are.
    fn inspect(inspector: &mut Inspector, bytes: &[u8]) -> Result<usize, Violation> {
        let whole = whole_frames(bytes, MAX_FRAME_SIZE)?;
        let mut rest = &bytes[..whole];
        while let Some(length) = frame_length(rest, MAX_FRAME_SIZE)? {
            let (frame, after) = rest.split_at(length);
            inspector.inspect(frame)?;
            rest = after;
        }
        Ok(whole)
    }

    const DATA: &[u8] = &[0x00, 0x53, 0x75, 0xa0, 0x05, b'h', b'e', b'l', b'l', b'o'];

    #[test]
    fn whole_frames_pass_and_a_partial_one_waits() {
        let bytes = [b"AMQP\0\x01\0\0".to_vec(), frame(0, &[]), transfer(0, false, DATA)].concat();
        for cut in 0..=bytes.len() {
            let expected = [bytes.len(), 16, 8, 0].into_iter().find(|end| *end <= cut).unwrap();
            assert_eq!(inspect(&mut Inspector::default(), &bytes[..cut]), Ok(expected), "cut at {cut}");
        }
    }

    /// These panic the connection task of the library (docs/amqp-crate.md §4 no. 2).
    #[test]
    fn frames_of_impossible_size_are_refused() {
        for size in [0, 4, 7, MAX_FRAME_SIZE + 1, u32::MAX] {
            let refused = inspect(&mut Inspector::default(), &size.to_be_bytes());
            assert_eq!(refused, Err(Violation::Frame(Frame::FrameSize(size))));
        }
        assert_eq!(
            inspect(&mut Inspector::default(), &[0, 0, 0, 8, 1, 0, 0, 0]),
            Err(Violation::Frame(Frame::Malformed))
        );
        assert_eq!(
            inspect(&mut Inspector::default(), &[0, 0, 0, 8, 3, 0, 0, 0]),
            Err(Violation::Frame(Frame::Malformed))
        );
    }

    #[test]
    fn a_delivery_is_checked_across_its_frames() {
        let (head, tail) = DATA.split_at(6);
        let bytes = [transfer(0, true, head), transfer(1, false, DATA), transfer(0, false, tail)].concat();
        assert_eq!(inspect(&mut Inspector::default(), &bytes), Ok(bytes.len()));
        let torn = [transfer(0, true, head), transfer(0, false, &tail[1..])].concat();
        assert_eq!(inspect(&mut Inspector::default(), &torn), Err(Refused::BadSize.into()));
    }

    #[test]
    fn nesting_spread_over_frames_is_refused() {
        let mut inspector = Inspector::default();
        let level = [0xd0, 0, 1, 0, 0, 0, 0, 0, 1];
        let result: Result<Vec<_>, _> =
            (0..40).map(|_| inspect(&mut inspector, &transfer(0, true, &level))).collect();
        assert_eq!(result, Err(Refused::TooDeep.into()));
    }

    #[test]
    fn a_message_that_never_ends_is_refused() {
        let mut inspector = Inspector::default();
        let mut piece = vec![0; 60_000];
        piece[..8].copy_from_slice(&[0x00, 0x53, 0x75, 0xb0, 0x7f, 0xff, 0xff, 0xff]);
        let refused = (0..400).find_map(|_| inspector.inspect(&transfer(0, true, &piece)).err());
        assert_eq!(refused, Some(Violation::MessageSize));
    }

    #[test]
    fn a_link_that_ends_takes_its_unfinished_delivery_with_it() {
        let detach = frame(0, &[0x00, 0x53, 0x16, 0xc0, 3, 1, 0x52, 3]);
        let end = frame(0, &[0x00, 0x53, 0x17, 0x45]);
        for over in [detach, end] {
            let bytes = [transfer(0, true, &DATA[..6]), over, transfer(0, false, DATA)].concat();
            assert_eq!(inspect(&mut Inspector::default(), &bytes), Ok(bytes.len()));
        }
    }

    #[test]
    fn the_idle_time_out_of_the_peer_is_learnt_from_its_open() {
        let open = [0x00, 0x53, 0x10, 0xc0, 12, 5, 0xa1, 1, b'x', 0x40, 0x40, 0x40, 0x70, 0, 3, 0xa9, 0x80];
        let mut inspector = Inspector::default();
        assert_eq!(inspect(&mut inspector, &frame(0, &open)), Ok(open.len() + 8));
        assert_eq!(inspector.idle_timeout(), Some(Duration::from_secs(240)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), channel in 0_u8..3) {
            let _ = inspect(&mut Inspector::default(), &bytes);
            let _ = inspect(&mut Inspector::default(), &frame(channel, &bytes));
            let _ = inspect(&mut Inspector::default(), &transfer(channel, false, &bytes));
        }
    }
}
