//! What an event has besides its body and position, lenient where senders differ.
//!
//! Tests: below, those of `message.rs`, and `testing/library_message.rs`, which reads the same from the AMQP
//! library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use eventhubs_types::{Offset, SequenceNumber, Value};

use crate::event::reader::from_millis;

/// 0001-01-01: what the service reports instead of "never" (docs/contract.md §4.2).
const NEVER_MILLIS: i64 = -62_135_596_800_000;

pub(crate) const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
pub(crate) const OFFSET: &str = "x-opt-offset";
pub(crate) const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
pub(crate) const PARTITION_KEY: &str = "x-opt-partition-key";

/// Values by name.
pub(crate) type Named = BTreeMap<String, Value>;

/// What an event has besides its body and position.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Attributes {
    pub(crate) properties: Named,
    pub(crate) system_properties: Named,
    pub(crate) partition_key: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) content_type: Option<String>,
    /// The head of the partition, if the service sent it along.
    pub(crate) head: Option<LastEnqueuedEventProperties>,
    /// What cannot be decoded, by name.
    pub(crate) lost: Vec<String>,
}

impl Attributes {
    /// Of the AMQP properties only those that are set, under their names on the wire.
    pub(crate) fn new(
        mut annotations: Named,
        amqp_properties: Named,
        properties: Named,
        head: Option<LastEnqueuedEventProperties>,
    ) -> Self {
        for name in [SEQUENCE_NUMBER, OFFSET, ENQUEUED_TIME] {
            annotations.remove(name);
        }
        let key = annotations.remove(PARTITION_KEY);
        let text = |name| amqp_properties.get(name).and_then(id_text);
        let content_type = amqp_properties.get("content-type").and_then(Value::as_str);
        Self {
            properties,
            partition_key: key.and_then(|value| value.as_str().map(str::to_owned)),
            message_id: text("message-id"),
            correlation_id: text("correlation-id"),
            content_type: content_type.map(str::to_owned),
            head,
            lost: Vec::new(),
            system_properties: annotations.into_iter().chain(amqp_properties).collect(),
        }
    }
}

/// The head of the partition as the service saw it when it sent the last event.
///
/// Known only if
/// [`track_last_enqueued_event_properties`](crate::PartitionReceiverBuilder::track_last_enqueued_event_properties)
/// is on and an event has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastEnqueuedEventProperties {
    /// The sequence number of the newest event in the partition.
    pub sequence_number: SequenceNumber,
    /// The offset of the newest event in the partition.
    pub offset: Offset,
    /// When the service enqueued the newest event.
    pub enqueued_time: Option<SystemTime>,
    /// When the service read these values.
    pub retrieval_time: Option<SystemTime>,
}

pub(crate) fn last_enqueued(annotations: &Named) -> Option<LastEnqueuedEventProperties> {
    Some(LastEnqueuedEventProperties {
        sequence_number: SequenceNumber::new(annotations.get("last_enqueued_sequence_number")?.as_i64()?),
        offset: offset(annotations.get("last_enqueued_offset")?.clone())?,
        enqueued_time: annotations.get("last_enqueued_time_utc").and_then(time),
        retrieval_time: annotations.get("runtime_info_retrieval_time_utc").and_then(time),
    })
}

pub(crate) fn offset(value: Value) -> Option<Offset> {
    match value {
        Value::String(text) | Value::Symbol(text) => Some(text.into()),
        number => number.as_i64().map(|number| number.to_string().into()),
    }
}

/// A time, also where the sender wrote its milliseconds as a plain number; `None` for "never".
pub(crate) fn time(value: &Value) -> Option<SystemTime> {
    match value {
        Value::Timestamp(time) => Some(*time).filter(|time| Some(*time) != from_millis(NEVER_MILLIS)),
        number => number.as_i64().and_then(time_of),
    }
}

/// The time this many milliseconds after 1970; `None` for "never".
pub(crate) fn time_of(millis: i64) -> Option<SystemTime> {
    if millis == NEVER_MILLIS { None } else { from_millis(millis) }
}

/// An id as text; a binary one has none.
fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text.clone()),
        Value::U64(number) => Some(number.to_string()),
        Value::Uuid(uuid) => Some(uuid_text(uuid)),
        _ => None,
    }
}

/// A UUID in its usual form.
fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn never_is_no_time() {
        assert_eq!(time(&Value::I64(NEVER_MILLIS)), None);
        assert_eq!(time(&from_millis(NEVER_MILLIS).map_or(Value::Null, Value::Timestamp)), None);
        assert_eq!(time(&Value::I64(0)), Some(UNIX_EPOCH));
        assert_eq!(time(&Value::String("now".into())), None);
    }
}
