//! AMQP values as bytes: read and written without a tree of them, so that it does not matter how deep they go.

use std::fmt::{Display, Write};

use bytes::{BufMut, BytesMut};
use eventhubs_amqp_frames::format::{
    ARRAY8, ARRAY32, BINARY8, BINARY32, DESCRIBED, LIST8, LIST32, LONG, MAP8, MAP32, NULL, SMALL_ULONG,
    STRING8, STRING32, SYMBOL8, SYMBOL32, TIMESTAMP, ULONG,
};
use eventhubs_amqp_frames::{MAX_DEPTH, value_length};

/// Descriptor, constructor, size and count of a map.
const MAP_HEAD: usize = 12;

/// Returns the first value, with all its descriptors, and what follows it. `None` when there is no whole value.
pub(crate) fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // The sizes that lists declare are believed: what lies in the lists of an event is not looked at.
    value_length::<false>(bytes).ok().map(|length| bytes.split_at(length))
}

/// The descriptor of a described value, and the value. All that the broker knows are numbers below 256.
pub(crate) fn describes(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&DESCRIBED, rest) = bytes.split_first()? else { return None };
    match *rest.first()? {
        SMALL_ULONG => Some((*rest.get(1)?, &rest[2..])),
        ULONG => {
            let code = u64::from_be_bytes(*rest[1..].first_chunk()?);
            Some((code.try_into().ok()?, &rest[9..]))
        }
        _ => None,
    }
}

/// Copies a value with null for each empty array in its lists: AMQP allows them, rhea sends them for no capabilities, and the
/// library cannot read them. What lies deeper than any value may is copied as it is.
pub(crate) fn put_without_empty_arrays(value: &[u8], out: &mut Vec<u8>) {
    put_value(value, MAX_DEPTH, out);
}

fn put_value(value: &[u8], depth: usize, out: &mut Vec<u8>) {
    let Some(depth) = depth.checked_sub(1) else { return out.extend_from_slice(value) };
    match value {
        [ARRAY8, _, 0, ..] | [ARRAY32, _, _, _, _, 0, 0, 0, 0, ..] => out.push(NULL),
        [DESCRIBED, described @ ..] => match split_value(described) {
            Some((descriptor, inner)) => {
                out.push(DESCRIBED);
                out.extend_from_slice(descriptor);
                put_value(inner, depth, out);
            }
            None => out.extend_from_slice(value),
        },
        [LIST8, _, count, content @ ..] => put_list(u32::from(*count), content, depth, out),
        [LIST32, _, _, _, _, a, b, c, d, content @ ..] => {
            put_list(u32::from_be_bytes([*a, *b, *c, *d]), content, depth, out);
        }
        _ => out.extend_from_slice(value),
    }
}

fn put_list(count: u32, mut content: &[u8], depth: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(LIST32);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&count.to_be_bytes());
    while let Some((value, rest)) = split_value(content) {
        put_value(value, depth, out);
        content = rest;
    }
    out.extend_from_slice(content);
    let size = u32::try_from(out.len() - start - 5).expect("a performative is shorter than 4 GiB");
    out[start + 1..start + 5].copy_from_slice(&size.to_be_bytes());
}

/// The content of a string or symbol.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let bytes = match *value.first()? {
        STRING8 | SYMBOL8 => value.get(2..)?,
        STRING32 | SYMBOL32 => value.get(5..)?,
        _ => return None,
    };
    std::str::from_utf8(bytes).ok()
}

/// The content of a binary value.
pub(crate) fn binary(value: &[u8]) -> Option<&[u8]> {
    match *value.first()? {
        BINARY8 => value.get(2..),
        BINARY32 => value.get(5..),
        // What the JavaScript SDK sends for a body of null.
        NULL => Some(&[]),
        _ => None,
    }
}

/// The keys and values of a map, one after the other; none for a null.
pub(crate) fn map_content(value: &[u8]) -> Option<&[u8]> {
    match *value.first()? {
        NULL => Some(&[]),
        MAP8 => value.get(3..),
        MAP32 => value.get(9..),
        _ => None,
    }
}

/// The first key and value of a map's content, and what follows them.
pub(crate) fn split_entry(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key, rest) = split_value(content)?;
    let (value, rest) = split_value(rest)?;
    Some((key, value, rest))
}

/// Writes a map with symbols as keys to the end of a buffer. Its size and count are filled in by [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct MapWriter<'a> {
    out: &'a mut BytesMut,
    /// Where the map is.
    start: usize,
    /// Keys and values.
    count: u32,
}

impl<'a> MapWriter<'a> {
    /// Begins a map with this descriptor.
    pub(crate) fn begin(descriptor: u8, out: &'a mut BytesMut) -> Self {
        let start = out.len();
        out.put_slice(&[DESCRIBED, SMALL_ULONG, descriptor, MAP32]);
        out.put_slice(&[0; MAP_HEAD - 4]);
        Self { out, start, count: 0 }
    }

    /// Writes an entry that is encoded already.
    pub(crate) fn put_encoded(&mut self, key: &[u8], value: &[u8]) {
        self.out.put_slice(key);
        self.out.put_slice(value);
        self.count += 2;
    }

    pub(crate) fn put_long(&mut self, key: &str, value: i64) {
        self.put_key(key);
        self.out.put_u8(LONG);
        self.out.put_i64(value);
    }

    /// In milliseconds since 1970.
    pub(crate) fn put_timestamp(&mut self, key: &str, ms: i64) {
        self.put_key(key);
        self.out.put_u8(TIMESTAMP);
        self.out.put_i64(ms);
    }

    pub(crate) fn put_string(&mut self, key: &str, value: impl Display) {
        self.put_key(key);
        put_short(self.out, STRING8, value);
    }

    fn put_key(&mut self, key: &str) {
        put_short(self.out, SYMBOL8, key);
        self.count += 2;
    }

    /// Ends the map.
    pub(crate) fn finish(self) {
        let size =
            u32::try_from(self.out.len() - self.start - 8).expect("a map lies in a message below 4 GiB");
        let head = &mut self.out[self.start..][4..MAP_HEAD];
        head[..4].copy_from_slice(&size.to_be_bytes());
        head[4..].copy_from_slice(&self.count.to_be_bytes());
    }
}

fn put_short(out: &mut BytesMut, constructor: u8, text: impl Display) {
    out.put_slice(&[constructor, 0]);
    let start = out.len();
    write!(out, "{text}").expect("a buffer takes any text");
    out[start - 1] = u8::try_from(out.len() - start).expect("our own keys and numbers are short");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_amqp::described::Described;
    use serde_amqp::descriptor::Descriptor;
    use serde_amqp::primitives::{Binary, OrderedMap, Symbol, Timestamp};
    use serde_amqp::{Value, to_vec};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u8>().prop_map(Value::Ubyte),
            any::<i32>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::Ulong),
            any::<i64>().prop_map(|ms| Value::Timestamp(Timestamp::from(ms))),
            ".{0,300}".prop_map(Value::String),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Binary(Binary::from(bytes))),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec((".{0,9}".prop_map(Value::String), inner.clone()), 0..4)
                    .prop_map(|entries| Value::Map(entries.into_iter().collect::<OrderedMap<_, _>>())),
                (any::<u64>(), inner).prop_map(|(code, value)| {
                    Value::Described(Box::new(Described { descriptor: Descriptor::Code(code), value }))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_ends_where_the_library_ends_it(value in value(), tail in prop::collection::vec(any::<u8>(), 0..20)) {
            let encoded = to_vec(&value).unwrap();
            let bytes = [encoded.as_slice(), &tail].concat();
            prop_assert_eq!(split_value(&bytes), Some((encoded.as_slice(), tail.as_slice())));
            prop_assert_eq!(split_value(&encoded[..encoded.len() - 1]), None);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some((value, rest)) = split_value(&bytes) {
                prop_assert_eq!([value, rest].concat(), bytes.clone());
                let _ = (describes(value), text(value), binary(value), map_content(value));
            }
        }
    }

    #[test]
    fn empty_arrays_become_nulls_at_any_depth_of_lists() {
        let empty = [0xf0, 0, 0, 0, 5, 0, 0, 0, 0, 0xa3];
        let inner = [[0, 0x53, 0x28, 0xc0, 12, 2, 0x41].as_slice(), &empty].concat();
        let outer = [&[0, 0x53, 0x12, 0xc0, 23, 3, 0xe0, 2, 0, 0xa3], inner.as_slice(), &[0x42]].concat();
        let mut copied = Vec::new();
        put_without_empty_arrays(&outer, &mut copied);
        let inner = [0, 0x53, 0x28, 0xd0, 0, 0, 0, 6, 0, 0, 0, 2, 0x41, NULL];
        let expected =
            [&[0, 0x53, 0x12, 0xd0, 0, 0, 0, 20, 0, 0, 0, 3, NULL], inner.as_slice(), &[0x42]].concat();
        assert_eq!(copied, expected);
    }

    #[test]
    fn descriptors_without_end_are_no_value() {
        assert_eq!(split_value(&vec![DESCRIBED; 1_000_000]), None);
    }

    #[test]
    fn a_written_map_is_read_by_the_library() {
        let mut bytes = BytesMut::from(&b"before"[..]);
        let mut map = MapWriter::begin(0x72, &mut bytes);
        map.put_long("a", -1);
        map.put_timestamp("b", 2);
        map.put_string("c", "three");
        map.put_encoded(&to_vec(&Symbol::from("d")).unwrap(), &to_vec(&Value::Null).unwrap());
        map.finish();
        let bytes = bytes.split_off(6);
        let Value::Described(read) = serde_amqp::from_slice(&bytes).unwrap() else { panic!("{bytes:x?}") };
        let entries = [
            ("a", Value::Long(-1)),
            ("b", Value::Timestamp(Timestamp::from(2))),
            ("c", Value::from("three")),
            ("d", Value::Null),
        ];
        let expected = entries.into_iter().map(|(key, value)| (Value::Symbol(Symbol::from(key)), value));
        assert_eq!(read.descriptor, Descriptor::Code(0x72));
        assert_eq!(read.value, Value::Map(expected.collect()));
    }
}
