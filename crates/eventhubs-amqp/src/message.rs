//! An encoded message: where its sections are, and what stands in them when somebody asks (contract §6).

use std::collections::BTreeMap;

use bytes::Bytes;
use eventhubs_types::{EventBody, Offset, Value};

use crate::decode::{
    Attributes, ENQUEUED_TIME, Named, OFFSET, SEQUENCE_NUMBER, last_enqueued, missing, offset, time,
};
use crate::scan::Refused;
use crate::wire::{Reader, skip, skip_unseen};
use crate::{ReceivedEvent, Result};

/// The AMQP properties under their names on the wire, in the order of the wire (contract §6.2).
const PROPERTIES: [&str; 13] = [
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
];

/// A message and where its sections are. 0 stands for a section that is not there: none begins at the first byte.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    raw: Bytes,
    delivery_annotations: u32,
    annotations: u32,
    properties: u32,
    application_properties: u32,
    body: Body,
    /// Where the offset stands among the message annotations.
    offset: u32,
}

/// The body sections of a message, which follow each other.
#[derive(Debug, Clone, Copy, Default)]
struct Body {
    kind: Kind,
    first: u32,
    end: u32,
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    None,
    Data,
    Sequence,
    Value,
    /// Nothing in the message may be decoded.
    Poison,
}

/// Makes an event of an encoded message. Only what every reader needs is read now.
///
/// # Errors
/// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) when the sequence number or offset cannot be found: without them
/// no position can be kept.
pub(crate) fn decode(raw: Bytes) -> Result<ReceivedEvent> {
    let mut message = Message::default();
    if message.index(&raw, skip).is_err() {
        // What the service itself wrote is found by the declared sizes alone.
        message = Message::default();
        let _ = message.index(&raw, skip_unseen);
        message.body.kind = Kind::Poison;
    }
    message.raw = raw;
    let position = message.position();
    message.offset = position.offset;
    if !message.has_offset() {
        return Err(missing(OFFSET));
    }
    let number = position.sequence_number.ok_or_else(|| missing(SEQUENCE_NUMBER))?;
    Ok(ReceivedEvent::from_message(message, number, position.enqueued_time.as_ref().and_then(time)))
}

type Skip = fn(&[u8]) -> std::result::Result<usize, Refused>;

/// What is read of every event at once.
#[derive(Debug, Default)]
struct Position {
    sequence_number: Option<i64>,
    enqueued_time: Option<Value>,
    offset: u32,
}

impl Message {
    /// Finds the sections.
    fn index(&mut self, raw: &[u8], skip: Skip) -> std::result::Result<(), Refused> {
        let mut at = 0;
        while at < raw.len() {
            let (code, descriptor) = match &raw[at..] {
                [0x00, 0x53, code, ..] => (*code, 3),
                [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => (*code, 10),
                _ => return Err(Refused::UnknownCode),
            };
            let start = at + descriptor;
            let end = start + skip(&raw[start..])?;
            match code {
                0x75..=0x77 => self.body.add(code, raw[start], short(at)?, short(end)?)?,
                _ => self.section(code, raw[start], short(start)?)?,
            }
            at = end;
        }
        Ok(())
    }

    fn section(&mut self, code: u8, format: u8, start: u32) -> std::result::Result<(), Refused> {
        let slot = match code {
            0x70 | 0x78 => return Ok(()),
            0x71 => &mut self.delivery_annotations,
            0x72 => &mut self.annotations,
            0x73 => &mut self.properties,
            0x74 => &mut self.application_properties,
            _ => return Err(Refused::UnknownCode),
        };
        match (code, format) {
            (_, 0x40) => Ok(()),
            (0x73, 0x45 | 0xc0 | 0xd0) | (0x71 | 0x72 | 0x74, 0xc1 | 0xd1) => {
                *slot = start;
                Ok(())
            }
            _ => Err(Refused::Impossible),
        }
    }

    /// Reads the position among the message annotations. Of a name that stands there twice, the last counts.
    fn position(&self) -> Position {
        let mut position = Position::default();
        let Some(mut at) = start(self.annotations) else {
            return position;
        };
        let mut map = Reader::at(&self.raw, at);
        let Some(count) = map.enter() else { return position };
        at = map.position();
        for _ in 0..count / 2 {
            let Ok(key) = skip_unseen(&self.raw[at..]) else {
                break;
            };
            let (name, value) = (&self.raw[at..at + key], at + key);
            let Ok(length) = skip_unseen(&self.raw[value..]) else {
                break;
            };
            // Declared sizes led here: what is read must be proven sound first.
            let sound = || skip(&self.raw[value..]).is_ok();
            let read = || Reader::at(&self.raw, value).value();
            match symbol(name) {
                Some(SEQUENCE_NUMBER) if sound() => {
                    position.sequence_number = read().and_then(|n| n.as_i64());
                }
                Some(ENQUEUED_TIME) if sound() => position.enqueued_time = read(),
                Some(OFFSET) if sound() => position.offset = short(value).unwrap_or_default(),
                _ => {}
            }
            at = value + length;
        }
        position
    }

    /// Whether there is an offset, of a type that can be read as one.
    fn has_offset(&self) -> bool {
        match start(self.offset).map(|at| self.raw[at]) {
            Some(0xa1 | 0xa3 | 0xb1 | 0xb3) => true,
            Some(_) => self.offset().is_some(),
            None => false,
        }
    }

    pub(crate) fn offset(&self) -> Option<Offset> {
        let mut reader = Reader::at(&self.raw, start(self.offset)?);
        reader.value().and_then(offset)
    }

    pub(crate) fn has_head(&self) -> bool {
        self.delivery_annotations != 0 && self.body.kind != Kind::Poison
    }

    /// The bytes of the only data section.
    pub(crate) fn data(&self) -> Option<Bytes> {
        if self.body.kind != Kind::Data || self.body.count != 1 {
            return None;
        }
        let first = self.body.first as usize;
        let descriptor = if self.raw[first + 1] == 0x53 { 3 } else { 10 };
        let mut reader = Reader::at(&self.raw, first + descriptor);
        let code = reader.byte()?;
        reader.binary(code)
    }

    pub(crate) fn body(&self) -> EventBody {
        match self.body.kind {
            Kind::None => EventBody::default(),
            Kind::Data => EventBody::Data(self.sections(binary)),
            Kind::Sequence => EventBody::Sequence(self.sections(list)),
            Kind::Value => EventBody::Value(self.sections(Some).pop().unwrap_or_default()),
            Kind::Poison => EventBody::Undecodable(self.raw.clone()),
        }
    }

    fn sections<T>(&self, content: fn(Value) -> Option<T>) -> Vec<T> {
        let mut reader = Reader::at(&self.raw, self.body.first as usize);
        let inside = |value| match value {
            Value::Described { value, .. } => content(*value),
            _ => None,
        };
        (0..self.body.count).filter_map(|_| reader.value().and_then(inside)).collect()
    }

    pub(crate) fn attributes(&self) -> Attributes {
        if self.body.kind == Kind::Poison {
            return Attributes::default();
        }
        let head = self.map(self.delivery_annotations);
        let properties = start(self.properties).and_then(|at| {
            let mut list = Reader::at(&self.raw, at);
            let count = list.enter()?;
            let named = PROPERTIES.iter().take(count).map_while(|name| Some((*name, list.value()?)));
            let set = named.filter(|(_, value)| *value != Value::Null);
            Some(set.map(|(name, value)| (name.to_owned(), value)).collect())
        });
        Attributes::new(
            self.map(self.annotations),
            properties.unwrap_or_default(),
            self.map(self.application_properties),
            last_enqueued(&head),
        )
    }

    fn map(&self, at: u32) -> Named {
        let read = || {
            let mut map = Reader::at(&self.raw, start(at)?);
            let pairs = map.enter()? / 2;
            let pair = |_| Some((name(map.value()?), map.value()?));
            Some((0..pairs).map_while(pair).collect::<BTreeMap<_, _>>())
        };
        read().unwrap_or_default()
    }
}

impl Body {
    /// One more section, in this format.
    fn add(&mut self, code: u8, format: u8, start: u32, end: u32) -> std::result::Result<(), Refused> {
        let kind = match (code, format) {
            (0x75, 0xa0 | 0xb0) => Kind::Data,
            (0x76, 0x45 | 0xc0 | 0xd0) => Kind::Sequence,
            (0x77, _) => Kind::Value,
            _ => return Err(Refused::Impossible),
        };
        match self.kind {
            Kind::None => {
                *self = Self { kind, first: start, end, count: 1 };
            }
            same if same == kind && kind != Kind::Value && self.end == start => {
                self.end = end;
                self.count += 1;
            }
            _ => return Err(Refused::Impossible),
        }
        Ok(())
    }
}

/// Where a section or value is, if it is there.
fn start(at: u32) -> Option<usize> {
    (at != 0).then_some(at as usize)
}

fn short(at: usize) -> std::result::Result<u32, Refused> {
    u32::try_from(at).map_err(|_| Refused::BadSize)
}

fn symbol(encoded: &[u8]) -> Option<&str> {
    match encoded {
        [0xa3, _, symbol @ ..] | [0xb3, _, _, _, _, symbol @ ..] => str::from_utf8(symbol).ok(),
        _ => None,
    }
}

fn binary(value: Value) -> Option<Bytes> {
    match value {
        Value::Binary(bytes) => Some(bytes),
        _ => None,
    }
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::List(values) => Some(values),
        _ => None,
    }
}

/// The name that a key stands for.
fn name(key: Value) -> String {
    match key {
        Value::String(name) | Value::Symbol(name) => name,
        Value::U64(code) => code.to_string(),
        other => format!("{other:?}"),
    }
}
