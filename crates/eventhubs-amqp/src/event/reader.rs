//! Reads encoded AMQP values by hand, without copying their bytes.
//!
//! Tests: below, and `tap/tests.rs` against the AMQP library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use eventhubs_amqp_frames::be_number;
use eventhubs_types::Value;

/// Reads values that [`value_length`](eventhubs_amqp_frames::value_length) has accepted, without copying
/// their bytes; `None` where it would not.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn at(bytes: &'a Bytes, at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) fn value(&mut self) -> Option<Value> {
        let code = self.byte()?;
        if code == 0 {
            let (descriptor, value) = (Box::new(self.value()?), Box::new(self.value()?));
            return Some(Value::Described { descriptor, value });
        }
        self.content(code)
    }

    /// The number of values in the list or map that begins here; they follow.
    pub(crate) fn enter(&mut self) -> Option<usize> {
        match self.byte()? {
            0x45 => Some(0),
            code => Some(self.head(code)?.1),
        }
    }

    fn content(&mut self, code: u8) -> Option<Value> {
        Some(match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x43 => Value::U32(0),
            0x44 => Value::U64(0),
            0x45 => Value::List(Vec::new()),
            0x50 => Value::U8(self.byte()?),
            0x51 => Value::I8(i8::from_be_bytes(self.array()?)),
            0x52 => Value::U32(self.byte()?.into()),
            0x53 => Value::U64(self.byte()?.into()),
            0x54 => Value::I32(i8::from_be_bytes(self.array()?).into()),
            0x55 => Value::I64(i8::from_be_bytes(self.array()?).into()),
            0x56 => Value::Bool(self.byte()? == 1),
            0x60 => Value::U16(u16::from_be_bytes(self.array()?)),
            0x61 => Value::I16(i16::from_be_bytes(self.array()?)),
            0x70 => Value::U32(u32::from_be_bytes(self.array()?)),
            0x71 => Value::I32(i32::from_be_bytes(self.array()?)),
            0x72 => Value::F32(f32::from_be_bytes(self.array()?)),
            0x73 => Value::Char(char::from_u32(u32::from_be_bytes(self.array()?))?),
            0x74 => Value::Decimal32(self.array()?),
            0x80 => Value::U64(u64::from_be_bytes(self.array()?)),
            0x81 => Value::I64(i64::from_be_bytes(self.array()?)),
            0x82 => Value::F64(f64::from_be_bytes(self.array()?)),
            0x83 => {
                let millis = i64::from_be_bytes(self.array()?);
                from_millis(millis).map_or(Value::I64(millis), Value::Timestamp)
            }
            0x84 => Value::Decimal64(self.array()?),
            0x94 => Value::Decimal128(self.array()?),
            0x98 => Value::Uuid(self.array()?),
            0xa0 | 0xb0 => Value::Binary(self.binary(code)?),
            0xa1 | 0xb1 => Value::String(self.text(code)?.to_owned()),
            0xa3 | 0xb3 => Value::Symbol(self.text(code)?.to_owned()),
            0xc0.. => return self.collection(code),
            _ => return None,
        })
    }

    fn collection(&mut self, code: u8) -> Option<Value> {
        let (end, count) = self.head(code)?;
        let read = match code {
            0xc0 | 0xd0 => Value::List((0..count).map(|_| self.value()).collect::<Option<_>>()?),
            0xc1 | 0xd1 => {
                let pairs = (0..count / 2).map(|_| Some((self.value()?, self.value()?)));
                Value::Map(pairs.collect::<Option<_>>()?)
            }
            0xe0 | 0xf0 if count == 0 => Value::Array(Vec::new()),
            0xe0 | 0xf0 => {
                let element = self.byte()?;
                let elements = (0..count).map(|_| self.content(element));
                Value::Array(elements.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        self.at = end;
        Some(read)
    }

    /// Where a collection ends, and its count.
    fn head(&mut self, code: u8) -> Option<(usize, usize)> {
        let width = if matches!(code, 0xc0 | 0xc1 | 0xe0) { 1 } else { 4 };
        let size = be_number(self.rest(), width).ok()?;
        self.at += width;
        let end = self.at + size;
        let count = be_number(self.rest(), width).ok()?;
        self.at += width;
        Some((end, count))
    }

    /// The bytes of a binary, string or symbol.
    pub(crate) fn binary(&mut self, code: u8) -> Option<Bytes> {
        let width = if code < 0xb0 { 1 } else { 4 };
        let length = be_number(self.rest(), width).ok()?;
        let start = self.at + width;
        self.at = start + length;
        (self.at <= self.bytes.len()).then(|| self.bytes.slice(start..self.at))
    }

    /// The number that is here if it has this code and eight bytes; nothing is read otherwise.
    pub(crate) fn long(&self, code: u8) -> Option<i64> {
        let (first, number) = self.rest().split_first()?;
        (*first == code).then_some(i64::from_be_bytes(*number.first_chunk()?))
    }

    /// The string or symbol that is here; nothing is read if it is something else.
    pub(crate) fn str(&mut self) -> Option<&'a str> {
        let code = *self.rest().first().filter(|code| matches!(code, 0xa1 | 0xa3 | 0xb1 | 0xb3))?;
        self.at += 1;
        self.text(code)
    }

    fn text(&mut self, code: u8) -> Option<&'a str> {
        let width = if code < 0xb0 { 1 } else { 4 };
        let length = be_number(self.rest(), width).ok()?;
        let text = self.rest().get(width..width + length)?;
        self.at += width + length;
        str::from_utf8(text).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.rest().first_chunk().copied()?;
        self.at += N;
        Some(array)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Continues after a value that is not read.
    pub(crate) fn pass_over(&mut self, length: usize) {
        self.at += length;
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

/// The time this many milliseconds after 1970, or before it.
pub(crate) fn from_millis(millis: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use eventhubs_amqp_frames::value_length;
    use proptest::prelude::*;

    use super::*;

    /// Bytes with many format codes in them, so that structure arises by chance.
    fn encoded() -> impl Strategy<Value = Vec<u8>> {
        let codes = [0x00, 0x40, 0x45, 0x53, 0x56, 0xa0, 0xa1, 0xb0, 0xc0, 0xc1, 0xd0, 0xe0, 0xf0];
        let byte = prop_oneof![3 => prop::sample::select(codes.to_vec()), 3 => 0_u8..8, 1 => any::<u8>()];
        prop::collection::vec(byte, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_sound_can_be_read_to_its_end(bytes in encoded()) {
            if let Ok(length) = value_length::<true>(&bytes) {
                let bytes = Bytes::from(bytes);
                let mut reader = Reader::at(&bytes, 0);
                prop_assert!(reader.value().is_some());
                prop_assert_eq!(reader.at, length);
            }
        }
    }
}
