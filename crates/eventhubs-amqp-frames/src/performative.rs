//! Performatives: the described list of a frame, and its fields by index.
//!
//! Tests: below; `eventhubs-amqp` reads every frame of its peers with it.

use crate::format::{
    BOOLEAN, DESCRIBED, LIST0, LIST8, LIST32, SMALL_UINT, SMALL_ULONG, STRING8, STRING32, SYMBOL8, SYMBOL32,
    TRUE, UINT, UINT0, ULONG, USHORT,
};
use crate::frame::{HEADER_LENGTH, Violation};
use crate::walk::Walk;

/// A described list, checked to be safe to decode, and what follows it in its frame.
#[derive(Debug, Clone, Copy)]
pub struct Performative<'a> {
    /// The descriptor, one of those in [`descriptor`](crate::descriptor) in a frame of AMQP.
    pub descriptor: u8,
    /// How many fields were sent: those at the end may be left out.
    pub count: u32,
    /// The encoded fields.
    pub fields: &'a [u8],
    /// What follows the list: a part of a message after a transfer.
    pub payload: &'a [u8],
}

impl<'a> Performative<'a> {
    /// Reads the performative of a whole frame of any type; `None` for an empty frame and a protocol header.
    ///
    /// # Errors
    /// When the header or the performative is malformed or not safe to decode.
    ///
    /// # Panics
    /// When the frame is shorter than its header.
    pub fn of_frame(frame: &'a [u8]) -> Result<Option<Self>, Violation> {
        if frame.starts_with(b"AMQP") {
            return Ok(None);
        }
        let start = usize::from(frame[4]) * 4;
        match frame.get(start..) {
            Some(_) if start < HEADER_LENGTH => Err(Violation::Malformed),
            Some([]) => Ok(None),
            Some(body) => Self::read(body).map(Some),
            None => Err(Violation::Malformed),
        }
    }

    /// Reads the described list that the body of a frame begins with, or that a field is.
    ///
    /// # Errors
    /// When it is malformed or not safe to decode.
    pub fn read(body: &'a [u8]) -> Result<Self, Violation> {
        let mut walk = Walk::default();
        let length = walk.value(body)?;
        if !walk.at_boundary() {
            return Err(Violation::Malformed);
        }
        let (performative, payload) = body.split_at(length);
        let (descriptor, list) = match performative {
            [DESCRIBED, SMALL_ULONG, descriptor, list @ ..]
            | [DESCRIBED, ULONG, 0, 0, 0, 0, 0, 0, 0, descriptor, list @ ..] => (*descriptor, list),
            _ => return Err(Violation::Malformed),
        };
        let (count, fields) = match list {
            [LIST0] => (0, &[][..]),
            [LIST8, _, count, fields @ ..] => (u32::from(*count), fields),
            [LIST32, _, _, _, _, a, b, c, d, fields @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), fields),
            _ => return Err(Violation::Malformed),
        };
        Ok(Self { descriptor, count, fields, payload })
    }

    /// Returns an encoded field by its index, one of those in [`field`](crate::field); `None` if it was left
    /// out.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        let mut rest = self.fields;
        for _ in 0..index {
            rest = &rest[Walk::default().value(rest).ok()?..];
        }
        let length = Walk::default().value(rest).ok()?;
        rest.get(..length).filter(|field| !field.is_empty())
    }

    /// Returns the handle of a transfer or detach, which is its first field.
    ///
    /// # Errors
    /// When there is none.
    pub fn handle(&self) -> Result<u32, Violation> {
        self.field(0).and_then(uint).ok_or(Violation::Malformed)
    }
}

/// Reads a field that is a uint.
#[inline]
pub fn uint(field: &[u8]) -> Option<u32> {
    match field {
        [UINT0] => Some(0),
        [SMALL_UINT, small] => Some(u32::from(*small)),
        [UINT, a, b, c, d] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// Reads a field that is a ushort.
#[inline]
pub fn ushort(field: &[u8]) -> Option<u16> {
    match field {
        [USHORT, a, b] => Some(u16::from_be_bytes([*a, *b])),
        _ => None,
    }
}

/// Returns whether a field is the boolean true; a field that was left out, or of another type, is not.
#[inline]
pub fn is_true(field: &[u8]) -> bool {
    matches!(field, [TRUE] | [BOOLEAN, 1])
}

/// Reads a field that is a string.
#[inline]
pub fn string(field: &[u8]) -> Option<&str> {
    match field {
        [STRING8, _, text @ ..] | [STRING32, _, _, _, _, text @ ..] => str::from_utf8(text).ok(),
        _ => None,
    }
}

/// Reads a field that is a symbol.
#[inline]
pub fn symbol(field: &[u8]) -> Option<&str> {
    match field {
        [SYMBOL8, _, text @ ..] | [SYMBOL32, _, _, _, _, text @ ..] => str::from_utf8(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::definitions::{self, LinkError};
    use fe2o3_amqp_types::performatives::{Begin, Detach};
    use proptest::prelude::*;

    use super::*;
    use crate::descriptor::{BEGIN, DETACH, OPEN};
    use crate::field;

    fn frame(body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 1], body].concat()
    }

    #[test]
    fn fields_of_the_library_are_read_by_index() {
        let begin = Begin {
            remote_channel: Some(7),
            next_outgoing_id: u32::MAX,
            incoming_window: 2_048,
            outgoing_window: 0,
            handle_max: 1.into(),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        let body = [serde_amqp::to_vec(&begin).unwrap(), b"payload".to_vec()].concat();
        let begin = Performative::read(&body).unwrap();
        assert_eq!((begin.descriptor, begin.payload), (BEGIN, &b"payload"[..]));
        assert_eq!(begin.field(field::begin::REMOTE_CHANNEL).and_then(ushort), Some(7));
        let number = |index| begin.field(index).and_then(uint);
        assert_eq!(number(field::begin::NEXT_OUTGOING_ID), Some(u32::MAX));
        assert_eq!(number(field::begin::INCOMING_WINDOW), Some(2_048));
        assert_eq!(number(field::begin::OUTGOING_WINDOW), Some(0));
        assert_eq!(begin.field(9), None);
    }

    #[test]
    fn an_error_is_read_like_a_performative() {
        let error = definitions::Error::new(LinkError::Stolen, Some("by reader-2".to_owned()), None);
        let detach = Detach { handle: 3.into(), closed: true, error: Some(error) };
        let body = serde_amqp::to_vec(&detach).unwrap();
        let detach = Performative::read(&body).unwrap();
        assert_eq!((detach.descriptor, detach.handle()), (DETACH, Ok(3)));
        assert!(is_true(detach.field(1).unwrap()));
        let error = Performative::read(detach.field(field::detach::ERROR).unwrap()).unwrap();
        assert_eq!(error.field(field::error::CONDITION).and_then(symbol), Some("amqp:link:stolen"));
        assert_eq!(error.field(field::error::DESCRIPTION).and_then(string), Some("by reader-2"));
    }

    #[test]
    fn frames_without_a_performative_have_none_and_bad_headers_are_refused() {
        for none in [&b"AMQP\0\x01\0\0"[..], &[0, 0, 0, 8, 2, 0, 0, 0]] {
            assert!(matches!(Performative::of_frame(none), Ok(None)));
        }
        for data_offset in [1, 3] {
            let frame = [0, 0, 0, 8, data_offset, 0, 0, 0];
            let refused = Performative::of_frame(&frame);
            assert!(matches!(refused, Err(Violation::Malformed)), "{data_offset}");
        }
        let unknown = frame(&[0x00, 0x80, 1, 0, 0, 0, 0, 0, 0, 0x10, 0x45]);
        assert!(Performative::of_frame(&unknown).is_err(), "no performative has such a descriptor");
        let wide = frame(&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x45]);
        assert_eq!(Performative::of_frame(&wide).unwrap().map(|open| open.descriptor), Some(OPEN));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let framed = frame(&bytes);
            for performative in [Performative::read(&bytes).ok(), Performative::of_frame(&framed).ok().flatten()] {
                for index in 0..12 {
                    let field = performative.and_then(|performative| performative.field(index));
                    let _ = field.map(|field| (uint(field), ushort(field), string(field), symbol(field)));
                }
            }
        }
    }
}
