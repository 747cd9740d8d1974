//! The letters that properties put.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use eventhubs_types::{ConsumerScope, EventBody, EventData, Value};

use crate::DeadLetter;

/// The letter of an event of partition 0.
pub(crate) fn letter(sequence_number: i64, event: EventData) -> DeadLetter {
    letter_in(scope("hub", "group"), "0", sequence_number, event)
}

/// The same of any scope and partition.
pub(crate) fn letter_in(
    scope: ConsumerScope,
    partition: &str,
    sequence_number: i64,
    event: EventData,
) -> DeadLetter {
    let (partition, owner) = (partition.parse().expect("a valid id"), "owner-1".parse().expect("a valid id"));
    let offset = (sequence_number * 100).to_string();
    DeadLetter::new(scope, partition, sequence_number, offset, event, owner)
        .with_enqueued_time(Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)))
        .because("Refused", "the handler refused the event")
        .after(3, UNIX_EPOCH + Duration::from_millis(1_700_000_001_456))
}

pub(crate) fn scope(hub: &str, group: &str) -> ConsumerScope {
    let namespace = "testkit.example.net".parse().expect("a valid namespace");
    ConsumerScope::new(namespace, hub.parse().expect("a valid hub"), group.parse().expect("a valid group"))
}

/// An event that uses all that application properties may hold.
pub(crate) fn rich_event() -> EventData {
    let values = [
        ("null", Value::Null),
        ("bool", Value::Bool(true)),
        ("u8", Value::U8(u8::MAX)),
        ("u16", Value::U16(u16::MAX)),
        ("u32", Value::U32(u32::MAX)),
        ("u64", Value::U64(u64::MAX)),
        ("i8", Value::I8(i8::MIN)),
        ("i16", Value::I16(i16::MIN)),
        ("i32", Value::I32(i32::MIN)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(0.1)),
        ("f64", Value::F64(f64::NEG_INFINITY)),
        ("decimal32", Value::Decimal32([1, 2, 3, 4])),
        ("decimal64", Value::Decimal64([5; 8])),
        ("decimal128", Value::Decimal128([6; 16])),
        ("char", Value::Char('ß')),
        ("time", Value::Timestamp(UNIX_EPOCH - Duration::from_millis(1))),
        ("uuid", Value::Uuid([9; 16])),
        ("binary", Value::Binary(vec![0, 255].into())),
        ("string", Value::String("grüße \" \\ '".into())),
        ("symbol", Value::Symbol("sym".into())),
    ];
    let event = EventData::with_body(EventBody::Data(vec!["21.5 °C".into()]))
        .partition_key("kitchen")
        .message_id("id")
        .correlation_id("other id")
        .content_type("text/plain");
    values.into_iter().fold(event, |event, (name, value)| event.property(name, value))
}

/// A message as a service would deliver it: annotations of the service, and one data section.
pub(crate) fn message(body: &[u8]) -> Bytes {
    const ANNOTATIONS: &[u8] =
        b"\x00\x53\x72\xc1\x25\x04\xa3\x15x-opt-sequence-number\x54\x07\xa3\x06x-kept\xa1\x01k";
    let length = u32::try_from(body.len()).expect("a small body").to_be_bytes();
    [ANNOTATIONS, b"\x00\x53\x75\xb0", &length, body].concat().into()
}
