//! Encoded AMQP values, walked by hand: as strict as [`Walk`](crate::scan::Walk), but over bytes that are all there,
//! and so many times faster.

use crate::scan::{MAX_DEPTH, MAX_ELEMENTS, Refused};

/// The length of the encoded value at the front, which is safe and possible to decode.
///
/// Recursion is safe: it ends at [`MAX_DEPTH`].
pub(crate) fn skip(bytes: &[u8]) -> Result<usize, Refused> {
    value(bytes, MAX_DEPTH)
}

fn value(bytes: &[u8], depth: usize) -> Result<usize, Refused> {
    let (code, rest) = bytes.split_first().ok_or(Refused::BadSize)?;
    if *code == 0 {
        let depth = depth.checked_sub(1).ok_or(Refused::TooDeep)?;
        let descriptor = value(rest, depth)?;
        return Ok(1 + descriptor + value(&rest[descriptor..], depth)?);
    }
    Ok(1 + content(*code, rest, depth)?)
}

/// The length of what follows the format code.
fn content(code: u8, bytes: &[u8], depth: usize) -> Result<usize, Refused> {
    let length = match code >> 4 {
        0x4 => 0,
        fixed @ 0x5..=0x9 => 1 << (fixed - 5),
        0xa => 1 + usize::from(*bytes.first().ok_or(Refused::BadSize)?),
        0xb => 4 + number(bytes, 4)?,
        0xc | 0xe => return collection(code, bytes, 1, depth),
        0xd | 0xf => return collection(code, bytes, 4, depth),
        _ => return Err(Refused::UnknownCode),
    };
    if bytes.len() < length {
        return Err(Refused::BadSize);
    }
    Ok(length)
}

/// A list, map or array whose size and count are `width` bytes each.
fn collection(code: u8, bytes: &[u8], width: usize, depth: usize) -> Result<usize, Refused> {
    let (size, count) = (
        number(bytes, width)?,
        number(bytes.get(width..).unwrap_or_default(), width)?,
    );
    let items = size.checked_sub(width).ok_or(Refused::BadSize)?;
    let items = bytes
        .get(2 * width..)
        .and_then(|rest| rest.get(..items))
        .ok_or(Refused::BadSize)?;
    let count = u32::try_from(count)
        .ok()
        .filter(|count| *count <= MAX_ELEMENTS)
        .ok_or(Refused::TooMany)?;
    if count > 0 {
        let depth = depth.checked_sub(1).ok_or(Refused::TooDeep)?;
        let used = if code >= 0xe0 {
            array(items, count, depth)?
        } else {
            values(items, count, depth)?
        };
        if used != items.len() {
            return Err(Refused::BadSize);
        }
    }
    Ok(width + size)
}

fn values(bytes: &[u8], count: u32, depth: usize) -> Result<usize, Refused> {
    let mut used = 0;
    for _ in 0..count {
        used += value(&bytes[used..], depth)?;
    }
    Ok(used)
}

/// The elements of an array, which share a format code.
fn array(bytes: &[u8], count: u32, depth: usize) -> Result<usize, Refused> {
    let (code, elements) = bytes.split_first().ok_or(Refused::BadSize)?;
    let mut used = 0;
    for _ in 0..count {
        used += content(*code, &elements[used..], depth)?;
    }
    Ok(1 + used)
}

fn number(bytes: &[u8], width: usize) -> Result<usize, Refused> {
    let bytes = bytes.get(..width).ok_or(Refused::BadSize)?;
    let number = bytes
        .iter()
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    usize::try_from(number).map_err(|_| Refused::BadSize)
}
