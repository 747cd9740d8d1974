//! AMQP values in properties, annotations and bodies.

use std::time::SystemTime;

use bytes::Bytes;

/// A value of the AMQP 1.0 type system, as found in properties, annotations and some bodies.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// `boolean`.
    Bool(bool),
    /// `ubyte`.
    U8(u8),
    /// `ushort`.
    U16(u16),
    /// `uint`.
    U32(u32),
    /// `ulong`.
    U64(u64),
    /// `byte`.
    I8(i8),
    /// `short`.
    I16(i16),
    /// `int`.
    I32(i32),
    /// `long`.
    I64(i64),
    /// `float`.
    F32(f32),
    /// `double`.
    F64(f64),
    /// `decimal32`, as its IEEE 754 bytes.
    Decimal32([u8; 4]),
    /// `decimal64`, as its IEEE 754 bytes.
    Decimal64([u8; 8]),
    /// `decimal128`, as its IEEE 754 bytes.
    Decimal128([u8; 16]),
    /// `char`.
    Char(char),
    /// `timestamp`: milliseconds on the wire.
    Timestamp(SystemTime),
    /// `uuid`.
    Uuid([u8; 16]),
    /// `binary`.
    Binary(Bytes),
    /// `string`.
    String(String),
    /// `symbol`.
    Symbol(String),
    /// `list`.
    List(Vec<Value>),
    /// `map`, in the order of the wire.
    Map(Vec<(Value, Value)>),
    /// `array`.
    Array(Vec<Value>),
    /// A value with a descriptor.
    Described {
        /// What describes the value: a symbol or a `ulong` code.
        descriptor: Box<Value>,
        /// The value.
        value: Box<Value>,
    },
}

impl Value {
    /// The text of a string or symbol.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// Any integer that fits, whichever width the sender chose.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::U8(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::U64(n) => n.try_into().ok(),
            Self::I8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    f32 => F32, f64 => F64, char => Char, SystemTime => Timestamp, Bytes => Binary, String => String, &str => String,
    Vec<Value> => List,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_by_value_not_by_width() {
        for value in [Value::U8(7), Value::U64(7), Value::I16(7), Value::I64(7)] {
            assert_eq!(value.as_i64(), Some(7));
        }
        assert_eq!(Value::U64(u64::MAX).as_i64(), None);
        assert_eq!(Value::from("7").as_i64(), None);
    }
}
