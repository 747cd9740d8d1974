//! An encoded message: where its sections are, and what stands in them when somebody asks (contract §6).

use std::collections::BTreeMap;

use bytes::Bytes;
use eventhubs_types::{EventBody, Value};

use crate::decode::{Attributes, Named, OFFSET, SEQUENCE_NUMBER, last_enqueued, missing};
use crate::position::Position;
use crate::scan::Refused;
use crate::wire::{Reader, section};
use crate::{RawMessage, ReceivedEvent, Result};

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

/// An encoded message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    raw: Bytes,
    sections: Sections,
}

/// Where the sections of a message are. 0 stands for one that is not there: none begins at the first byte.
#[derive(Debug, Clone, Copy, Default)]
struct Sections {
    delivery_annotations: u32,
    annotations: u32,
    properties: u32,
    application_properties: u32,
    body: Body,
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
    let (mut sections, mut position) = (Sections::default(), Position::default());
    if sections.find::<true>(&raw, &mut position).is_err() {
        // What the service itself wrote is found by the declared sizes alone.
        (sections, position) = (Sections::default(), Position::default());
        let _ = sections.find::<false>(&raw, &mut position);
        sections.body.kind = Kind::Poison;
    }
    let offset = position.offset.ok_or_else(|| missing(OFFSET))?;
    let number = position.sequence_number.ok_or_else(|| missing(SEQUENCE_NUMBER))?;
    Ok(ReceivedEvent::from_message(Message { raw, sections }, offset, number, position.enqueued_time))
}

impl Sections {
    /// Goes through a message, and reads its position on the way.
    fn find<const SOUND: bool>(
        &mut self,
        raw: &Bytes,
        position: &mut Position,
    ) -> std::result::Result<(), Refused> {
        let mut at = 0;
        while at < raw.len() {
            let (code, descriptor) = match &raw[at..] {
                [0x00, 0x53, code, ..] => (*code, 3),
                [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => (*code, 10),
                _ => return Err(Refused::UnknownCode),
            };
            let start = at + descriptor;
            let end = match (code, raw.get(start)) {
                (0x72, Some(0xc1 | 0xd1)) => position.read::<SOUND>(raw, start)?,
                _ => start + section::<SOUND>(&raw[start..])?,
            };
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
}

impl Message {
    /// As it came, if it did.
    pub(crate) fn raw(&self) -> Option<RawMessage> {
        (!self.raw.is_empty()).then(|| RawMessage::new(self.raw.clone()))
    }

    pub(crate) fn has_head(&self) -> bool {
        self.sections.delivery_annotations != 0 && self.sections.body.kind != Kind::Poison
    }

    /// The bytes of the only data section.
    pub(crate) fn data(&self) -> Option<Bytes> {
        if self.sections.body.kind != Kind::Data || self.sections.body.count != 1 {
            return None;
        }
        let first = self.sections.body.first as usize;
        let descriptor = if self.raw[first + 1] == 0x53 { 3 } else { 10 };
        let mut reader = Reader::at(&self.raw, first + descriptor);
        let code = reader.byte()?;
        reader.binary(code)
    }

    pub(crate) fn body(&self) -> EventBody {
        match self.sections.body.kind {
            Kind::None => EventBody::default(),
            Kind::Data => EventBody::Data(self.sections(binary)),
            Kind::Sequence => EventBody::Sequence(self.sections(list)),
            Kind::Value => EventBody::Value(self.sections(Some).pop().unwrap_or_default()),
            Kind::Poison => EventBody::Undecodable(self.raw.clone()),
        }
    }

    fn sections<T>(&self, content: fn(Value) -> Option<T>) -> Vec<T> {
        let mut reader = Reader::at(&self.raw, self.sections.body.first as usize);
        let inside = |value| match value {
            Value::Described { value, .. } => content(*value),
            _ => None,
        };
        (0..self.sections.body.count).filter_map(|_| reader.value().and_then(inside)).collect()
    }

    pub(crate) fn attributes(&self) -> Attributes {
        if self.sections.body.kind == Kind::Poison {
            return Attributes::default();
        }
        let head = self.map(self.sections.delivery_annotations);
        let properties = start(self.sections.properties).and_then(|at| {
            let mut list = Reader::at(&self.raw, at);
            let count = list.enter()?;
            let named = PROPERTIES.iter().take(count).map_while(|name| Some((*name, list.value()?)));
            let set = named.filter(|(_, value)| *value != Value::Null);
            Some(set.map(|(name, value)| (name.to_owned(), value)).collect())
        });
        Attributes::new(
            self.map(self.sections.annotations),
            properties.unwrap_or_default(),
            self.map(self.sections.application_properties),
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
