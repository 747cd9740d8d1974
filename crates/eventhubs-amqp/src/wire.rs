//! Encoded AMQP values, walked and read by hand: as strict as [`Walk`](crate::scan::Walk) and more, but over bytes that
//! are all there, and so many times faster.

use bytes::Bytes;
use eventhubs_types::Value;

use crate::scan::{MAX_DEPTH, MAX_ELEMENTS, Refused};
use crate::value::from_millis;

/// The length of the encoded value at the front, which is safe and possible to read.
///
/// Recursion is safe, here and below: it ends at [`MAX_DEPTH`].
pub(crate) fn skip(bytes: &[u8]) -> Result<usize, Refused> {
    value::<true>(bytes, MAX_DEPTH)
}

/// The same of a section of a message; unless it must be `SOUND`, the length that it declares, whatever is in it.
pub(crate) fn section<const SOUND: bool>(bytes: &[u8]) -> Result<usize, Refused> {
    value::<SOUND>(bytes, MAX_DEPTH)
}

/// The same of a key or value in the map that is a section.
pub(crate) fn element<const SOUND: bool>(bytes: &[u8]) -> Result<usize, Refused> {
    value::<SOUND>(bytes, MAX_DEPTH - 1)
}

/// What the head of a map says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Map {
    /// The length of the head: the first key follows.
    pub(crate) header: usize,
    /// How many keys and values there are.
    pub(crate) count: usize,
    /// The length of the whole.
    pub(crate) length: usize,
}

impl Map {
    /// Reads the head at the front.
    pub(crate) fn read<const SOUND: bool>(bytes: &[u8]) -> Result<Self, Refused> {
        let (code, rest) = bytes.split_first().ok_or(Refused::BadSize)?;
        let width = if *code == 0xc1 { 1 } else { 4 };
        let length = 1 + width + number(rest, width)?;
        let header = 1 + 2 * width;
        let count = number(&rest[width..], width)?;
        if length < header || length > bytes.len() {
            return Err(Refused::BadSize);
        }
        if SOUND && count > MAX_ELEMENTS as usize {
            return Err(Refused::TooMany);
        }
        if SOUND && count % 2 == 1 {
            return Err(Refused::BadSize);
        }
        Ok(Self { header, count, length })
    }
}

#[inline]
fn value<const SOUND: bool>(bytes: &[u8], depth: usize) -> Result<usize, Refused> {
    match bytes {
        // What is in every event: the names, numbers and times of its annotations.
        [0xa1 | 0xa3, length, rest @ ..] => {
            let text = rest.get(..usize::from(*length)).ok_or(Refused::BadSize)?;
            if SOUND && !is_text(text) { Err(Refused::Impossible) } else { Ok(2 + text.len()) }
        }
        [0x81 | 0x83, _, _, _, _, _, _, _, _, ..] => Ok(9),
        _ => any_value::<SOUND>(bytes, depth),
    }
}

fn any_value<const SOUND: bool>(bytes: &[u8], depth: usize) -> Result<usize, Refused> {
    let (code, rest) = bytes.split_first().ok_or(Refused::BadSize)?;
    if *code == 0 {
        let depth = depth.checked_sub(1).ok_or(Refused::TooDeep)?;
        let descriptor = value::<SOUND>(rest, depth)?;
        return Ok(1 + descriptor + value::<SOUND>(&rest[descriptor..], depth)?);
    }
    Ok(1 + content::<SOUND>(*code, rest, depth)?)
}

/// The length of what follows the format code.
fn content<const SOUND: bool>(code: u8, bytes: &[u8], depth: usize) -> Result<usize, Refused> {
    if SOUND && !is_known(code) {
        return Err(Refused::UnknownCode);
    }
    let (start, length) = match code >> 4 {
        0x4 => (0, 0),
        fixed @ 0x5..=0x9 => (0, 1 << (fixed - 5)),
        0xa => (1, number(bytes, 1)?),
        0xb => (4, number(bytes, 4)?),
        0xc | 0xe => return collection::<SOUND>(code, bytes, 1, depth),
        0xd | 0xf => return collection::<SOUND>(code, bytes, 4, depth),
        _ => return Err(Refused::UnknownCode),
    };
    let content = bytes.get(start..start + length).ok_or(Refused::BadSize)?;
    if SOUND && !is_possible(code, content) {
        return Err(Refused::Impossible);
    }
    Ok(start + length)
}

/// Whether AMQP 1.0 (part 1, §1.6) gives the format code a meaning.
fn is_known(code: u8) -> bool {
    matches!(code, 0x40..=0x45 | 0x50..=0x56 | 0x60 | 0x61 | 0x70..=0x74 | 0x80..=0x84 | 0x94 | 0x98)
        || matches!(code, 0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 | 0xc0 | 0xc1 | 0xd0 | 0xd1 | 0xe0 | 0xf0)
}

/// Whether the content is one that a value of this code can have.
fn is_possible(code: u8, content: &[u8]) -> bool {
    match (code, content) {
        (0xa1 | 0xa3 | 0xb1 | 0xb3, text) => is_text(text),
        (0x56, flag) => matches!(flag, [0 | 1]),
        (0x73, [a, b, c, d]) => char::from_u32(u32::from_be_bytes([*a, *b, *c, *d])).is_some(),
        _ => true,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || str::from_utf8(bytes).is_ok()
}

/// A list, map or array whose size and count are `width` bytes each.
fn collection<const SOUND: bool>(
    code: u8,
    bytes: &[u8],
    width: usize,
    depth: usize,
) -> Result<usize, Refused> {
    let size = number(bytes, width)?;
    let rest = bytes.get(width..width + size).ok_or(Refused::BadSize)?;
    if !SOUND {
        return Ok(width + size);
    }
    let (count, items) = (number(rest, width)?, &rest[width..]);
    if count > MAX_ELEMENTS as usize {
        return Err(Refused::TooMany);
    }
    if count == 0 && code < 0xe0 && !items.is_empty() {
        return Err(Refused::BadSize);
    }
    if count > 0 {
        let depth = depth.checked_sub(1).ok_or(Refused::TooDeep)?;
        let used = match code {
            0xe0.. => array(items, count, depth)?,
            0xc1 | 0xd1 if count % 2 == 1 => return Err(Refused::BadSize),
            _ => values(items, count, depth)?,
        };
        if used != items.len() {
            return Err(Refused::BadSize);
        }
    }
    Ok(width + size)
}

fn values(bytes: &[u8], count: usize, depth: usize) -> Result<usize, Refused> {
    let mut used = 0;
    for _ in 0..count {
        used += value::<true>(&bytes[used..], depth)?;
    }
    Ok(used)
}

/// The elements of an array, which share a format code.
fn array(bytes: &[u8], count: usize, depth: usize) -> Result<usize, Refused> {
    let (code, elements) = bytes.split_first().ok_or(Refused::BadSize)?;
    let mut used = 0;
    for _ in 0..count {
        used += content::<true>(*code, &elements[used..], depth)?;
    }
    Ok(1 + used)
}

fn number(bytes: &[u8], width: usize) -> Result<usize, Refused> {
    match (width, bytes) {
        (1, [byte, ..]) => Ok(usize::from(*byte)),
        (4, [a, b, c, d, ..]) => {
            usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).map_err(|_| Refused::BadSize)
        }
        _ => Err(Refused::BadSize),
    }
}

/// Reads values that [`skip`] has accepted, without copying their bytes; `None` where it would not.
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
        let size = number(self.rest(), width).ok()?;
        self.at += width;
        let end = self.at + size;
        let count = number(self.rest(), width).ok()?;
        self.at += width;
        Some((end, count))
    }

    /// The bytes of a binary, string or symbol.
    pub(crate) fn binary(&mut self, code: u8) -> Option<Bytes> {
        let width = if code < 0xb0 { 1 } else { 4 };
        let length = number(self.rest(), width).ok()?;
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
        let length = number(self.rest(), width).ok()?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scan::{Refused, Walk};

    /// Bytes with many format codes in them, so that structure arises by chance.
    fn encoded() -> impl Strategy<Value = Vec<u8>> {
        let codes = [0x00, 0x40, 0x45, 0x53, 0x56, 0xa0, 0xa1, 0xb0, 0xc0, 0xc1, 0xd0, 0xe0, 0xf0];
        let byte = prop_oneof![3 => prop::sample::select(codes.to_vec()), 3 => 0_u8..8, 1 => any::<u8>()];
        prop::collection::vec(byte, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_accepted_is_accepted_by_the_walk_and_can_be_read(bytes in encoded()) {
            if let Ok(length) = skip(&bytes) {
                // An empty array may say of what; the AMQP library could not read that.
                let walked = Walk::default().value(&bytes);
                prop_assert!(walked == Ok(length) || walked == Err(Refused::Hidden), "{:?}", walked);
                prop_assert_eq!(section::<false>(&bytes), Ok(length));
                let bytes = Bytes::from(bytes);
                let mut reader = Reader::at(&bytes, 0);
                prop_assert!(reader.value().is_some());
                prop_assert_eq!(reader.at, length);
            }
        }
    }
}
