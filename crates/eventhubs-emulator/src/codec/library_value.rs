//! The values of the public API in the types of the AMQP library.

use bytes::Bytes;
use eventhubs_types::Value;
use fe2o3_amqp_types::primitives::{
    Array, Dec32, Dec64, Dec128, OrderedMap, SimpleValue, Symbol, Timestamp, Uuid, Value as ClientStream,
};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::Binary;

use crate::clock;

pub(crate) fn to_wire(value: Value) -> ClientStream {
    match value {
        Value::Bool(v) => ClientStream::Bool(v),
        Value::U8(v) => ClientStream::Ubyte(v),
        Value::U16(v) => ClientStream::Ushort(v),
        Value::U32(v) => ClientStream::Uint(v),
        Value::U64(v) => ClientStream::Ulong(v),
        Value::I8(v) => ClientStream::Byte(v),
        Value::I16(v) => ClientStream::Short(v),
        Value::I32(v) => ClientStream::Int(v),
        Value::I64(v) => ClientStream::Long(v),
        Value::F32(v) => ClientStream::from(v),
        Value::F64(v) => ClientStream::from(v),
        Value::Decimal32(v) => ClientStream::Decimal32(Dec32::from(v)),
        Value::Decimal64(v) => ClientStream::Decimal64(Dec64::from(v)),
        Value::Decimal128(v) => ClientStream::Decimal128(Dec128::from(v)),
        Value::Char(v) => ClientStream::Char(v),
        Value::Timestamp(v) => ClientStream::Timestamp(Timestamp::from(clock::to_ms(v))),
        Value::Uuid(v) => ClientStream::Uuid(Uuid::from(v)),
        Value::Binary(v) => ClientStream::Binary(Binary::from(v.to_vec())),
        Value::String(v) => ClientStream::String(v),
        Value::Symbol(v) => ClientStream::Symbol(Symbol::from(v)),
        Value::List(v) => ClientStream::List(v.into_iter().map(to_wire).collect()),
        Value::Map(v) => ClientStream::Map(
            v.into_iter().map(|(k, v)| (to_wire(k), to_wire(v))).collect::<OrderedMap<_, _>>(),
        ),
        Value::Array(v) => ClientStream::Array(Array(v.into_iter().map(to_wire).collect())),
        Value::Described { descriptor, value } => described(*descriptor, *value),
        _ => ClientStream::Null,
    }
}

fn described(descriptor: Value, value: Value) -> ClientStream {
    let descriptor = match descriptor {
        Value::U64(code) => Descriptor::Code(code),
        other => Descriptor::Name(Symbol::from(other.as_str().unwrap_or_default())),
    };
    ClientStream::Described(Box::new(Described { descriptor, value: to_wire(value) }))
}

/// The opposite of [`to_wire`].
pub(crate) fn from_wire(value: &ClientStream) -> Value {
    let all = |values: &[ClientStream]| values.iter().map(from_wire).collect();
    match value {
        ClientStream::Bool(v) => Value::Bool(*v),
        ClientStream::Ubyte(v) => Value::U8(*v),
        ClientStream::Ushort(v) => Value::U16(*v),
        ClientStream::Uint(v) => Value::U32(*v),
        ClientStream::Ulong(v) => Value::U64(*v),
        ClientStream::Byte(v) => Value::I8(*v),
        ClientStream::Short(v) => Value::I16(*v),
        ClientStream::Int(v) => Value::I32(*v),
        ClientStream::Long(v) => Value::I64(*v),
        ClientStream::Float(v) => Value::F32(v.into_inner()),
        ClientStream::Double(v) => Value::F64(v.into_inner()),
        ClientStream::Decimal32(v) => Value::Decimal32(v.clone().into_inner()),
        ClientStream::Decimal64(v) => Value::Decimal64(v.clone().into_inner()),
        ClientStream::Decimal128(v) => Value::Decimal128(v.clone().into_inner()),
        ClientStream::Char(v) => Value::Char(*v),
        ClientStream::Timestamp(v) => clock::from_ms(v.milliseconds()).map_or(Value::Null, Value::Timestamp),
        ClientStream::Uuid(v) => Value::Uuid(v.clone().into_inner()),
        ClientStream::Binary(v) => Value::Binary(Bytes::copy_from_slice(v)),
        ClientStream::String(v) => Value::String(v.clone()),
        ClientStream::Symbol(v) => Value::Symbol(v.as_str().to_owned()),
        ClientStream::List(v) => Value::List(all(v)),
        ClientStream::Map(v) => Value::Map(v.iter().map(|(k, v)| (from_wire(k), from_wire(v))).collect()),
        ClientStream::Array(v) => Value::Array(all(&v.0)),
        ClientStream::Described(v) => {
            let descriptor = match &v.descriptor {
                Descriptor::Code(code) => Value::U64(*code),
                Descriptor::Name(name) => Value::Symbol(name.as_str().to_owned()),
            };
            Value::Described { descriptor: Box::new(descriptor), value: Box::new(from_wire(&v.value)) }
        }
        ClientStream::Null => Value::Null,
    }
}

/// An application property: AMQP allows no list, map or array there.
pub(crate) fn to_simple(value: Value) -> Option<SimpleValue> {
    Some(match to_wire(value) {
        ClientStream::Null => SimpleValue::Null,
        ClientStream::Bool(v) => SimpleValue::Bool(v),
        ClientStream::Ubyte(v) => SimpleValue::Ubyte(v),
        ClientStream::Ushort(v) => SimpleValue::Ushort(v),
        ClientStream::Uint(v) => SimpleValue::Uint(v),
        ClientStream::Ulong(v) => SimpleValue::Ulong(v),
        ClientStream::Byte(v) => SimpleValue::Byte(v),
        ClientStream::Short(v) => SimpleValue::Short(v),
        ClientStream::Int(v) => SimpleValue::Int(v),
        ClientStream::Long(v) => SimpleValue::Long(v),
        ClientStream::Float(v) => SimpleValue::Float(v),
        ClientStream::Double(v) => SimpleValue::Double(v),
        ClientStream::Decimal32(v) => SimpleValue::Decimal32(v),
        ClientStream::Decimal64(v) => SimpleValue::Decimal64(v),
        ClientStream::Decimal128(v) => SimpleValue::Decimal128(v),
        ClientStream::Char(v) => SimpleValue::Char(v),
        ClientStream::Timestamp(v) => SimpleValue::Timestamp(v),
        ClientStream::Uuid(v) => SimpleValue::Uuid(v),
        ClientStream::Binary(v) => SimpleValue::Binary(v),
        ClientStream::String(v) => SimpleValue::String(v),
        ClientStream::Symbol(v) => SimpleValue::Symbol(v),
        ClientStream::Described(v) => SimpleValue::Described(v),
        ClientStream::List(_) | ClientStream::Map(_) | ClientStream::Array(_) => return None,
    })
}
