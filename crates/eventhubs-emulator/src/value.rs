//! The values of the public API in the types of the AMQP library.

use bytes::Bytes;
use eventhubs_types::Value;
use fe2o3_amqp_types::primitives::{
    Array, Dec32, Dec64, Dec128, OrderedMap, SimpleValue, Symbol, Timestamp, Uuid, Value as Wire,
};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::Binary;

use crate::clock;

pub(crate) fn to_wire(value: Value) -> Wire {
    match value {
        Value::Bool(v) => Wire::Bool(v),
        Value::U8(v) => Wire::Ubyte(v),
        Value::U16(v) => Wire::Ushort(v),
        Value::U32(v) => Wire::Uint(v),
        Value::U64(v) => Wire::Ulong(v),
        Value::I8(v) => Wire::Byte(v),
        Value::I16(v) => Wire::Short(v),
        Value::I32(v) => Wire::Int(v),
        Value::I64(v) => Wire::Long(v),
        Value::F32(v) => Wire::from(v),
        Value::F64(v) => Wire::from(v),
        Value::Decimal32(v) => Wire::Decimal32(Dec32::from(v)),
        Value::Decimal64(v) => Wire::Decimal64(Dec64::from(v)),
        Value::Decimal128(v) => Wire::Decimal128(Dec128::from(v)),
        Value::Char(v) => Wire::Char(v),
        Value::Timestamp(v) => Wire::Timestamp(Timestamp::from(clock::to_ms(v))),
        Value::Uuid(v) => Wire::Uuid(Uuid::from(v)),
        Value::Binary(v) => Wire::Binary(Binary::from(v.to_vec())),
        Value::String(v) => Wire::String(v),
        Value::Symbol(v) => Wire::Symbol(Symbol::from(v)),
        Value::List(v) => Wire::List(v.into_iter().map(to_wire).collect()),
        Value::Map(v) => {
            Wire::Map(v.into_iter().map(|(k, v)| (to_wire(k), to_wire(v))).collect::<OrderedMap<_, _>>())
        }
        Value::Array(v) => Wire::Array(Array(v.into_iter().map(to_wire).collect())),
        Value::Described { descriptor, value } => described(*descriptor, *value),
        _ => Wire::Null,
    }
}

fn described(descriptor: Value, value: Value) -> Wire {
    let descriptor = match descriptor {
        Value::U64(code) => Descriptor::Code(code),
        other => Descriptor::Name(Symbol::from(other.as_str().unwrap_or_default())),
    };
    Wire::Described(Box::new(Described { descriptor, value: to_wire(value) }))
}

/// The opposite of [`to_wire`].
pub(crate) fn from_wire(value: &Wire) -> Value {
    let all = |values: &[Wire]| values.iter().map(from_wire).collect();
    match value {
        Wire::Bool(v) => Value::Bool(*v),
        Wire::Ubyte(v) => Value::U8(*v),
        Wire::Ushort(v) => Value::U16(*v),
        Wire::Uint(v) => Value::U32(*v),
        Wire::Ulong(v) => Value::U64(*v),
        Wire::Byte(v) => Value::I8(*v),
        Wire::Short(v) => Value::I16(*v),
        Wire::Int(v) => Value::I32(*v),
        Wire::Long(v) => Value::I64(*v),
        Wire::Float(v) => Value::F32(v.into_inner()),
        Wire::Double(v) => Value::F64(v.into_inner()),
        Wire::Decimal32(v) => Value::Decimal32(v.clone().into_inner()),
        Wire::Decimal64(v) => Value::Decimal64(v.clone().into_inner()),
        Wire::Decimal128(v) => Value::Decimal128(v.clone().into_inner()),
        Wire::Char(v) => Value::Char(*v),
        Wire::Timestamp(v) => clock::from_ms(v.milliseconds()).map_or(Value::Null, Value::Timestamp),
        Wire::Uuid(v) => Value::Uuid(v.clone().into_inner()),
        Wire::Binary(v) => Value::Binary(Bytes::copy_from_slice(v)),
        Wire::String(v) => Value::String(v.clone()),
        Wire::Symbol(v) => Value::Symbol(v.as_str().to_owned()),
        Wire::List(v) => Value::List(all(v)),
        Wire::Map(v) => Value::Map(v.iter().map(|(k, v)| (from_wire(k), from_wire(v))).collect()),
        Wire::Array(v) => Value::Array(all(&v.0)),
        Wire::Described(v) => {
            let descriptor = match &v.descriptor {
                Descriptor::Code(code) => Value::U64(*code),
                Descriptor::Name(name) => Value::Symbol(name.as_str().to_owned()),
            };
            Value::Described { descriptor: Box::new(descriptor), value: Box::new(from_wire(&v.value)) }
        }
        Wire::Null => Value::Null,
    }
}

/// An application property: AMQP allows no list, map or array there.
pub(crate) fn to_simple(value: Value) -> Option<SimpleValue> {
    Some(match to_wire(value) {
        Wire::Null => SimpleValue::Null,
        Wire::Bool(v) => SimpleValue::Bool(v),
        Wire::Ubyte(v) => SimpleValue::Ubyte(v),
        Wire::Ushort(v) => SimpleValue::Ushort(v),
        Wire::Uint(v) => SimpleValue::Uint(v),
        Wire::Ulong(v) => SimpleValue::Ulong(v),
        Wire::Byte(v) => SimpleValue::Byte(v),
        Wire::Short(v) => SimpleValue::Short(v),
        Wire::Int(v) => SimpleValue::Int(v),
        Wire::Long(v) => SimpleValue::Long(v),
        Wire::Float(v) => SimpleValue::Float(v),
        Wire::Double(v) => SimpleValue::Double(v),
        Wire::Decimal32(v) => SimpleValue::Decimal32(v),
        Wire::Decimal64(v) => SimpleValue::Decimal64(v),
        Wire::Decimal128(v) => SimpleValue::Decimal128(v),
        Wire::Char(v) => SimpleValue::Char(v),
        Wire::Timestamp(v) => SimpleValue::Timestamp(v),
        Wire::Uuid(v) => SimpleValue::Uuid(v),
        Wire::Binary(v) => SimpleValue::Binary(v),
        Wire::String(v) => SimpleValue::String(v),
        Wire::Symbol(v) => SimpleValue::Symbol(v),
        Wire::Described(v) => SimpleValue::Described(v),
        Wire::List(_) | Wire::Map(_) | Wire::Array(_) => return None,
    })
}
