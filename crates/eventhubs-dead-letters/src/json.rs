//! An event as JSON (docs/dead-letters.md): readable where it is text, and exact for every type of AMQP.
//!
//! The types mirror those of `eventhubs-types`, so that the format is written down in one place and does not change
//! with them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use eventhubs_types::{EventBody, EventData, Value};
use serde::{Deserialize, Serialize};

use crate::{DeadLetter, Error, ErrorKind, Result};

/// What a letter has of the event and its decoding.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JsonEvent {
    body: JsonBody,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, JsonValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    undecodable_parts: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JsonBody {
    Data(Vec<JsonBytes>),
    Value(JsonValue),
    Sequence(Vec<Vec<JsonValue>>),
    /// `null` where it is the message of the letter, which is nearly always.
    Undecodable(Option<JsonBytes>),
}

/// Bytes: as text where that can be read, else in Base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum JsonBytes {
    Text(String),
    Other {
        #[serde(with = "base64_text")]
        base64: Bytes,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JsonValue {
    Null,
    Bool(bool),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    // As text, since JSON has neither infinity nor a promise about the last digit.
    F32(#[serde(with = "as_text")] f32),
    F64(#[serde(with = "as_text")] f64),
    Decimal32([u8; 4]),
    Decimal64([u8; 8]),
    Decimal128([u8; 16]),
    Char(char),
    /// Milliseconds since 1970.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(#[serde(with = "base64_text")] Bytes),
    String(String),
    Symbol(String),
    List(Vec<JsonValue>),
    Map(Vec<(JsonValue, JsonValue)>),
    Array(Vec<JsonValue>),
    Described {
        descriptor: Box<JsonValue>,
        value: Box<JsonValue>,
    },
}

/// The variants that hold the same on both sides.
macro_rules! mirrored {
    ($($variant:ident),*) => {
        impl From<&Value> for JsonValue {
            fn from(value: &Value) -> Self {
                match value {
                    $(Value::$variant(content) => Self::$variant(content.clone()),)*
                    Value::Null => Self::Null,
                    Value::Timestamp(time) => Self::Timestamp(signed_milliseconds(*time)),
                    Value::List(values) => Self::List(all(values)),
                    Value::Array(values) => Self::Array(all(values)),
                    Value::Map(entries) => {
                        Self::Map(entries.iter().map(|(key, value)| (key.into(), value.into())).collect())
                    }
                    Value::Described { descriptor, value } => Self::Described {
                        descriptor: Box::new((&**descriptor).into()),
                        value: Box::new((&**value).into()),
                    },
                    // A type that AMQP 1.0 does not have: the message of the letter has it all the same.
                    other => Self::String(format!("{other:?}")),
                }
            }
        }

        impl From<JsonValue> for Value {
            fn from(value: JsonValue) -> Self {
                match value {
                    $(JsonValue::$variant(content) => Self::$variant(content),)*
                    JsonValue::Null => Self::Null,
                    JsonValue::Timestamp(millis) => from_milliseconds(millis),
                    JsonValue::List(values) => Self::List(back(values)),
                    JsonValue::Array(values) => Self::Array(back(values)),
                    JsonValue::Map(entries) => {
                        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
                    }
                    JsonValue::Described { descriptor, value } => Self::Described {
                        descriptor: Box::new((*descriptor).into()),
                        value: Box::new((*value).into()),
                    },
                }
            }
        }
    };
}

mirrored!(
    Bool, U8, U16, U32, U64, I8, I16, I32, I64, F32, F64, Decimal32, Decimal64, Decimal128, Char, Uuid,
    Binary, String, Symbol
);

fn all(values: &[Value]) -> Vec<JsonValue> {
    values.iter().map(JsonValue::from).collect()
}

fn back(values: Vec<JsonValue>) -> Vec<Value> {
    values.into_iter().map(Value::from).collect()
}

fn signed_milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

/// A time that this machine cannot hold stays a number, as where the event was decoded.
fn from_milliseconds(millis: i64) -> Value {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.map_or(Value::I64(millis), Value::Timestamp)
}

impl From<&Bytes> for JsonBytes {
    fn from(bytes: &Bytes) -> Self {
        let is_readable =
            |text: &str| !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        match std::str::from_utf8(bytes) {
            Ok(text) if is_readable(text) => Self::Text(text.to_owned()),
            _ => Self::Other { base64: bytes.clone() },
        }
    }
}

impl From<JsonBytes> for Bytes {
    fn from(bytes: JsonBytes) -> Self {
        match bytes {
            JsonBytes::Text(text) => text.into(),
            JsonBytes::Other { base64 } => base64,
        }
    }
}

impl JsonBody {
    fn of(body: &EventBody, message: Option<&Bytes>) -> Self {
        match body {
            EventBody::Data(sections) => Self::Data(sections.iter().map(JsonBytes::from).collect()),
            EventBody::Value(value) => Self::Value(value.into()),
            EventBody::Sequence(lists) => Self::Sequence(lists.iter().map(|list| all(list)).collect()),
            EventBody::Undecodable(bytes) => {
                Self::Undecodable((message != Some(bytes)).then(|| bytes.into()))
            }
            _ => Self::Undecodable(None),
        }
    }

    fn into_body(self, message: Option<&Bytes>) -> EventBody {
        match self {
            Self::Data(sections) => EventBody::Data(sections.into_iter().map(Bytes::from).collect()),
            Self::Value(value) => EventBody::Value(value.into()),
            Self::Sequence(lists) => EventBody::Sequence(lists.into_iter().map(back).collect()),
            Self::Undecodable(bytes) => {
                let bytes = bytes.map(Bytes::from).or_else(|| message.cloned());
                EventBody::Undecodable(bytes.unwrap_or_default())
            }
        }
    }
}

impl From<&DeadLetter> for JsonEvent {
    fn from(letter: &DeadLetter) -> Self {
        let event = letter.event();
        Self {
            body: JsonBody::of(&event.body, letter.message()),
            properties: event.properties.iter().map(|(name, value)| (name.clone(), value.into())).collect(),
            partition_key: event.partition_key.clone(),
            message_id: event.message_id.clone(),
            correlation_id: event.correlation_id.clone(),
            content_type: event.content_type.clone(),
            undecodable_parts: letter.undecodable_parts().to_vec(),
        }
    }
}

impl JsonEvent {
    /// Sets the event of a letter whose message is set already.
    pub(crate) fn put_into(self, letter: DeadLetter) -> DeadLetter {
        let mut event = EventData::with_body(self.body.into_body(letter.message()));
        event.properties = self.properties.into_iter().map(|(name, value)| (name, value.into())).collect();
        event.partition_key = self.partition_key;
        event.message_id = self.message_id;
        event.correlation_id = self.correlation_id;
        event.content_type = self.content_type;
        letter.with_event(event).with_undecodable_parts(self.undecodable_parts)
    }
}

impl DeadLetter {
    /// Returns the event and the names of its undecodable parts as JSON, for sinks that keep the rest of a letter in
    /// columns. `docs/dead-letters.md` describes the format.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when it cannot be written as JSON, which no event that was
    /// received causes.
    pub fn event_as_json(&self) -> Result<String> {
        serde_json::to_string(&JsonEvent::from(self))
            .map_err(|source| Error::new(ErrorKind::InvalidArgument, "the event").with_source(source))
    }

    /// Sets the event and the names of its undecodable parts to what
    /// [`event_as_json`](Self::event_as_json) returned. Set the [message](Self::with_message) before.
    ///
    /// # Errors
    /// [`Malformed`](ErrorKind::Malformed) when the text is no such JSON.
    pub fn with_event_json(self, json: &str) -> Result<Self> {
        let event: JsonEvent = serde_json::from_str(json).map_err(|error| {
            Error::new(ErrorKind::Malformed, "the event").with_source(without_content(&error))
        })?;
        Ok(event.put_into(self))
    }
}

/// Where the JSON is wrong, without what serde quotes of it.
pub(crate) fn without_content(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "JSON of another form",
        _ => "no JSON",
    };
    format!("{what} at column {}", error.column())
}

pub(crate) mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(|_| de::Error::custom("no Base64"))
    }
}

mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| de::Error::custom("no number"))
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_types::ConsumerScope;

    use super::*;

    fn again(body: EventBody, message: Option<&Bytes>) -> (String, EventBody) {
        let scope = ConsumerScope::new("n".parse().unwrap(), "h".parse().unwrap(), "g".parse().unwrap());
        let letter = |body| {
            let (partition, owner) = ("0".parse().unwrap(), "owner".parse().unwrap());
            let letter = DeadLetter::new(scope.clone(), partition, 1, "1", EventData::with_body(body), owner);
            letter.with_message(message.cloned())
        };
        let json = letter(body).event_as_json().unwrap();
        let read = letter(EventBody::default()).with_event_json(&json).unwrap();
        (json, read.event().body.clone())
    }

    /// AMQP values are decoded down to 32 levels, and a map takes the most levels of JSON.
    #[test]
    fn a_value_as_deep_as_any_that_is_decoded_comes_back() {
        let map = |value| Value::Map(vec![("key".into(), value)]);
        let described =
            |value| Value::Described { descriptor: Box::new(Value::U64(1)), value: Box::new(value) };
        let body = EventBody::Value((0..32).fold(Value::Null, |value, _| map(value)));
        assert_eq!(again(body.clone(), None).1, body);
        let body = EventBody::Sequence(vec![vec![(0..32).fold(Value::Null, |value, _| described(value))]]);
        assert_eq!(again(body.clone(), None).1, body);
    }

    #[test]
    fn text_is_readable_and_other_bytes_are_base64() {
        let body =
            EventBody::Data(vec!["{\"°C\":\n21.5}".into(), vec![0xff].into(), "\u{1b}[2J".into(), "".into()]);
        let (json, read) = again(body.clone(), None);
        assert_eq!(read, body);
        let expected = r#"{"body":{"data":["{\"°C\":\n21.5}",{"base64":"/w=="},{"base64":"G1sySg=="},""]}}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn an_undecodable_body_is_written_once() {
        let message = Bytes::from_static(b"message");
        let body = EventBody::Undecodable(message.clone());
        let (json, read) = again(body.clone(), Some(&message));
        assert_eq!((json.as_str(), read), (r#"{"body":{"undecodable":null}}"#, body.clone()));
        assert_eq!(again(body.clone(), Some(&"another".into())).1, body);
    }

    #[test]
    fn numbers_that_json_does_not_have_come_back() {
        for number in [f64::INFINITY, f64::MIN_POSITIVE, 0.1 + 0.2, -0.0] {
            let EventBody::Value(Value::F64(read)) = again(EventBody::Value(number.into()), None).1 else {
                panic!("another value")
            };
            assert_eq!(read.to_bits(), number.to_bits());
        }
        let far = EventBody::Value(Value::I64(i64::MAX));
        assert_eq!(again(far.clone(), None).1, far);
    }
}
