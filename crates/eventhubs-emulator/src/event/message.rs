//! Events as AMQP messages (docs/contract.md §6).

use std::collections::BTreeMap;

use bytes::Bytes;
use eventhubs_amqp_frames::Walk;
use eventhubs_types::{EventBody, EventData};
use fe2o3_amqp_types::messaging::annotations::OwnedKey;
use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{
    AmqpSequence, AmqpValue, ApplicationProperties, Batch, Body, Data, Message, MessageAnnotations,
    MessageId, Properties,
};
use fe2o3_amqp_types::primitives::{OrderedMap, Symbol, Value};
use serde_amqp::primitives::Binary;
use serde_amqp::read::SliceReader;

use crate::codec::library_value;
use crate::error::{Error, Result};
use crate::event::sections::PARTITION_KEY;
use crate::event::sections::Sections;

/// A message with a body of any of the three kinds, or none.
pub(crate) type AnyMessage = Message<Body<Value>>;

/// The message format of a batch: each data section is an encoded message (docs/contract.md §5.1).
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;

/// The bytes of the message that a producer would send for this event.
///
/// # Errors
/// When an application property holds a list, map or array, which AMQP does not allow.
pub(crate) fn from_event(event: EventData) -> Result<Vec<u8>> {
    let application_properties = application_properties(event.properties)?;
    let message = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: event.partition_key.map(partition_key),
        properties: properties(event.message_id, event.correlation_id, event.content_type),
        application_properties,
        body: body(event.body),
        footer: None,
    };
    Ok(encode(&message))
}

/// The sections of a message of our own.
pub(crate) fn sections(message: &[u8]) -> Sections<'_> {
    Sections::read(message).expect("what the library writes is a message")
}

fn partition_key(key: String) -> MessageAnnotations {
    let mut annotations = MessageAnnotations::default();
    annotations.insert(OwnedKey::from(PARTITION_KEY), Value::String(key));
    annotations
}

/// What a producer meant with a message; [`from_event`] the other way round.
pub(crate) fn to_event(bytes: &[u8]) -> EventData {
    let Ok(message) = decode(bytes) else {
        return EventData::with_body(EventBody::Undecodable(Bytes::copy_from_slice(bytes)));
    };
    let mut event = EventData::with_body(event_body(&message.body));
    if let Some(properties) = &message.application_properties {
        let entries = properties.0.iter();
        event.properties = entries
            .map(|(name, v)| (name.clone(), library_value::from_wire(&Value::from(v.clone()))))
            .collect();
    }
    if let Some(properties) = &message.properties {
        event.message_id = properties.message_id.as_ref().map(id_text);
        event.correlation_id = properties.correlation_id.as_ref().map(id_text);
        event.content_type = properties.content_type.as_ref().map(|symbol| symbol.as_str().to_owned());
    }
    event.partition_key = sections(bytes).partition_key().map(str::to_owned);
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
    let list = |list: &AmqpSequence<Value>| list.0.iter().map(library_value::from_wire).collect();
    match body {
        Body::Data(sections) => {
            EventBody::Data(sections.iter().map(|data| Bytes::copy_from_slice(&data.0)).collect())
        }
        Body::Value(value) => EventBody::Value(library_value::from_wire(&value.0)),
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
    let entry = |(name, value)| match library_value::to_simple(value) {
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
    let wire_list = |values: Vec<_>| AmqpSequence(values.into_iter().map(library_value::to_wire).collect());
    match body {
        EventBody::Data(sections) => {
            let sections: Vec<Data> =
                sections.into_iter().map(|bytes| Data(Binary::from(bytes.to_vec()))).collect();
            Body::Data(Batch::new(sections))
        }
        EventBody::Value(value) => Body::Value(AmqpValue(library_value::to_wire(value))),
        EventBody::Sequence(lists) => {
            Body::Sequence(Batch::new(lists.into_iter().map(wire_list).collect::<Vec<_>>()))
        }
        _ => Body::Empty,
    }
}

/// Reads a message of a node's client. Its values are looked at first: the library decodes them by recursion.
///
/// # Errors
/// When the bytes are no message, or values lie too deep in each other.
pub(crate) fn decode(mut bytes: &[u8]) -> std::result::Result<AnyMessage, String> {
    let message = bytes;
    while !bytes.is_empty() {
        // To the very end: what is left over the library would decode too.
        let length = Walk::default().value(bytes).map_err(|error| error.to_string())?;
        bytes = &bytes[length..];
    }
    let decoded = Body::<Value>::decode_message_from_reader(SliceReader::new(message));
    decoded.map_err(|error| error.to_string())
}

/// The bytes of a message.
pub(crate) fn encode(message: &AnyMessage) -> Vec<u8> {
    serde_amqp::to_vec(&Serializable(message)).expect("the values of a message can be written")
}
