//! AMQP values of the AMQP library as values of `eventhubs-types`.
//!
//! Tests: `tap/tests.rs`, by messages with values of all types.

use eventhubs_types::Value;
use serde_amqp::Value as Amqp;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use crate::event::reader::from_millis;

/// The same value; a timestamp beyond what [`SystemTime`](std::time::SystemTime) holds stays a number.
///
/// Recursion is safe: nothing deeper than [`MAX_DEPTH`](eventhubs_amqp_frames::MAX_DEPTH) was let in.
pub(crate) fn from_amqp(value: Amqp) -> Value {
    match value {
        Amqp::Null => Value::Null,
        Amqp::Bool(flag) => Value::Bool(flag),
        Amqp::Ubyte(number) => Value::U8(number),
        Amqp::Ushort(number) => Value::U16(number),
        Amqp::Uint(number) => Value::U32(number),
        Amqp::Ulong(number) => Value::U64(number),
        Amqp::Byte(number) => Value::I8(number),
        Amqp::Short(number) => Value::I16(number),
        Amqp::Int(number) => Value::I32(number),
        Amqp::Long(number) => Value::I64(number),
        Amqp::Float(number) => Value::F32(number.into_inner()),
        Amqp::Double(number) => Value::F64(number.into_inner()),
        Amqp::Decimal32(number) => Value::Decimal32(number.into_inner()),
        Amqp::Decimal64(number) => Value::Decimal64(number.into_inner()),
        Amqp::Decimal128(number) => Value::Decimal128(number.into_inner()),
        Amqp::Char(character) => Value::Char(character),
        Amqp::Timestamp(time) => {
            let millis = time.into_inner();
            from_millis(millis).map_or(Value::I64(millis), Value::Timestamp)
        }
        Amqp::Uuid(uuid) => Value::Uuid(uuid.into_inner()),
        Amqp::Binary(bytes) => Value::Binary(bytes.into_vec().into()),
        Amqp::String(text) => Value::String(text),
        Amqp::Symbol(symbol) => Value::Symbol(symbol.0),
        Amqp::List(values) => Value::List(values.into_iter().map(from_amqp).collect()),
        Amqp::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(k, v)| (from_amqp(k), from_amqp(v))).collect())
        }
        Amqp::Array(values) => Value::Array(values.0.into_iter().map(from_amqp).collect()),
        Amqp::Described(described) => from_described(*described),
    }
}

fn from_described(described: Described<Amqp>) -> Value {
    let descriptor = match described.descriptor {
        Descriptor::Name(name) => Value::Symbol(name.0),
        Descriptor::Code(code) => Value::U64(code),
    };
    Value::Described { descriptor: Box::new(descriptor), value: Box::new(from_amqp(described.value)) }
}
