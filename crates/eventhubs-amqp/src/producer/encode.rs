//! An event as an AMQP message (AMQP 1.0 part 3, §3.2).
//!
//! Tests: `tests/it/produce.rs`, read back by the receiver.

use std::time::UNIX_EPOCH;

use bytes::BufMut;
use eventhubs_types::{EventBody, EventData, Value};

pub(super) const PARTITION_KEY: &str = "x-opt-partition-key";

pub(super) const MESSAGE_ANNOTATIONS: u8 = 0x72;
const PROPERTIES: u8 = 0x73;
pub(super) const APPLICATION_PROPERTIES: u8 = 0x74;
pub(super) const DATA: u8 = 0x75;

const NULL: u8 = 0x40;
const LIST: u8 = 0xd0;
pub(super) const MAP: u8 = 0xd1;
const BINARY: u8 = 0xb0;
const STRING: u8 = 0xb1;
const SYMBOL: u8 = 0xb3;

/// # Errors
/// When the body is not bytes, or a property is no simple value; says so.
pub(super) fn encode(event: &EventData) -> Result<Vec<u8>, String> {
    let EventBody::Data(sections) = &event.body else {
        return Err("has another body than bytes".to_owned());
    };
    let mut message = Vec::new();
    if let Some(key) = &event.partition_key {
        let entry = [variable(SYMBOL, PARTITION_KEY.as_bytes()), variable(STRING, key.as_bytes())].concat();
        put_compound(&mut message, MESSAGE_ANNOTATIONS, MAP, 2, &entry);
    }
    put_properties(&mut message, event);
    put_application_properties(&mut message, event)?;
    for section in sections {
        message.put_slice(&[0x00, 0x53, DATA]);
        put_variable(&mut message, BINARY, section);
    }
    Ok(message)
}

/// Message id, user id, to, subject, reply-to, correlation id, content type.
fn put_properties(message: &mut Vec<u8>, event: &EventData) {
    if event.message_id.is_none() && event.correlation_id.is_none() && event.content_type.is_none() {
        return;
    }
    let field = |code, text: &Option<String>| {
        text.as_ref().map_or(vec![NULL], |text| variable(code, text.as_bytes()))
    };
    let fields = [
        field(STRING, &event.message_id),
        vec![NULL; 4],
        field(STRING, &event.correlation_id),
        field(SYMBOL, &event.content_type),
    ];
    put_compound(message, PROPERTIES, LIST, 7, &fields.concat());
}

fn put_application_properties(message: &mut Vec<u8>, event: &EventData) -> Result<(), String> {
    if event.properties.is_empty() {
        return Ok(());
    }
    let mut entries = Vec::new();
    for (name, value) in &event.properties {
        put_property(&mut entries, name, value)?;
    }
    put_compound(message, APPLICATION_PROPERTIES, MAP, 2 * event.properties.len(), &entries);
    Ok(())
}

/// Writes the name and the value of an application property.
///
/// # Errors
/// When it is no simple value; says so.
pub(super) fn put_property(entries: &mut Vec<u8>, name: &str, value: &Value) -> Result<(), String> {
    put_variable(entries, STRING, name.as_bytes());
    put_simple(entries, value).ok_or_else(|| format!("property {name:?} is no simple value"))
}

/// AMQP allows no other values in application properties.
fn put_simple(out: &mut Vec<u8>, value: &Value) -> Option<()> {
    match value {
        Value::Null => out.put_u8(NULL),
        Value::Bool(true) => out.put_u8(0x41),
        Value::Bool(false) => out.put_u8(0x42),
        Value::U8(number) => put_fixed(out, 0x50, &[*number]),
        Value::U16(number) => put_fixed(out, 0x60, &number.to_be_bytes()),
        Value::U32(number) => put_fixed(out, 0x70, &number.to_be_bytes()),
        Value::U64(number) => put_fixed(out, 0x80, &number.to_be_bytes()),
        Value::I8(number) => put_fixed(out, 0x51, &number.to_be_bytes()),
        Value::I16(number) => put_fixed(out, 0x61, &number.to_be_bytes()),
        Value::I32(number) => put_fixed(out, 0x71, &number.to_be_bytes()),
        Value::I64(number) => put_fixed(out, 0x81, &number.to_be_bytes()),
        Value::F32(number) => put_fixed(out, 0x72, &number.to_be_bytes()),
        Value::F64(number) => put_fixed(out, 0x82, &number.to_be_bytes()),
        Value::Decimal32(bytes) => put_fixed(out, 0x74, bytes),
        Value::Decimal64(bytes) => put_fixed(out, 0x84, bytes),
        Value::Decimal128(bytes) => put_fixed(out, 0x94, bytes),
        Value::Char(character) => put_fixed(out, 0x73, &u32::from(*character).to_be_bytes()),
        Value::Timestamp(time) => {
            let ms = match time.duration_since(UNIX_EPOCH) {
                Ok(after) => i64::try_from(after.as_millis()).ok()?,
                Err(before) => -i64::try_from(before.duration().as_millis()).ok()?,
            };
            put_fixed(out, 0x83, &ms.to_be_bytes());
        }
        Value::Uuid(bytes) => put_fixed(out, 0x98, bytes),
        Value::Binary(bytes) => put_variable(out, BINARY, bytes),
        Value::String(text) => put_variable(out, STRING, text.as_bytes()),
        Value::Symbol(text) => put_variable(out, SYMBOL, text.as_bytes()),
        _ => return None,
    }
    Some(())
}

fn put_fixed(out: &mut Vec<u8>, code: u8, bytes: &[u8]) {
    out.put_u8(code);
    out.put_slice(bytes);
}

fn put_variable(out: &mut Vec<u8>, code: u8, bytes: &[u8]) {
    out.put_u8(code);
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

fn variable(code: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_variable(&mut out, code, bytes);
    out
}

pub(super) fn put_compound(message: &mut Vec<u8>, descriptor: u8, code: u8, count: usize, content: &[u8]) {
    message.put_slice(&[0x00, 0x53, descriptor, code]);
    put_length(message, content.len() + 4);
    put_length(message, count);
    message.put_slice(content);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32(u32::try_from(length).expect("nothing in an event is longer than 4 GiB"));
}
