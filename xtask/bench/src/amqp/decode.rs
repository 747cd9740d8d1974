//! Decoding, by slices of the input.

/// One encoded value with its constructor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a [u8]);

/// Takes the first value off the input.
pub fn split<'a>(input: &mut &'a [u8]) -> Option<Raw<'a>> {
    let (value, rest) = input.split_at_checked(value_len(input)?)?;
    *input = rest;
    Some(Raw(value))
}

fn value_len(input: &[u8]) -> Option<usize> {
    let (constructor, rest) = input.split_first()?;
    let len = match constructor >> 4 {
        0 => return described_len(input),
        4 => 0,
        5 => 1,
        6 => 2,
        7 => 4,
        8 => 8,
        9 => 16,
        0xa | 0xc | 0xe => 1 + usize::from(*rest.first()?),
        0xb | 0xd | 0xf => 4 + be_u32(rest)? as usize,
        _ => return None,
    };
    Some(1 + len)
}

fn described_len(input: &[u8]) -> Option<usize> {
    let descriptor = value_len(&input[1..])?;
    Some(1 + descriptor + value_len(input.get(1 + descriptor..)?)?)
}

fn be_u32(input: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*input.first_chunk()?))
}

impl<'a> Raw<'a> {
    /// The numeric descriptor and the value under it.
    pub fn described(self) -> Option<(u64, Self)> {
        let mut rest = self.0.strip_prefix(&[0])?;
        let descriptor = split(&mut rest)?.number()?;
        Some((descriptor, split(&mut rest)?))
    }

    /// The elements of a list, or the keys and values of a map in turn.
    pub fn items(self) -> Vec<Self> {
        let mut rest = match self.0 {
            [0xc0 | 0xc1, _, _, rest @ ..] | [0xd0 | 0xd1, _, _, _, _, _, _, _, _, rest @ ..] => rest,
            _ => &[],
        };
        std::iter::from_fn(|| split(&mut rest)).collect()
    }

    /// The value as a number, whatever its width.
    pub fn number(self) -> Option<u64> {
        let (constructor, bytes) = self.0.split_first()?;
        match constructor {
            0x43..=0x45 => Some(0),
            0x50..=0x8f => Some(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
            _ => None,
        }
    }

    /// The value as a number of 32 bits.
    pub fn uint(self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    /// The value of a string or a symbol.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The content of a string, a symbol or a binary.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self.0 {
            [0xa0 | 0xa1 | 0xa3, _, bytes @ ..] | [0xb0 | 0xb1 | 0xb3, _, _, _, _, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }

    /// Whether the value is true.
    pub fn is_true(self) -> bool {
        matches!(self.0, [0x41] | [0x56, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::{Fields, described};
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let list = Fields::new()
            .nulls(1)
            .uint(7)
            .string("text")
            .boolean(true)
            .symbol("word")
            .raw(&Fields::new().string("k").long(9).map());
        let bytes = described(0x12, &list.list());
        let mut input = &bytes[..];
        let (descriptor, value) = split(&mut input).and_then(Raw::described).expect("a described list");
        let items = value.items();
        assert_eq!((descriptor, items.len(), input.len()), (0x12, 6, 0));
        assert_eq!((items[0].number(), items[1].uint()), (None, Some(7)));
        assert_eq!((items[2].text(), items[4].text()), (Some("text"), Some("word")));
        assert!(items[3].is_true());
        assert_eq!(items[5].items()[1].number(), Some(9));
    }

    #[test]
    fn a_value_that_is_cut_short_is_none() {
        let bytes = described(0x12, &Fields::new().string("text").list());
        assert!((0..bytes.len()).all(|end| split(&mut &bytes[..end]).is_none()));
    }
}
