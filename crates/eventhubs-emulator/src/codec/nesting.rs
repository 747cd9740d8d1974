//! How deep the values of a performative lie in each other: the AMQP library decodes them by recursion, and a stack that
//! overflows ends the process.

use std::io;

/// No client nests deeper than a few levels.
const MAX_DEPTH: usize = 32;
/// A constructor with its size, its count, and the constructor of the elements of an array.
const LONGEST_HEAD: usize = 10;

/// Follows the bytes of one described list, in any chunks, and keeps no more of them than the head of a value.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    head: [u8; LONGEST_HEAD],
    known: usize,
    /// Bytes of a value without values in it, which are not looked at.
    skip: usize,
    position: usize,
    /// Where the lists and maps end that the position lies in.
    ends: Vec<usize>,
    /// How many descriptors in a row stand before the value that comes.
    described: usize,
    /// Whether the value that comes is a descriptor.
    descriptor: bool,
    done: bool,
}

/// What a head says about the bytes that follow it.
enum Value {
    /// So many bytes that are no values.
    Plain(usize),
    /// So many bytes of values.
    Compound(usize),
    /// No elements, but the constructor that they would have.
    EmptyArray,
}

impl Nesting {
    /// # Errors
    /// When values lie too deep in each other, or in a form that no client uses.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() && !self.done {
            let taken = if self.skip > 0 {
                let taken = self.skip.min(bytes.len());
                self.skip -= taken;
                taken
            } else {
                self.head[self.known] = bytes[0];
                self.known += 1;
                1
            };
            self.position += taken;
            bytes = &bytes[taken..];
            if self.known > 0 {
                self.look().ok_or_else(too_deep)?;
            }
            self.leave();
        }
        Ok(())
    }

    /// Acts on a head as soon as it is whole. `None` when it is refused.
    fn look(&mut self) -> Option<()> {
        let head = &self.head[..self.known];
        if head == [0] {
            self.known = 0;
            self.described += 1;
            let nested = self.descriptor || self.depth() > MAX_DEPTH;
            self.descriptor = true;
            return (!nested).then_some(());
        }
        if self.known < head_length(head[0])? {
            return Some(());
        }
        let value = value(head)?;
        self.known = 0;
        match value {
            Value::Plain(size) => self.skip = size,
            Value::Compound(_) if self.descriptor => return None,
            Value::Compound(size) => self.ends.push(self.position.checked_add(size)?),
            // The library leaves the constructor unread, which hurts nobody only at the very end (rhea writes it there).
            Value::EmptyArray if self.ends.iter().any(|end| *end != self.position) => return None,
            Value::EmptyArray => {}
        }
        if !self.descriptor {
            self.described = 0;
        }
        self.descriptor = false;
        (self.depth() <= MAX_DEPTH).then_some(())
    }

    fn depth(&self) -> usize {
        self.ends.len() + self.described
    }

    /// Leaves the lists and maps that end here; what follows the outermost one belongs to a message.
    fn leave(&mut self) {
        while self.skip == 0 && self.ends.last().is_some_and(|end| *end <= self.position) {
            self.ends.pop();
            self.done = self.ends.is_empty();
        }
    }
}

/// By the first half of the constructor (AMQP 1.0 part 1, §1.2.1). `None` when it is no constructor.
fn head_length(constructor: u8) -> Option<usize> {
    match constructor >> 4 {
        0x4..=0x9 => Some(1),
        0xa => Some(2),
        0xb => Some(5),
        0xc => Some(3),
        0xd => Some(9),
        0xe => Some(4),
        0xf => Some(10),
        _ => None,
    }
}

fn value(head: &[u8]) -> Option<Value> {
    let short = || usize::from(head[1]);
    let long = || u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    Some(match head[0] >> 4 {
        0x4 => Value::Plain(0),
        width @ 0x5..=0x9 => Value::Plain(1 << (width - 5)),
        0xa => Value::Plain(short()),
        0xb => Value::Plain(long()),
        // the size counts the count
        0xc => compound(head[0], short().checked_sub(1)?, head[2].into())?,
        0xd => compound(head[0], long().checked_sub(4)?, count(head))?,
        0xe if head[2] > 0 => elements(head[3], short().checked_sub(2)?)?,
        0xf if count(head) > 0 => elements(head[9], long().checked_sub(5)?)?,
        0xe if short() == 2 => Value::EmptyArray,
        0xf if long() == 5 => Value::EmptyArray,
        _ => return None,
    })
}

/// The count of a list, map or array whose size takes four bytes.
fn count(head: &[u8]) -> u32 {
    u32::from_be_bytes([head[5], head[6], head[7], head[8]])
}

/// The library reads on at what is hidden in an empty list, map or array, and subtracts below zero at a key without a value: either
/// ends in a panic.
fn compound(constructor: u8, size: usize, count: u32) -> Option<Value> {
    let is_hidden = count == 0 && size > 0;
    let is_odd = matches!(constructor, 0xc1 | 0xd1) && count % 2 == 1;
    (!is_hidden && !is_odd).then_some(Value::Compound(size))
}

/// No client sends arrays of lists, of arrays, or of described values.
fn elements(constructor: u8, size: usize) -> Option<Value> {
    (0x40..0xc0).contains(&constructor).then_some(Value::Plain(size))
}

fn too_deep() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "values are nested too deep")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> io::Result<()> {
        let mut whole = Nesting::default();
        let mut bytewise = Nesting::default();
        let result = whole.advance(bytes);
        let bytewise = bytes.iter().try_for_each(|byte| bytewise.advance(&[*byte]));
        assert_eq!(result.is_ok(), bytewise.is_ok());
        result
    }

    /// A performative with one field: lists in lists, so many deep.
    fn lists(depth: usize) -> Vec<u8> {
        let mut value = Vec::new();
        for inner in (0..depth).rev() {
            // a list head of nine bytes per level, around an empty list
            let size = u32::try_from(9 * inner + 1 + 4).unwrap().to_be_bytes();
            value.extend_from_slice(&[0xd0]);
            value.extend_from_slice(&size);
            value.extend_from_slice(&[0, 0, 0, 1]);
        }
        value.push(0x45);
        [&[0, 0x53, 0x12], value.as_slice()].concat()
    }

    #[test]
    fn a_few_levels_are_fine_and_many_are_not() {
        check(&lists(MAX_DEPTH)).unwrap();
        assert!(check(&lists(MAX_DEPTH + 2)).is_err());
        assert!(check(&lists(100_000)).is_err());
    }

    #[test]
    fn descriptors_in_a_row_are_levels_too() {
        let row = |count| [[0, 0x53, 0x01].repeat(count), vec![0x45]].concat();
        check(&row(MAX_DEPTH)).unwrap();
        assert!(check(&row(MAX_DEPTH + 1)).is_err());
        assert!(check(&[0, 0, 0x53, 0x01, 0x40, 0x40]).is_err());
    }

    #[test]
    fn values_beside_each_other_are_no_levels() {
        let fields = [0x45, 0xa1, 1, b'a', 0x52, 7, 0xc0, 1, 0, 0, 0x53, 0x24, 0x45].repeat(10);
        let size = u8::try_from(fields.len() + 1).unwrap();
        let list = [&[0, 0x53, 0x12, 0xc0, size, 60], fields.as_slice()].concat();
        check(&list).unwrap();
    }

    #[test]
    fn arrays_of_plain_values_are_fine_and_others_are_not() {
        let array = |element| [0, 0x53, 0x12, 0xc0, 8, 1, 0xe0, 5, 1, element, 1, b'a', 0];
        check(&array(0xa3)).unwrap();
        for element in [0x00, 0xc0, 0xd0, 0xe0, 0xf0] {
            assert!(check(&array(element)).is_err(), "{element:x}");
        }
    }

    #[test]
    fn what_makes_the_library_panic_is_refused() {
        for inner in [
            &[0xc0, 0, 0][..],         // a size that does not hold its count
            &[0xc0, 2, 0, 0x40],       // content in an empty list
            &[0xc1, 2, 1, 0x40],       // a key without a value
            &[0xe0, 3, 0, 0xa3, 0x53], // content in an empty array
            &[0xd0, 0, 0, 0, 5, 0, 0, 0, 0, 0x40],
            &[0xf0, 0, 0, 0, 6, 0, 0, 0, 0, 0xa3, 0x53],
            &[0xe0, 2, 0, 0xa3, 0x40], // a constructor that would be taken for the next value
        ] {
            let size = u8::try_from(inner.len() + 1).unwrap();
            let list = [&[0, 0x53, 0x12, 0xc0, size, 1], inner].concat();
            assert!(check(&list).is_err(), "{inner:x?}");
        }
    }

    #[test]
    fn what_follows_a_performative_is_not_looked_at() {
        let transfer = [[0, 0x53, 0x14, 0xc0, 2, 1, 0x43].as_slice(), &[0xff; 100]].concat();
        check(&transfer).unwrap();
    }
}
