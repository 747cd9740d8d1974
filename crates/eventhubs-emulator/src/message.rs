//! Events as AMQP messages (contract §6).

use std::collections::BTreeMap;

use bytes::Bytes;
use eventhubs_types::{EventBody, EventData};
use fe2o3_amqp_types::messaging::annotations::{AnnotationKey, OwnedKey};
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{
    AmqpSequence, AmqpValue, ApplicationProperties, Batch, Body, Data, Message, MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{OrderedMap, Symbol, Value};
use serde_amqp::primitives::Binary;
use serde_amqp::read::SliceReader;

use crate::error::{Error, Result};
use crate::value;

/// A message with a body of any of the three kinds, or none.
pub(crate) type AnyMessage = Message<Body<Value>>;

/// The message format of a batch: each data section is an encoded message (contract §5.1).
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;

pub(crate) const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
pub(crate) const OFFSET: &str = "x-opt-offset";
pub(crate) const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
const PARTITION_KEY: &str = "x-opt-partition-key";

/// The message that a producer would send for this event.
///
/// # Errors
/// When an application property holds a list, map or array, which AMQP does not allow.
pub(crate) fn from_event(event: EventData) -> Result<AnyMessage> {
    let application_properties = application_properties(event.properties)?;
    let mut message = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: properties(event.message_id, event.correlation_id, event.content_type),
        application_properties,
        body: body(event.body),
        footer: None,
    };
    if let Some(key) = event.partition_key {
        annotate(&mut message, PARTITION_KEY, key);
    }
    Ok(message)
}

/// What a producer meant with a message; [`from_event`] the other way round.
pub(crate) fn to_event(message: &AnyMessage) -> EventData {
    let mut event = EventData::with_body(event_body(&message.body));
    if let Some(properties) = &message.application_properties {
        let entries = properties.0.iter();
        event.properties =
            entries.map(|(name, v)| (name.clone(), value::from_wire(&Value::from(v.clone())))).collect();
    }
    if let Some(properties) = &message.properties {
        event.message_id = properties.message_id.as_ref().map(id_text);
        event.correlation_id = properties.correlation_id.as_ref().map(id_text);
        event.content_type = properties.content_type.as_ref().map(|symbol| symbol.as_str().to_owned());
    }
    event.partition_key = partition_key(message).map(str::to_owned);
    event
}

fn id_text(id: &MessageId) -> String {
    match id {
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(id) => format!("{id:x}"),
        MessageId::Binary(bytes) => format!("{bytes:x?}"),
        MessageId::String(text) => text.clone(),
    }
}

fn event_body(body: &Body<Value>) -> EventBody {
    let list = |list: &AmqpSequence<Value>| list.0.iter().map(value::from_wire).collect();
    match body {
        Body::Data(sections) => {
            EventBody::Data(sections.iter().map(|data| Bytes::copy_from_slice(&data.0)).collect())
        }
        Body::Value(value) => EventBody::Value(value::from_wire(&value.0)),
        Body::Sequence(lists) => EventBody::Sequence(lists.iter().map(list).collect()),
        Body::Empty => EventBody::Value(eventhubs_types::Value::Null),
    }
}

fn application_properties(
    properties: BTreeMap<String, eventhubs_types::Value>,
) -> Result<Option<ApplicationProperties>> {
    if properties.is_empty() {
        return Ok(None);
    }
    let entry = |(name, value)| match value::to_simple(value) {
        Some(value) => Ok((name, value)),
        None => Err(Error::invalid(format!("property {name:?} holds a list, map or array"))),
    };
    let entries = properties.into_iter().map(entry).collect::<Result<OrderedMap<_, _>>>()?;
    Ok(Some(ApplicationProperties(entries)))
}

fn properties(
    message_id: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
) -> Option<Properties> {
    if message_id.is_none() && correlation_id.is_none() && content_type.is_none() {
        return None;
    }
    let mut properties = Properties::new();
    properties.message_id = message_id.map(Into::into);
    properties.correlation_id = correlation_id.map(Into::into);
    properties.content_type = content_type.map(Symbol::from);
    Some(properties)
}

fn body(body: EventBody) -> Body<Value> {
    let wire_list = |values: Vec<_>| AmqpSequence(values.into_iter().map(value::to_wire).collect());
    match body {
        EventBody::Data(sections) => {
            let sections: Vec<Data> =
                sections.into_iter().map(|bytes| Data(Binary::from(bytes.to_vec()))).collect();
            Body::Data(Batch::new(sections))
        }
        EventBody::Value(value) => Body::Value(AmqpValue(value::to_wire(value))),
        EventBody::Sequence(lists) => {
            Body::Sequence(Batch::new(lists.into_iter().map(wire_list).collect::<Vec<_>>()))
        }
        _ => Body::Empty,
    }
}

/// The messages of a batch, in order.
///
/// # Errors
/// When a section is no encoded message, or the body has no data sections.
pub(crate) fn unpack_batch(batch: &AnyMessage) -> std::result::Result<Vec<AnyMessage>, serde_amqp::Error> {
    let sections = batch.body.try_as_data().map_err(|_| serde_amqp::Error::InvalidFormatCode)?;
    sections.map(|bytes| Body::<Value>::decode_message_from_reader(SliceReader::new(bytes))).collect()
}

/// Sets one message annotation.
pub(crate) fn annotate(message: &mut AnyMessage, key: &str, value: impl Into<Value>) {
    let annotations = message.message_annotations.get_or_insert_with(Default::default);
    annotations.insert(OwnedKey::from(key), value.into());
}

/// The partition key that a producer gave the message.
pub(crate) fn partition_key(message: &AnyMessage) -> Option<&str> {
    let annotations = message.message_annotations.as_ref()?;
    match annotations.get(&PARTITION_KEY as &dyn AnnotationKey)? {
        Value::String(key) => Some(key),
        Value::Symbol(key) => Some(key.as_str()),
        _ => None,
    }
}

/// The bytes of the body, or the size of its encoding.
pub(crate) fn body_size(message: &AnyMessage) -> usize {
    match &message.body {
        Body::Data(sections) => sections.iter().map(|data| data.0.len()).sum(),
        Body::Value(value) => serde_amqp::serialized_size(value).unwrap_or(0),
        Body::Sequence(lists) => {
            lists.iter().map(|list| serde_amqp::serialized_size(list).unwrap_or(0)).sum()
        }
        Body::Empty => 0,
    }
}
