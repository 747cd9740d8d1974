//! Checks the frames of the peer before anything decodes them (amqp-crate §4: frames of size 4 to 7, nesting, lengths).

use std::collections::HashMap;
use std::time::Duration;

use crate::scan::{Refused, Walk};

/// The largest frame we offer to take, in bytes.
pub(crate) const MAX_FRAME_SIZE: u32 = 64 * 1024;

/// The largest message we take, in bytes: the service takes up to 20 MiB of its producers.
const MAX_MESSAGE_SIZE: u64 = 20 * 1024 * 1024 + 64 * 1024;

/// Deliveries of several frames that may be unfinished at the same time: one for each link.
const MAX_UNFINISHED: usize = 4_096;

const HEADER_LEN: usize = 8;
pub(crate) const AMQP_FRAME: u8 = 0;

pub(crate) const OPEN: u64 = 0x10;
pub(crate) const BEGIN: u64 = 0x11;
pub(crate) const ATTACH: u64 = 0x12;
pub(crate) const FLOW: u64 = 0x13;
pub(crate) const TRANSFER: u64 = 0x14;
pub(crate) const DETACH: u64 = 0x16;
pub(crate) const END: u64 = 0x17;

/// Why the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the peer does not speak AMQP but {0}")]
    Protocol(&'static str),
    #[error("the peer sent a frame of {0} bytes")]
    FrameSize(u32),
    #[error("the peer sent a frame with a malformed header or performative")]
    Malformed,
    #[error("the peer sent a message of more than {MAX_MESSAGE_SIZE} bytes")]
    MessageSize,
    #[error("the peer left too many deliveries unfinished")]
    Unfinished,
    #[error("the peer sent a message that cannot be decoded safely: {0}")]
    Message(#[from] Refused),
}

/// Follows the frames of one connection.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    /// Deliveries of which more frames must come, by channel and handle.
    unfinished: HashMap<(u16, u32), Walk>,
    idle_timeout: Option<Duration>,
}

impl Inspector {
    /// Looks at a whole frame before it is decoded; what it says if it belongs to a session.
    pub(crate) fn inspect<'a>(&mut self, frame: &'a [u8]) -> Result<Option<Performative<'a>>, Violation> {
        if frame.starts_with(b"AMQP") {
            return Ok(None);
        }
        let start = usize::from(frame[4]) * 4;
        if start < HEADER_LEN || start > frame.len() {
            return Err(Violation::Malformed);
        }
        let Some(body) = frame.get(start..).filter(|body| !body.is_empty()) else {
            return Ok(None);
        };
        let performative = Performative::read(body)?;
        if frame[5] != AMQP_FRAME {
            return Ok(None);
        }
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        self.performative(channel, &performative)?;
        Ok(Some(performative))
    }

    /// The silence after which the peer would give us up, once it has said so.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    fn performative(&mut self, channel: u16, performative: &Performative<'_>) -> Result<(), Violation> {
        match performative.code {
            OPEN => {
                let millis = performative.field(4).and_then(uint).filter(|millis| *millis > 0);
                self.idle_timeout = millis.map(|millis| Duration::from_millis(millis.into()));
            }
            TRANSFER => self.transfer(channel, performative)?,
            DETACH => _ = self.unfinished.remove(&(channel, performative.handle()?)),
            END => self.unfinished.retain(|(of, _), _| *of != channel),
            _ => {}
        }
        Ok(())
    }

    fn transfer(&mut self, channel: u16, transfer: &Performative<'_>) -> Result<(), Violation> {
        let key = (channel, transfer.handle()?);
        let flag = |index| transfer.field(index).is_some_and(is_true);
        // A delivery of several frames nests across them: its walk continues where the last frame stopped.
        let mut walk = self.unfinished.remove(&key).unwrap_or_default();
        if flag(9) {
            return Ok(()); // aborted: the payload does not count
        }
        walk.values(transfer.payload)?;
        match (flag(5), walk.at_boundary()) {
            (false, true) => Ok(()),
            (false, false) => Err(Refused::BadSize.into()),
            (true, _) if walk.position() > MAX_MESSAGE_SIZE => Err(Violation::MessageSize),
            (true, _) if self.unfinished.len() == MAX_UNFINISHED => Err(Violation::Unfinished),
            (true, _) => {
                self.unfinished.insert(key, walk);
                Ok(())
            }
        }
    }
}

/// How many of the bytes, counted from the front, are whole frames.
pub(crate) fn whole_frames(bytes: &[u8]) -> Result<usize, Violation> {
    let mut whole = 0;
    while let Some(length) = frame_length(&bytes[whole..])? {
        if bytes.len() - whole < length {
            break;
        }
        whole += length;
    }
    Ok(whole)
}

/// The length of the frame, or protocol header, at the front; `None` if too little of it is there.
pub(crate) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, Violation> {
    let Some(size) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    match size {
        b"AMQP" => return Ok(Some(HEADER_LEN)),
        b"HTTP" => return Err(Violation::Protocol("HTTP")),
        // An alert or a handshake record.
        [0x15 | 0x16, 0x03, _, _] => return Err(Violation::Protocol("TLS")),
        _ => {}
    }
    let size = u32::from_be_bytes(*size);
    match usize::try_from(size) {
        Ok(length) if length >= HEADER_LEN && size <= MAX_FRAME_SIZE => Ok(Some(length)),
        _ => Err(Violation::FrameSize(size)),
    }
}

/// A described list and what follows it in the frame.
#[derive(Debug)]
pub(crate) struct Performative<'a> {
    pub(crate) code: u64,
    /// How many fields were sent.
    pub(crate) count: u32,
    /// The encoded fields.
    pub(crate) fields: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Performative<'a> {
    /// That of a whole frame, if it has one.
    pub(crate) fn of_frame(frame: &'a [u8]) -> Option<Self> {
        let body = frame.get(usize::from(*frame.get(4)?) * 4..)?;
        Self::read(body).ok()
    }

    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Violation> {
        let mut walk = Walk::default();
        let length = walk.value(body)?;
        if !walk.at_boundary() {
            return Err(Violation::Malformed);
        }
        let (performative, payload) = body.split_at(length);
        let (code, list) = match performative {
            [0x00, 0x53, code, list @ ..] => (u64::from(*code), list),
            [0x00, 0x80, code @ ..] if code.len() >= 8 => {
                let (code, list) = code.split_at(8);
                (code.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), list)
            }
            _ => return Err(Violation::Malformed),
        };
        let (count, fields) = match list {
            [0x45] => (0, &[][..]),
            [0xc0, _, count, fields @ ..] => (u32::from(*count), fields),
            [0xd0, _, _, _, _, a, b, c, d, fields @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), fields),
            _ => return Err(Violation::Malformed),
        };
        Ok(Self { code, count, fields, payload })
    }

    /// The encoded field, if the peer sent it.
    pub(crate) fn field(&self, index: usize) -> Option<&'a [u8]> {
        let mut rest = self.fields;
        for _ in 0..index {
            rest = &rest[Walk::default().value(rest).ok()?..];
        }
        let length = Walk::default().value(rest).ok()?;
        rest.get(..length).filter(|field| !field.is_empty())
    }

    /// The first field of the performatives that concern one link.
    pub(crate) fn handle(&self) -> Result<u32, Violation> {
        self.field(0).and_then(uint).ok_or(Violation::Malformed)
    }
}

pub(crate) fn uint(field: &[u8]) -> Option<u32> {
    match field {
        [0x43] => Some(0),
        [0x52, small] => Some(u32::from(*small)),
        [0x70, a, b, c, d] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

fn is_true(field: &[u8]) -> bool {
    matches!(field, [0x41] | [0x56, 0x01])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        let whole = whole_frames(bytes)?;
        let mut rest = &bytes[..whole];
        while let Some(length) = frame_length(rest)? {
            let (frame, behind) = rest.split_at(length);
            inspector.inspect(frame)?;
            rest = behind;
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

    /// Amqp-crate §4 number 2: these panic the connection task below us.
    #[test]
    fn frames_of_impossible_size_are_refused() {
        for size in [0, 4, 7, MAX_FRAME_SIZE + 1, u32::MAX] {
            let refused = inspect(&mut Inspector::default(), &size.to_be_bytes());
            assert_eq!(refused, Err(Violation::FrameSize(size)));
        }
        assert_eq!(inspect(&mut Inspector::default(), &[0, 0, 0, 8, 1, 0, 0, 0]), Err(Violation::Malformed));
        assert_eq!(inspect(&mut Inspector::default(), &[0, 0, 0, 8, 3, 0, 0, 0]), Err(Violation::Malformed));
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
