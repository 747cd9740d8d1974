//! Values of all types, and their bytes.

use proptest::prelude::*;
use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::{Array, Binary, Dec32, Dec64, Dec128, OrderedMap, Symbol, Timestamp, Uuid};

pub(super) fn scalar() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        prop_oneof![Just(0), 0..300_u32, any::<u32>()].prop_map(Value::Uint),
        prop_oneof![Just(0), 0..300_u64, any::<u64>()].prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        prop_oneof![-200..200_i32, any::<i32>()].prop_map(Value::Int),
        prop_oneof![-200..200_i64, any::<i64>()].prop_map(Value::Long),
        (-1e9..1e9_f32).prop_map(|n| Value::Float(n.into())),
        (-1e9..1e9_f64).prop_map(|n| Value::Double(n.into())),
        any::<[u8; 4]>().prop_map(|n| Value::Decimal32(Dec32::from(n))),
        any::<[u8; 8]>().prop_map(|n| Value::Decimal64(Dec64::from(n))),
        any::<[u8; 16]>().prop_map(|n| Value::Decimal128(Dec128::from(n))),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(|n| Value::Timestamp(Timestamp::from(n))),
        any::<[u8; 16]>().prop_map(|n| Value::Uuid(Uuid::from(n))),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|n| Value::Binary(Binary::from(n))),
        ".{0,9}".prop_map(Value::String),
        "[a-z]{200,300}".prop_map(Value::String),
        "[a-z-]{0,9}".prop_map(|n| Value::Symbol(Symbol(n))),
    ]
    .boxed()
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((scalar(), inner.clone()), 0..4)
                .prop_map(|pairs| Value::Map(pairs.into_iter().collect::<OrderedMap<_, _>>())),
            prop::collection::vec(any::<i32>().prop_map(Value::Int), 1..5)
                .prop_map(|n| Value::Array(Array(n))),
            prop::collection::vec(".{0,5}".prop_map(Value::String), 1..5)
                .prop_map(|n| Value::Array(Array(n))),
            (any::<u64>(), inner).prop_map(|(code, value)| {
                Value::Described(Box::new(Described { descriptor: Descriptor::Code(code), value }))
            }),
        ]
    })
}

/// Encodes by hand: the library's own encoder fails on some of these values.
fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Binary(n) => sized(0xa0, n, out),
        Value::String(n) => sized(0xa1, n.as_bytes(), out),
        Value::Symbol(n) => sized(0xa3, n.as_str().as_bytes(), out),
        Value::List(values) if values.is_empty() => out.push(0x45),
        Value::List(values) => compound(0xd0, values.len(), &encoded(values), out),
        Value::Map(pairs) => {
            let flat: Vec<Value> = pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect();
            compound(0xd1, flat.len(), &encoded(&flat), out);
        }
        Value::Array(Array(values)) => compound(0xf0, values.len(), &elements(values), out),
        Value::Described(described) => {
            let Descriptor::Code(code) = described.descriptor else { panic!("no such descriptor") };
            out.push(0);
            put(&Value::Ulong(code), out);
            put(&described.value, out);
        }
        fixed => put_fixed(fixed, out),
    }
}

fn put_fixed(value: &Value, out: &mut Vec<u8>) {
    let mut fixed = |code: u8, bytes: &[u8]| {
        out.push(code);
        out.extend(bytes);
    };
    match value {
        Value::Null => fixed(0x40, &[]),
        Value::Bool(true) => fixed(0x41, &[]),
        Value::Bool(false) => fixed(0x56, &[0]),
        Value::Ubyte(n) => fixed(0x50, &[*n]),
        Value::Ushort(n) => fixed(0x60, &n.to_be_bytes()),
        Value::Uint(0) => fixed(0x43, &[]),
        Value::Uint(n @ 1..=0xff) => fixed(0x52, &n.to_be_bytes()[3..]),
        Value::Uint(n) => fixed(0x70, &n.to_be_bytes()),
        Value::Ulong(0) => fixed(0x44, &[]),
        Value::Ulong(n @ 1..=0xff) => fixed(0x53, &n.to_be_bytes()[7..]),
        Value::Ulong(n) => fixed(0x80, &n.to_be_bytes()),
        Value::Byte(n) => fixed(0x51, &n.to_be_bytes()),
        Value::Short(n) => fixed(0x61, &n.to_be_bytes()),
        Value::Int(n @ -128..=127) => fixed(0x54, &n.to_be_bytes()[3..]),
        Value::Int(n) => fixed(0x71, &n.to_be_bytes()),
        Value::Long(n @ -128..=127) => fixed(0x55, &n.to_be_bytes()[7..]),
        Value::Long(n) => fixed(0x81, &n.to_be_bytes()),
        Value::Float(n) => fixed(0x72, &n.to_be_bytes()),
        Value::Double(n) => fixed(0x82, &n.to_be_bytes()),
        Value::Decimal32(n) => fixed(0x74, &n.clone().into_inner()),
        Value::Decimal64(n) => fixed(0x84, &n.clone().into_inner()),
        Value::Decimal128(n) => fixed(0x94, &n.clone().into_inner()),
        Value::Char(n) => fixed(0x73, &u32::from(*n).to_be_bytes()),
        Value::Timestamp(n) => fixed(0x83, &n.clone().into_inner().to_be_bytes()),
        Value::Uuid(n) => fixed(0x98, n.as_inner()),
        other => panic!("no constructor for {other:?}"),
    }
}

fn sized(short: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        out.extend([short, length]);
    } else {
        out.push(short + 0x10);
        out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    }
    out.extend(bytes);
}

fn compound(code: u8, count: usize, content: &[u8], out: &mut Vec<u8>) {
    out.push(code);
    out.extend(u32::try_from(content.len() + 4).unwrap().to_be_bytes());
    out.extend(u32::try_from(count).unwrap().to_be_bytes());
    out.extend(content);
}

/// The constructor of an array and its elements.
fn elements(values: &[Value]) -> Vec<u8> {
    let mut content = vec![if matches!(values[0], Value::Int(_)) { 0x71 } else { 0xb1 }];
    for value in values {
        match value {
            Value::Int(n) => content.extend(n.to_be_bytes()),
            Value::String(n) => {
                content.extend(u32::try_from(n.len()).unwrap().to_be_bytes());
                content.extend(n.as_bytes());
            }
            other => panic!("no array of {other:?}"),
        }
    }
    content
}

fn encoded(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        put(value, &mut out);
    }
    out
}

pub(super) fn section(code: u8, value: &Value) -> Vec<u8> {
    [&[0x00, 0x53, code][..], &encoded(std::slice::from_ref(value))].concat()
}
