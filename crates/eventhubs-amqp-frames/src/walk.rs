//! Walks over encoded AMQP values without recursion, before anything decodes them.
//!
//! `serde_amqp` recurses once per nesting level without a limit, so one message of 36 kB aborts the process,
//! and it trusts declared sizes and counts. What this walk accepts is safe to decode: at most [`MAX_DEPTH`]
//! levels, at most [`MAX_ELEMENTS`] elements in one collection, and every declared size exact.
//!
//! Tests: below; the fuzz target `library` decodes what the walk lets through.

use std::fmt;

use crate::format;

/// The most levels of nesting of one value, descriptors included.
pub const MAX_DEPTH: usize = 32;

/// The most elements of one list, map or array.
pub const MAX_ELEMENTS: u32 = 65_536;

/// Bytes of size, and count, by the high digit of the format code from 0xa on.
const HEADER_WIDTHS: [u8; 6] = [1, 4, 2, 8, 2, 8];

/// Why encoded bytes must not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A value nests deeper than [`MAX_DEPTH`] levels.
    TooDeep,
    /// A collection has more than [`MAX_ELEMENTS`] elements.
    TooMany,
    /// A declared size disagrees with the content.
    BadSize,
    /// An empty collection has content.
    Hidden,
    /// AMQP 1.0 does not define the format code.
    UnknownCode,
    /// The bytes are not a value of the type that their format code names.
    Impossible,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(f, "a value nests deeper than {MAX_DEPTH} levels"),
            Self::TooMany => write!(f, "a collection has more than {MAX_ELEMENTS} elements"),
            Self::BadSize => f.write_str("a declared size disagrees with the content"),
            Self::Hidden => f.write_str("an empty collection has content"),
            Self::UnknownCode => f.write_str("a format code that AMQP does not know"),
            Self::Impossible => f.write_str("a value that its type cannot have"),
        }
    }
}

impl std::error::Error for Refused {}

/// Walks one value after another. The bytes may come in pieces, as a delivery comes in several frames.
///
/// ```
/// use eventhubs_amqp_frames::{Refused, Walk};
///
/// let mut walk = Walk::default();
/// walk.values(&[0xa0, 0x02, 1])?; // two bytes are declared, one has come
/// assert!(!walk.at_boundary());
/// walk.values(&[2])?;
/// assert!(walk.at_boundary());
/// # Ok::<(), Refused>(())
/// ```
#[derive(Debug, Default)]
pub struct Walk {
    stack: Vec<Open>,
    next: Next,
    position: u64,
    /// Where all that is decoded together ends, where that is known.
    end: Option<u64>,
}

/// A described value, list, map or array whose end has not come yet.
#[derive(Debug)]
struct Open {
    /// How many values are left, the one being walked included.
    left: u32,
    /// For an array, the code that all elements share.
    element: Option<u8>,
    /// Where the content must end; unknown for a described value.
    end: Option<u64>,
}

#[derive(Debug, Default)]
enum Next {
    /// A format code.
    #[default]
    Code,
    /// The size, and count, of a value of this code.
    Header { code: u8, width: u8, have: u8, bytes: [u8; 8] },
    /// The format code of the elements of an array.
    ElementCode,
    /// Content that holds no values.
    Skip(u64),
}

/// The width of a value of fixed width, by the high digit of its format code, which is 5 to 9 (AMQP 1.0 part
/// 1, §1.2).
#[inline]
pub(crate) fn fixed_width(digit: u8) -> usize {
    1 << (digit - 5)
}

impl Walk {
    /// Walks up to the end of the value that `bytes` begin or continue, and returns how many bytes that took.
    ///
    /// # Errors
    /// When the bytes must not be decoded.
    pub fn value(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        self.end = Some(self.position + bytes.len() as u64);
        let mut used = 0;
        while used < bytes.len() {
            used += self.step(&bytes[used..])?;
            if self.at_boundary() {
                break;
            }
        }
        Ok(used)
    }

    /// Walks over all of `bytes`, which may end inside a value.
    ///
    /// # Errors
    /// When the bytes must not be decoded.
    pub fn values(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.end = None;
        let mut used = 0;
        while used < bytes.len() {
            used += self.step(&bytes[used..])?;
        }
        Ok(())
    }

    /// Returns how many bytes have been walked.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns whether no value is unfinished.
    #[inline]
    pub fn at_boundary(&self) -> bool {
        self.stack.is_empty() && matches!(self.next, Next::Code)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let used = match self.next {
            Next::Skip(length) => usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len()),
            Next::Header { width, have, .. } => usize::from(width - have).min(bytes.len()),
            Next::Code | Next::ElementCode => 1,
        };
        self.position += used as u64;
        match &mut self.next {
            Next::Code => self.start(bytes[0])?,
            Next::ElementCode => self.start_elements(bytes[0])?,
            Next::Skip(length) => {
                *length -= used as u64;
                if *length == 0 {
                    self.finish()?;
                }
            }
            Next::Header { code, width, have, bytes: header } => {
                header[usize::from(*have)..][..used].copy_from_slice(&bytes[..used]);
                *have += u8::try_from(used).map_err(|_| Refused::BadSize)?;
                if have == width {
                    let (code, half, header) = (*code, usize::from(*width / 2), *header);
                    self.sized(code, half, header)?;
                }
            }
        }
        Ok(used)
    }

    /// A value of this format code starts (AMQP 1.0 part 1, §1.2 and §1.6: the high digit says how it is laid
    /// out).
    fn start(&mut self, code: u8) -> Result<(), Refused> {
        match code >> 4 {
            0x0 if code == 0 => self.open(Open { left: 2, element: None, end: None }),
            0x4 => self.finish(),
            fixed @ 0x5..=0x9 => self.skip(fixed_width(fixed) as u64),
            sized @ 0xa..=0xf => {
                let width = HEADER_WIDTHS[usize::from(sized - 0xa)];
                self.next = Next::Header { code, width, have: 0, bytes: [0; 8] };
                Ok(())
            }
            _ => Err(Refused::UnknownCode),
        }
    }

    /// The size, and count, of a value have been read; `half` is the width of each.
    fn sized(&mut self, code: u8, half: usize, header: [u8; 8]) -> Result<(), Refused> {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        match code >> 4 {
            0xa => self.skip(u64::from(header[0])),
            0xb => self.skip(u64::from(number(&header[..4]))),
            kind => {
                let (size, count) = (number(&header[..half]), number(&header[half..2 * half]));
                // serde_amqp subtracts below zero at a key without a value.
                if matches!(code, format::MAP8 | format::MAP32) && count % 2 == 1 {
                    return Err(Refused::BadSize);
                }
                self.collection(kind >= 0xe, size, count, half)
            }
        }
    }

    fn collection(&mut self, array: bool, size: u32, count: u32, half: usize) -> Result<(), Refused> {
        let content = u64::from(size).checked_sub(half as u64).ok_or(Refused::BadSize)?;
        match count {
            // serde_amqp leaves unread what an empty collection contains, the code of the elements of an
            // empty array included, and takes it for the value after it. At the very end of all that is
            // decoded together there is none, so it is harmless there: rhea ends its open like that. A
            // message may have another section.
            0 if array && content == 1 && self.end == Some(self.position + content) => self.skip(content),
            0 if content > 0 => Err(Refused::Hidden),
            0 => self.skip(content),
            1..=MAX_ELEMENTS => {
                self.open(Open { left: count, element: None, end: Some(self.position + content) })?;
                if array {
                    self.next = Next::ElementCode;
                }
                Ok(())
            }
            _ => Err(Refused::TooMany),
        }
    }

    /// The elements of the array on top of the stack start; they share this code.
    fn start_elements(&mut self, code: u8) -> Result<(), Refused> {
        let Some(array) = self.stack.last_mut() else {
            return Err(Refused::BadSize);
        };
        match code >> 4 {
            // No peer sends arrays of described values, and their elements would need a second grammar.
            0x0 => Err(Refused::UnknownCode),
            fixed @ 0x4..=0x9 => {
                let width = if fixed == 0x4 { 0 } else { fixed_width(fixed) as u64 };
                let length = width * u64::from(array.left);
                array.left = 1;
                self.skip(length)
            }
            _ => {
                array.element = Some(code);
                self.start(code)
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Refused> {
        if self.stack.len() == MAX_DEPTH {
            return Err(Refused::TooDeep);
        }
        self.stack.push(open);
        self.next = Next::Code;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), Refused> {
        if length == 0 {
            return self.finish();
        }
        self.next = Next::Skip(length);
        Ok(())
    }

    /// A value has ended, and with it every collection of which it was the last.
    fn finish(&mut self) -> Result<(), Refused> {
        self.next = Next::Code;
        while let Some(open) = self.stack.last_mut() {
            if open.end.is_some_and(|end| self.position > end) {
                return Err(Refused::BadSize);
            }
            open.left -= 1;
            match (open.left, open.element) {
                (0, _) if open.end.is_some_and(|end| end != self.position) => return Err(Refused::BadSize),
                (0, _) => _ = self.stack.pop(),
                (_, Some(code)) => return self.start(code),
                (_, None) => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_amqp::Value;
    use serde_amqp::primitives::{Array, OrderedMap, Symbol};

    use super::*;

    fn walk(bytes: &[u8]) -> Result<bool, Refused> {
        let mut walk = Walk::default();
        walk.values(bytes)?;
        Ok(walk.at_boundary())
    }

    /// Lists in lists, `levels` deep.
    fn nested(levels: usize) -> Vec<u8> {
        let mut bytes = vec![0x40];
        for _ in 0..levels {
            let size = u32::try_from(bytes.len() + 4).unwrap();
            bytes.splice(0..0, [vec![0xd0], size.to_be_bytes().to_vec(), vec![0, 0, 0, 1]].concat());
        }
        bytes
    }

    #[test]
    fn values_of_all_layouts_are_walked_to_their_end() {
        let map: OrderedMap<Value, Value> =
            [(Value::Symbol(Symbol::from("k")), Value::Ulong(7))].into_iter().collect();
        for value in [
            Value::Null,
            Value::Bool(true),
            Value::Ubyte(1),
            Value::Uint(70_000),
            Value::Long(-1),
            Value::String("x".repeat(300)),
            Value::List(vec![]),
            Value::List(vec![Value::String("a".into()), Value::List(vec![Value::Null])]),
            Value::Map(map),
            Value::Array(Array(vec![Value::Int(1), Value::Int(2)])),
            Value::Array(Array(vec![Value::String("a".into()), Value::String("bc".into())])),
            Value::Array(Array(vec![Value::List(vec![Value::Null]), Value::List(vec![Value::Bool(true)])])),
        ] {
            let bytes = serde_amqp::to_vec(&value).unwrap();
            assert_eq!(walk(&bytes), Ok(true), "{value:?} as {bytes:x?}");
            assert_eq!(
                Walk::default().value(&[bytes.clone(), vec![0x40]].concat()),
                Ok(bytes.len()),
                "{value:?}"
            );
        }
        assert_eq!(walk(&[0x00, 0x53, 0x75, 0xa0, 0x01, 0xff]), Ok(true), "a data section");
    }

    #[test]
    fn a_value_that_has_not_ended_is_seen() {
        assert_eq!(walk(&[0xa0, 0x05, 1, 2]), Ok(false));
        assert_eq!(walk(&[0x00, 0x53]), Ok(false));
        assert_eq!(walk(&nested(3)[..20]), Ok(false));
    }

    /// 4 000 levels abort a thread of 2 MiB.
    #[test]
    fn deep_nesting_is_refused_however_it_is_made() {
        assert_eq!(walk(&nested(MAX_DEPTH)), Ok(true));
        assert_eq!(walk(&nested(MAX_DEPTH + 1)), Err(Refused::TooDeep));
        assert_eq!(walk(&[0x00; 10_000]), Err(Refused::TooDeep), "descriptors of descriptors");
        let arrays = [0xf0, 0, 0, 0x70, 0, 0, 0, 0, 1].repeat(5_000);
        assert_eq!(walk(&arrays), Err(Refused::TooDeep), "arrays of arrays");
    }

    #[test]
    fn sizes_and_counts_that_lie_are_refused() {
        assert_eq!(walk(&[0xc0, 3, 1, 0x40, 0x40]), Err(Refused::BadSize), "a list ends before its size");
        assert_eq!(walk(&[0xc0, 2, 2, 0x40, 0x40]), Err(Refused::BadSize), "a list ends after its size");
        assert_eq!(
            walk(&[0xd0, 0, 0, 0, 3, 0, 0, 0, 1]),
            Err(Refused::BadSize),
            "a size smaller than the count"
        );
        assert_eq!(walk(&[0xc1, 2, 1, 0x40]), Err(Refused::BadSize), "a key without a value");
        assert_eq!(walk(&[0xc0, 2, 0, 0x40]), Err(Refused::Hidden), "content after a count of zero");
        assert_eq!(walk(&[0xd0, 0, 0, 0, 4, 0, 1, 0, 1]), Err(Refused::TooMany));
        assert_eq!(walk(&[0xf0, 0, 0, 0, 5, 0, 1, 0, 0, 0x41]), Ok(true), "65 536 elements without bytes");
        assert_eq!(walk(&[0xe0, 4, 2, 0x71, 0, 0]), Ok(false), "an array whose elements are missing");
        assert_eq!(walk(&[0x10]), Err(Refused::UnknownCode));
    }

    /// Found by the fuzz target `library`: the code of the elements was then taken for the beginning of the
    /// next section.
    #[test]
    fn the_code_of_an_empty_array_may_only_be_the_very_last_byte() {
        let array = [0xe0, 2, 0, 0x53];
        assert_eq!(Walk::default().value(&array), Ok(4), "the end of an open of rhea");
        let section = [&[0x00, 0x53, 0x77][..], &array].concat();
        let message = [&section[..], &[0x00, 0x53, 0x78, 0xc1, 1, 0]].concat();
        assert_eq!(Walk::default().value(&message), Err(Refused::Hidden));
        assert_eq!(Walk::default().values(&section), Err(Refused::Hidden), "more may follow");
    }

    /// Bytes with many format codes in them, so that structure arises by chance.
    fn encoded() -> impl Strategy<Value = Vec<u8>> {
        let codes = [0x00, 0x40, 0x41, 0x45, 0x53, 0xa0, 0xa1, 0xb0, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0];
        let byte = prop_oneof![3 => prop::sample::select(codes.to_vec()), 3 => 0_u8..8, 1 => any::<u8>()];
        prop_oneof![prop::collection::vec(byte, 0..200), (0..200_usize).prop_map(nested)]
    }

    proptest! {
        #[test]
        fn pieces_are_walked_like_the_whole(bytes in encoded(), cut in any::<prop::sample::Index>()) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut pieces = Walk::default();
            let in_pieces = pieces.values(head).and_then(|()| pieces.values(tail)).map(|()| pieces.at_boundary());
            prop_assert_eq!(in_pieces, walk(&bytes));
        }

        #[test]
        fn what_is_accepted_can_be_decoded(bytes in encoded()) {
            if walk(&bytes) == Ok(true) {
                let decode = move || drop(serde_amqp::from_slice::<Value>(&bytes));
                let worker = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(decode).unwrap();
                prop_assert!(worker.join().is_ok());
            }
        }
    }
}
