//! The lengths of encoded values: as strict as [`Walk`](crate::Walk) and more, but over bytes that are all
//! there, which is many times faster.
//!
//! Functions with a parameter `SOUND` check everything where it is true; where it is false, they believe the
//! sizes that values declare, so that the parts of a damaged message can still be told apart. They are on the
//! path of every event: `inline` lets the crate that calls them compile them in.
//!
//! Tests: below, against [`Walk`](crate::Walk); `eventhubs-amqp` tests them against what the AMQP library
//! decodes.

use crate::format::{
    BINARY8, BINARY32, BOOLEAN, DESCRIBED, LONG, MAP8, MAP32, STRING8, STRING32, SYMBOL8, SYMBOL32, TIMESTAMP,
};
use crate::walk::{MAX_DEPTH, MAX_ELEMENTS, Refused, fixed_width};

/// Returns the length of the encoded value at the front.
///
/// Recursion is safe, here and below: it ends at [`MAX_DEPTH`].
///
/// # Errors
/// When there is no whole value, or, if it must be `SOUND`, one that cannot be read safely.
#[inline]
pub fn value_length<const SOUND: bool>(bytes: &[u8]) -> Result<usize, Refused> {
    value::<SOUND>(bytes, MAX_DEPTH)
}

/// Returns the length of the key or value at the front, which is in a map that is a value itself.
///
/// # Errors
/// As [`value_length`].
#[inline]
pub fn element_length<const SOUND: bool>(bytes: &[u8]) -> Result<usize, Refused> {
    value::<SOUND>(bytes, MAX_DEPTH - 1)
}

/// What the first bytes of a map say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapHead {
    /// The length of the head: the first key follows.
    pub header: usize,
    /// How many keys and values there are together.
    pub count: usize,
    /// The length of the whole map, the head included.
    pub length: usize,
}

impl MapHead {
    /// Reads the head of the map at the front.
    ///
    /// # Errors
    /// When the map is not all there, or, if it must be `SOUND`, too large or with a key that has no value.
    #[inline]
    pub fn read<const SOUND: bool>(bytes: &[u8]) -> Result<Self, Refused> {
        let (code, rest) = bytes.split_first().ok_or(Refused::BadSize)?;
        let width = if *code == MAP8 { 1 } else { 4 };
        let length = 1 + width + be_number(rest, width)?;
        let header = 1 + 2 * width;
        let count = be_number(&rest[width..], width)?;
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
        [STRING8 | SYMBOL8, length, rest @ ..] => {
            let text = rest.get(..usize::from(*length)).ok_or(Refused::BadSize)?;
            if SOUND && !is_text(text) { Err(Refused::Impossible) } else { Ok(2 + text.len()) }
        }
        [LONG | TIMESTAMP, _, _, _, _, _, _, _, _, ..] => Ok(9),
        // And the tag of its delivery, and its body.
        [BINARY8, rest @ ..] => Ok(1 + binary(rest, 1)?),
        [BINARY32, rest @ ..] => Ok(1 + binary(rest, 4)?),
        _ => any_value::<SOUND>(bytes, depth),
    }
}

/// The length of a binary whose size is `width` bytes, after its format code. Any content is possible.
#[inline]
fn binary(bytes: &[u8], width: usize) -> Result<usize, Refused> {
    let length = width + be_number(bytes, width)?;
    if bytes.len() < length { Err(Refused::BadSize) } else { Ok(length) }
}

fn any_value<const SOUND: bool>(bytes: &[u8], depth: usize) -> Result<usize, Refused> {
    let (code, rest) = bytes.split_first().ok_or(Refused::BadSize)?;
    if *code == DESCRIBED {
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
        fixed @ 0x5..=0x9 => (0, fixed_width(fixed)),
        0xa => (1, be_number(bytes, 1)?),
        0xb => (4, be_number(bytes, 4)?),
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
#[inline]
fn is_known(code: u8) -> bool {
    matches!(code, 0x40..=0x45 | 0x50..=0x56 | 0x60 | 0x61 | 0x70..=0x74 | 0x80..=0x84 | 0x94 | 0x98)
        || matches!(code, 0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 | 0xc0 | 0xc1 | 0xd0 | 0xd1 | 0xe0 | 0xf0)
}

/// Whether the content is one that a value of this code can have.
#[inline]
fn is_possible(code: u8, content: &[u8]) -> bool {
    match (code, content) {
        (STRING8 | SYMBOL8 | STRING32 | SYMBOL32, text) => is_text(text),
        (BOOLEAN, flag) => matches!(flag, [0 | 1]),
        (0x73, [a, b, c, d]) => char::from_u32(u32::from_be_bytes([*a, *b, *c, *d])).is_some(),
        _ => true,
    }
}

#[inline]
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
    let size = be_number(bytes, width)?;
    let rest = bytes.get(width..width + size).ok_or(Refused::BadSize)?;
    if !SOUND {
        return Ok(width + size);
    }
    let (count, items) = (be_number(rest, width)?, &rest[width..]);
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
            MAP8 | MAP32 if count % 2 == 1 => return Err(Refused::BadSize),
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

/// Returns the number of `width` bytes, which is 1 or 4, at the front: a size or a count.
///
/// # Errors
/// When less than that is there.
#[inline]
pub fn be_number(bytes: &[u8], width: usize) -> Result<usize, Refused> {
    match (width, bytes) {
        (1, [byte, ..]) => Ok(usize::from(*byte)),
        (4, [a, b, c, d, ..]) => {
            usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).map_err(|_| Refused::BadSize)
        }
        _ => Err(Refused::BadSize),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Walk;

    /// Bytes with many format codes in them, so that structure arises by chance.
    fn encoded() -> impl Strategy<Value = Vec<u8>> {
        let codes = [0x00, 0x40, 0x45, 0x53, 0x56, 0xa0, 0xa1, 0xb0, 0xc0, 0xc1, 0xd0, 0xe0, 0xf0];
        let byte = prop_oneof![3 => prop::sample::select(codes.to_vec()), 3 => 0_u8..8, 1 => any::<u8>()];
        prop::collection::vec(byte, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_sound_is_accepted_by_the_walk(bytes in encoded()) {
            if let Ok(length) = value_length::<true>(&bytes) {
                // An empty array may say of what; the AMQP library could not read that.
                let walked = Walk::default().value(&bytes);
                prop_assert!(walked == Ok(length) || walked == Err(Refused::Hidden), "{:?}", walked);
                prop_assert_eq!(value_length::<false>(&bytes), Ok(length));
            }
        }
    }
}
