//! Frames: where one ends, and what is around its body.
//!
//! Tests: below; `performative.rs` has those of whole frames.

use std::fmt;
use std::io;

use bytes::{BufMut, BytesMut};

use crate::format::{DESCRIBED, SMALL_ULONG};
use crate::walk::Refused;

/// The length of a frame header, and of a protocol header.
pub const HEADER_LENGTH: usize = 8;

/// The type byte of a frame that belongs to AMQP itself; the other type is SASL.
pub const AMQP_FRAME: u8 = 0;

/// A frame without a body, which tells the peer that this end lives.
pub const EMPTY_FRAME: [u8; HEADER_LENGTH] = [0, 0, 0, 8, 2, AMQP_FRAME, 0, 0];

/// What a protocol header begins with, in place of the size of a frame.
const PROTOCOL: &[u8; 4] = b"AMQP";

/// Why a connection must end: its peer sent bytes that must not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The first bytes are of another protocol.
    Protocol(&'static str),
    /// A frame is shorter than its header, or longer than allowed.
    FrameSize(u32),
    /// A header or a performative is malformed.
    Malformed,
    /// Values cannot be decoded safely.
    Values(Refused),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(other) => write!(f, "the peer does not speak AMQP but {other}"),
            Self::FrameSize(size) => write!(f, "the peer sent a frame of {size} bytes"),
            Self::Malformed => f.write_str("the peer sent a frame with a malformed header or performative"),
            Self::Values(refused) => {
                write!(f, "the peer sent values that cannot be decoded safely: {refused}")
            }
        }
    }
}

impl std::error::Error for Violation {}

impl From<Refused> for Violation {
    fn from(refused: Refused) -> Self {
        Self::Values(refused)
    }
}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        Self::new(io::ErrorKind::InvalidData, violation)
    }
}

/// Returns the length of the frame, or protocol header, at the front; `None` if too little of it is there.
///
/// # Errors
/// When its size is below that of a header or above `max_frame_size`, or when the peer speaks another
/// protocol. The size is checked as soon as it is there: fe2o3-amqp panics at frames of 4 to 7 bytes before
/// the rest has come.
#[inline]
pub fn frame_length(bytes: &[u8], max_frame_size: u32) -> Result<Option<usize>, Violation> {
    let Some(size) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    match size {
        PROTOCOL => return Ok(Some(HEADER_LENGTH)),
        b"HTTP" => return Err(Violation::Protocol("HTTP")),
        // An alert or a handshake record.
        [0x15 | 0x16, 0x03, _, _] => return Err(Violation::Protocol("TLS")),
        _ => {}
    }
    let size = u32::from_be_bytes(*size);
    match usize::try_from(size) {
        Ok(length) if length >= HEADER_LENGTH && size <= max_frame_size => Ok(Some(length)),
        _ => Err(Violation::FrameSize(size)),
    }
}

/// Returns how many of the bytes, counted from the front, are whole frames.
///
/// # Errors
/// As [`frame_length`], for the first frame that is wrong.
#[inline]
pub fn whole_frames(bytes: &[u8], max_frame_size: u32) -> Result<usize, Violation> {
    let mut whole = 0;
    while let Some(length) = frame_length(&bytes[whole..], max_frame_size)? {
        if bytes.len() - whole < length {
            break;
        }
        whole += length;
    }
    Ok(whole)
}

/// Takes the first whole frame, or protocol header, out of what the AMQP library has written.
#[inline]
pub fn split_frame(written: &mut BytesMut) -> Option<BytesMut> {
    let size = written.first_chunk::<4>()?;
    let length = match size {
        PROTOCOL => HEADER_LENGTH,
        _ => usize::try_from(u32::from_be_bytes(*size)).ok()?.max(HEADER_LENGTH),
    };
    (length <= written.len()).then(|| written.split_to(length))
}

/// Returns the channel of a whole frame.
///
/// # Panics
/// When the frame is shorter than its header.
#[inline]
pub fn channel(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[6], frame[7]])
}

/// Writes a frame of AMQP: its header, the descriptor of its performative, and the list that `fields` writes.
///
/// # Panics
/// When the frame is longer than 4 GiB.
pub fn put_frame(channel: u16, descriptor: u8, out: &mut BytesMut, fields: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(&[0, 0, 0, 0, 2, AMQP_FRAME]);
    out.put_u16(channel);
    out.put_slice(&[DESCRIBED, SMALL_ULONG, descriptor]);
    fields(out);
    let size = u32::try_from(out.len() - start).expect("a performative is shorter than 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 64 * 1024;

    #[test]
    fn whole_frames_end_where_the_last_of_them_does() {
        let bytes = [b"AMQP\0\x01\0\0", &EMPTY_FRAME[..], &[0, 0, 0, 9, 2, 0, 0, 0, 0x40]].concat();
        for cut in 0..=bytes.len() {
            let expected = [25, 16, 8, 0].into_iter().find(|end| *end <= cut);
            assert_eq!(whole_frames(&bytes[..cut], MAX).ok(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn frames_of_impossible_size_are_refused_once_the_size_is_there() {
        for size in [0, 4, 7, MAX + 1, u32::MAX] {
            assert_eq!(frame_length(&size.to_be_bytes(), MAX), Err(Violation::FrameSize(size)));
            assert_eq!(frame_length(&size.to_be_bytes()[..3], MAX), Ok(None));
        }
        assert_eq!(frame_length(&MAX.to_be_bytes(), MAX), Ok(Some(MAX as usize)));
    }

    #[test]
    fn other_protocols_are_named() {
        assert_eq!(frame_length(b"HTTP/1.1 400", MAX), Err(Violation::Protocol("HTTP")));
        assert_eq!(frame_length(&[0x15, 3, 1, 0], MAX), Err(Violation::Protocol("TLS")));
    }

    #[test]
    fn frames_are_split_off_when_they_are_whole() {
        let mut written =
            BytesMut::from(&b"AMQP\x00\x01\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00\x00\x00"[..]);
        assert_eq!(split_frame(&mut written).as_deref(), Some(&b"AMQP\x00\x01\x00\x00"[..]));
        assert_eq!(split_frame(&mut written).as_deref(), Some(&EMPTY_FRAME[..]));
        assert_eq!(split_frame(&mut written), None);
        assert_eq!(written.len(), 2);
    }

    #[test]
    fn a_frame_says_how_long_it_is() {
        let mut out = BytesMut::from(&b"before"[..]);
        put_frame(0x0102, 0x17, &mut out, |out| out.put_u8(0x45));
        assert_eq!(out[6..], [0, 0, 0, 12, 2, 0, 1, 2, 0x00, 0x53, 0x17, 0x45]);
        assert_eq!(channel(&out[6..]), 0x0102);
    }
}
