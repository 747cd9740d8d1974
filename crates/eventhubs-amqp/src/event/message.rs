//! An encoded message: where its sections are, and what they hold, read on demand.
//!
//! Tests: below; `tap/tests.rs` and the fuzz target `message` against the AMQP library.

use bytes::Bytes;
use eventhubs_amqp_frames::format::{
    BINARY8, BINARY32, DESCRIBED, LIST0, LIST8, LIST32, MAP8, MAP32, NULL, SMALL_ULONG, ULONG,
};
use eventhubs_amqp_frames::{Refused, element_length, value_length};
use eventhubs_types::{EventBody, Value};

use crate::RawMessage;
use crate::event::attributes::{Attributes, Named, last_enqueued};
use crate::event::descriptor::{
    APPLICATION_PROPERTIES, DATA, DELIVERY_ANNOTATIONS, FOOTER, HEADER, MESSAGE_ANNOTATIONS, PROPERTIES,
    SEQUENCE, VALUE,
};
use crate::event::position::Position;
use crate::event::reader::Reader;

/// The AMQP properties under their names on the wire, in the order of the wire (docs/contract.md §6.2).
const PROPERTY_NAMES: [&str; 13] = [
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

/// Where the sections of a message are. 0 means that a section is absent: none begins at the first byte.
#[derive(Debug, Clone, Copy, Default)]
struct Sections {
    /// The sections of which not all can be decoded, as [`bit`]s.
    unsound: u8,
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

impl Sections {
    /// Goes through a message, and reads its position on the way.
    fn find<const SOUND: bool>(&mut self, raw: &Bytes, position: &mut Position) -> Result<(), Refused> {
        let mut at = 0;
        // No index below can be out of bounds: each length was checked against the bytes that are left.
        while at < raw.len() {
            let (code, descriptor) = match &raw[at..] {
                [DESCRIBED, SMALL_ULONG, code, ..] => (*code, 3),
                [DESCRIBED, ULONG, 0, 0, 0, 0, 0, 0, 0, code, ..] => (*code, 10),
                _ => return Err(Refused::UnknownCode),
            };
            let start = at + descriptor;
            let end = match (code, raw.get(start)) {
                (MESSAGE_ANNOTATIONS, Some(&(MAP8 | MAP32))) => position.read::<SOUND>(raw, start)?,
                _ => start + value_length::<SOUND>(&raw[start..])?,
            };
            // Sizes that are believed may lead over damage: then this section alone is marked.
            let is_sound = SOUND || value_length::<true>(&raw[start..end]) == Ok(end - start);
            let known = match code {
                DATA..=VALUE => self.body.add(code, raw[start], short(at)?, short(end)?),
                _ => self.section(code, raw[start], short(start)?),
            };
            match known {
                Err(refused) if SOUND => return Err(refused),
                Ok(()) if is_sound => {}
                _ => self.mark_unsound(code),
            }
            at = end;
        }
        Ok(())
    }

    /// One part that cannot be decoded does not hide the others. A section that is not known is passed over.
    fn mark_unsound(&mut self, code: u8) {
        match code {
            DATA..=VALUE => self.body.kind = Kind::Poison,
            DELIVERY_ANNOTATIONS..=APPLICATION_PROPERTIES => self.unsound |= bit(code),
            _ => {}
        }
    }

    fn is_unsound(&self, code: u8) -> bool {
        self.unsound & bit(code) != 0
    }

    fn section(&mut self, code: u8, format: u8, start: u32) -> Result<(), Refused> {
        let slot = match code {
            HEADER | FOOTER => return Ok(()),
            DELIVERY_ANNOTATIONS => &mut self.delivery_annotations,
            MESSAGE_ANNOTATIONS => &mut self.annotations,
            PROPERTIES => &mut self.properties,
            APPLICATION_PROPERTIES => &mut self.application_properties,
            _ => return Err(Refused::UnknownCode),
        };
        match (code, format) {
            (_, NULL) => Ok(()),
            (PROPERTIES, LIST0 | LIST8 | LIST32)
            | (DELIVERY_ANNOTATIONS | MESSAGE_ANNOTATIONS | APPLICATION_PROPERTIES, MAP8 | MAP32) => {
                *slot = start;
                Ok(())
            }
            _ => Err(Refused::Impossible),
        }
    }
}

impl Message {
    /// Finds the sections of an encoded message, and reads its position on the way. Nothing else is read now.
    #[inline]
    pub(crate) fn locate(raw: Bytes) -> (Self, Position) {
        let (mut sections, mut position) = (Sections::default(), Position::default());
        if sections.find::<true>(&raw, &mut position).is_err() {
            // The declared sizes alone lead to what the service itself wrote, and to every part that is
            // sound.
            (sections, position) = (Sections::default(), Position::default());
            if sections.find::<false>(&raw, &mut position).is_err() {
                sections =
                    Sections { body: Body { kind: Kind::Poison, ..Body::default() }, ..Sections::default() };
            }
        }
        (Self { raw, sections }, position)
    }

    /// As it came, if it did.
    pub(crate) fn raw(&self) -> Option<RawMessage> {
        (!self.raw.is_empty()).then(|| RawMessage::from(self.raw.clone()))
    }

    pub(crate) fn has_application_properties(&self) -> bool {
        self.sections.application_properties != 0
    }

    pub(crate) fn has_head(&self) -> bool {
        self.sections.delivery_annotations != 0
    }

    /// The bytes of the only data section.
    pub(crate) fn data(&self) -> Option<Bytes> {
        if self.sections.body.kind != Kind::Data || self.sections.body.count != 1 {
            return None;
        }
        let first = self.sections.body.first as usize;
        let descriptor = if self.raw[first + 1] == SMALL_ULONG { 3 } else { 10 };
        let mut reader = Reader::at(&self.raw, first + descriptor);
        match reader.byte()? {
            NULL => Some(Bytes::new()),
            code => reader.binary(code),
        }
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
        let mut lost = Vec::new();
        if self.sections.body.kind == Kind::Poison {
            lost.push("body".to_owned());
        }
        let head = self.map(DELIVERY_ANNOTATIONS, self.sections.delivery_annotations, &mut lost);
        let annotations = self.map(MESSAGE_ANNOTATIONS, self.sections.annotations, &mut lost);
        let properties = self.properties(&mut lost).unwrap_or_default();
        let application = self.map(APPLICATION_PROPERTIES, self.sections.application_properties, &mut lost);
        Attributes { lost, ..Attributes::new(annotations, properties, application, last_enqueued(&head)) }
    }

    fn properties(&self, lost: &mut Vec<String>) -> Option<Named> {
        let mut fields = Reader::at(&self.raw, start(self.sections.properties)?);
        let count = fields.enter()?;
        let mut named = Named::new();
        for field in PROPERTY_NAMES.iter().take(count) {
            match self.next(PROPERTIES, &mut fields)? {
                Ok(Value::Null) => {}
                Ok(value) => drop(named.insert((*field).to_owned(), value)),
                Err(Lost) => lost.push(format!("property {field}")),
            }
        }
        Some(named)
    }

    fn map(&self, code: u8, at: u32, lost: &mut Vec<String>) -> Named {
        self.entries(code, at, lost).unwrap_or_default()
    }

    fn entries(&self, code: u8, at: u32, lost: &mut Vec<String>) -> Option<Named> {
        let mut map = Reader::at(&self.raw, start(at)?);
        let pairs = map.enter()? / 2;
        let mut named = Named::new();
        for _ in 0..pairs {
            let Some((key, value)) = self.next(code, &mut map).zip(self.next(code, &mut map)) else {
                lost.push(format!("the rest of the {}", section_name(code)));
                break;
            };
            match (key, value) {
                (Ok(key), Ok(value)) => drop(named.insert(name(key), value)),
                (Ok(key), Err(Lost)) => {
                    lost.push(format!("{} {}", section_name(code), name(key)));
                }
                (Err(Lost), _) => {
                    lost.push(format!("a name among the {}", section_name(code)));
                }
            }
        }
        Some(named)
    }

    /// The next value of a section: of one that is not sound as a whole, only if the value itself is. `None`
    /// where the declared sizes lead nowhere.
    fn next(&self, code: u8, reader: &mut Reader<'_>) -> Option<Result<Value, Lost>> {
        if !self.sections.is_unsound(code) {
            return reader.value().map(Ok);
        }
        let rest = reader.rest();
        let length = element_length::<false>(rest).ok().filter(|length| *length <= rest.len())?;
        if element_length::<true>(&rest[..length]) == Ok(length) {
            return reader.value().map(Ok);
        }
        reader.pass_over(length);
        Some(Err(Lost))
    }
}

impl Body {
    /// One more section, in this format.
    fn add(&mut self, code: u8, format: u8, start: u32, end: u32) -> Result<(), Refused> {
        let kind = match (code, format) {
            // Some senders write null for nothing: the JavaScript SDK for a body of null.
            (DATA, NULL | BINARY8 | BINARY32) => Kind::Data,
            (SEQUENCE, NULL | LIST0 | LIST8 | LIST32) => Kind::Sequence,
            (VALUE, _) => Kind::Value,
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

/// A value that cannot be decoded.
struct Lost;

/// What users call the sections, from that of the delivery annotations on.
const SECTIONS: [&str; 4] = ["delivery annotations", "annotations", "properties", "application properties"];

fn section_name(code: u8) -> &'static str {
    SECTIONS[usize::from(code - DELIVERY_ANNOTATIONS)]
}

/// The bit of one of the sections that have a name.
fn bit(code: u8) -> u8 {
    1 << (code - DELIVERY_ANNOTATIONS)
}

/// Where a section or value is, if it is there.
fn start(at: u32) -> Option<usize> {
    (at != 0).then_some(at as usize)
}

fn short(at: usize) -> Result<u32, Refused> {
    u32::try_from(at).map_err(|_| Refused::BadSize)
}

fn binary(value: Value) -> Option<Bytes> {
    match value {
        Value::Binary(bytes) => Some(bytes),
        Value::Null => Some(Bytes::new()),
        _ => None,
    }
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::List(values) => Some(values),
        Value::Null => Some(Vec::new()),
        _ => None,
    }
}

/// The name of an annotation key.
fn name(key: Value) -> String {
    match key {
        Value::String(name) | Value::Symbol(name) => name,
        Value::U64(code) => code.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::ReceivedEvent;
    use crate::event::received::decode;

    /// A described section around an encoded value.
    fn section_of(code: u8, value: &[u8]) -> Vec<u8> {
        [&[0x00, 0x53, code], value].concat()
    }

    fn map_of(entries: &[&[u8]]) -> Vec<u8> {
        let content = entries.concat();
        let size = u8::try_from(content.len() + 1).unwrap();
        [&[0xc1, size, u8::try_from(entries.len()).unwrap()], &content[..]].concat()
    }

    fn list_of(values: &[&[u8]]) -> Vec<u8> {
        [&[0xc0], &map_of(values)[1..]].concat()
    }

    fn text(code: u8, text: &[u8]) -> Vec<u8> {
        [&[code, u8::try_from(text.len()).unwrap()], text].concat()
    }

    /// An event with these sections after its position.
    fn event(sections: &[Vec<u8>]) -> ReceivedEvent {
        let position = map_of(&[
            &text(0xa3, b"x-opt-sequence-number"),
            &[0x55, 7],
            &text(0xa3, b"x-opt-offset"),
            &text(0xa1, b"70"),
        ]);
        decode([section_of(0x72, &position), sections.concat()].concat().into()).unwrap()
    }

    fn application(entries: &[&[u8]]) -> Vec<u8> {
        section_of(0x74, &map_of(entries))
    }

    const BAD_TEXT: &[u8] = &[0xa1, 1, 0xff];

    #[test]
    fn a_null_body_is_an_empty_one_and_hides_nothing() {
        let properties = application(&[&text(0xa1, b"colour"), &text(0xa1, b"red")]);
        for (code, body) in [
            (0x75, EventBody::Data(vec![Bytes::new()])),
            (0x76, EventBody::Sequence(vec![Vec::new()])),
            (0x77, EventBody::Value(Value::Null)),
        ] {
            let event = event(&[properties.clone(), section_of(code, &[NULL])]);
            assert_eq!(event.body(), &body);
            assert_eq!(event.properties()["colour"], "red".into());
            assert!(event.undecodable_parts().is_empty());
        }
        assert_eq!(event(&[section_of(0x75, &[NULL])]).body_as_str().unwrap(), "");
    }

    /// Docs/events.md has the same table for users.
    #[test]
    fn every_type_has_a_value_of_its_own_wherever_it_stands() {
        let nine = [0, 0, 0, 0, 0, 0, 0, 9];
        let wide = |code: u8, bytes: &[u8]| [&[code], bytes].concat();
        for (encoded, value) in [
            (vec![0x40], Value::Null),
            (vec![0x41], Value::Bool(true)),
            (vec![0x56, 0], Value::Bool(false)),
            (vec![0x50, 9], Value::U8(9)),
            (vec![0x60, 0, 9], Value::U16(9)),
            (vec![0x52, 9], Value::U32(9)),
            (vec![0x53, 9], Value::U64(9)),
            (vec![0x51, 0xff], Value::I8(-1)),
            (vec![0x61, 0xff, 0xff], Value::I16(-1)),
            (vec![0x54, 0xff], Value::I32(-1)),
            (vec![0x55, 0xff], Value::I64(-1)),
            (wide(0x72, &1.5_f32.to_be_bytes()), Value::F32(1.5)),
            (wide(0x82, &1.5_f64.to_be_bytes()), Value::F64(1.5)),
            (wide(0x74, &[1, 2, 3, 4]), Value::Decimal32([1, 2, 3, 4])),
            (wide(0x84, &nine), Value::Decimal64(nine)),
            (wide(0x94, &[9; 16]), Value::Decimal128([9; 16])),
            (wide(0x73, &u32::from('ß').to_be_bytes()), Value::Char('ß')),
            (wide(0x83, &nine), Value::Timestamp(UNIX_EPOCH + Duration::from_millis(9))),
            (wide(0x98, &[9; 16]), Value::Uuid([9; 16])),
            (text(0xa0, &[0xff]), Value::Binary(vec![0xff].into())),
            (text(0xa1, "ß".as_bytes()), Value::String("ß".to_owned())),
            (text(0xa3, b"s"), Value::Symbol("s".to_owned())),
            (list_of(&[&[0x41]]), Value::List(vec![Value::Bool(true)])),
            (map_of(&[&[0x41], &[0x42]]), Value::Map(vec![(Value::Bool(true), Value::Bool(false))])),
            (vec![0xe0, 4, 2, 0x50, 8, 9], Value::Array(vec![Value::U8(8), Value::U8(9)])),
            (vec![0xe0, 2, 0, 0x50], Value::Array(Vec::new())),
        ] {
            let key = text(0xa3, b"key");
            let event = event(&[
                section_of(0x71, &map_of(&[&key, &encoded])),
                section_of(0x73, &list_of(&[&[0x40], &[0x40], &encoded])),
                application(&[&key, &encoded]),
                section_of(0x77, &encoded),
                section_of(0x78, &map_of(&[&key, &encoded])),
            ]);
            assert_eq!(event.properties()["key"], value);
            assert_eq!(event.body(), &EventBody::Value(value.clone()));
            assert_eq!(
                event.system_properties().get("to"),
                Some(&value).filter(|value| **value != Value::Null)
            );
            assert!(event.undecodable_parts().is_empty(), "{value:?}");
        }
    }

    #[test]
    fn one_property_that_cannot_be_decoded_hides_no_other() {
        let event = event(&[
            section_of(0x73, &list_of(&[&text(0xa1, b"id"), &[0x40], BAD_TEXT])),
            application(&[&text(0xa1, b"good"), &[0x41], &text(0xa1, b"bad"), BAD_TEXT, BAD_TEXT, &[0x41]]),
            section_of(0x75, &text(0xa0, b"body")),
        ]);
        assert_eq!(event.body_as_str().unwrap(), "body");
        assert_eq!(event.message_id(), Some("id"));
        assert_eq!(event.properties().keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(
            event.undecodable_parts(),
            ["property to", "application properties bad", "a name among the application properties"]
        );
    }

    #[test]
    fn a_body_that_cannot_be_decoded_hides_no_property() {
        let too_many = [&[0xd0, 0, 2, 0, 4, 0, 1, 0, 1][..], &vec![0x41; 0x2_0000]].concat();
        for body in [section_of(0x76, &too_many), section_of(0x77, BAD_TEXT), section_of(0x75, &[0x41])] {
            let event = event(&[application(&[&text(0xa1, b"colour"), &[0x41]]), body]);
            assert!(matches!(event.body(), EventBody::Undecodable(_)), "{:?}", event.body());
            assert_eq!(event.properties()["colour"], Value::Bool(true));
            assert_eq!(event.undecodable_parts(), ["body"]);
        }
    }

    #[test]
    fn a_section_that_is_not_known_is_passed_over() {
        let event = event(&[section_of(0x79, &[0x41]), section_of(0x75, &text(0xa0, b"body"))]);
        assert_eq!(event.body_as_str().unwrap(), "body");
    }

    #[test]
    fn json_may_begin_with_a_byte_order_mark() {
        let event = event(&[section_of(0x75, &text(0xa0, "\u{feff}[1, 2]".as_bytes()))]);
        assert_eq!(event.body_as_json::<Vec<u8>>().unwrap(), [1, 2]);
    }
}
