//! The AMQP library's own reading of a message, as an event: the oracle of `event/`.
//!
//! Tests: below.

use eventhubs_types::{EventBody, Value};
use fe2o3_amqp_types::messaging::annotations::{Annotations, OwnedKey};
use fe2o3_amqp_types::messaging::{ApplicationProperties, Body, Data, Message, MessageId, Properties};
use serde_amqp::Value as Amqp;
use serde_amqp::primitives::{Symbol, Timestamp};

use crate::connection::library_value::from_amqp;
use crate::event::attributes::{
    Attributes, ENQUEUED_TIME, Named, OFFSET, SEQUENCE_NUMBER, last_enqueued, offset, time,
};
use crate::event::received::missing;
use crate::{ReceivedEvent, Result};

/// Makes an event of a message.
///
/// # Errors
/// [`ErrorKind::Protocol`] when the sequence number or offset is missing: without them no position can be
/// kept.
pub(crate) fn received(message: Message<Body<Amqp>>) -> Result<ReceivedEvent> {
    let annotations = message.message_annotations.map(|section| by_name(section.0)).unwrap_or_default();
    let get = |name| annotations.get(name);
    let sequence_number =
        get(SEQUENCE_NUMBER).and_then(Value::as_i64).ok_or_else(|| missing(SEQUENCE_NUMBER))?;
    let offset = get(OFFSET).cloned().and_then(offset).ok_or_else(|| missing(OFFSET))?;
    let enqueued_time = get(ENQUEUED_TIME).and_then(time);
    let head = message.delivery_annotations.and_then(|section| last_enqueued(&by_name(section.0)));
    let properties = message.properties.map(|properties| wire_named(properties).collect());
    let application_properties = message.application_properties.map(application_properties);
    let attributes = Attributes::new(
        annotations,
        properties.unwrap_or_default(),
        application_properties.unwrap_or_default(),
        head,
    );
    Ok(ReceivedEvent::whole(body(message.body), attributes, offset, sequence_number.into(), enqueued_time))
}

fn by_name(annotations: Annotations) -> Named {
    let name = |key| match key {
        OwnedKey::Symbol(name) => name.0,
        OwnedKey::Ulong(code) => code.to_string(),
    };
    annotations.into_iter().map(|(key, content)| (name(key), from_amqp(content))).collect()
}

fn body(body: Body<Amqp>) -> EventBody {
    let bytes = |data: Data| data.0.into_vec().into();
    match body {
        Body::Data(sections) => EventBody::Data(sections.into_iter().map(bytes).collect()),
        Body::Sequence(sections) => EventBody::Sequence(
            sections.into_iter().map(|section| section.0.into_iter().map(from_amqp).collect()).collect(),
        ),
        Body::Value(section) => EventBody::Value(from_amqp(section.0)),
        Body::Empty => EventBody::default(),
    }
}

fn application_properties(properties: ApplicationProperties) -> Named {
    properties.0.into_iter().map(|(name, content)| (name, from_amqp(content.into()))).collect()
}

fn id_value(id: MessageId) -> Value {
    from_amqp(match id {
        MessageId::String(text) => Amqp::String(text),
        MessageId::Ulong(number) => Amqp::Ulong(number),
        MessageId::Uuid(uuid) => Amqp::Uuid(uuid),
        MessageId::Binary(bytes) => Amqp::Binary(bytes),
    })
}

/// The AMQP properties that are set, under their names on the wire (docs/contract.md §6.2).
fn wire_named(properties: Properties) -> impl Iterator<Item = (String, Value)> {
    let text = |text: Option<String>| text.map(Value::String);
    let symbol = |symbol: Option<Symbol>| symbol.map(|symbol| Value::Symbol(symbol.0));
    let time = |time: Option<Timestamp>| time.map(|time| from_amqp(Amqp::Timestamp(time)));
    [
        ("message-id", properties.message_id.map(id_value)),
        ("user-id", properties.user_id.map(|id| Value::Binary(id.into_vec().into()))),
        ("to", text(properties.to)),
        ("subject", text(properties.subject)),
        ("reply-to", text(properties.reply_to)),
        ("correlation-id", properties.correlation_id.map(id_value)),
        ("content-type", symbol(properties.content_type)),
        ("content-encoding", symbol(properties.content_encoding)),
        ("absolute-expiry-time", time(properties.absolute_expiry_time)),
        ("creation-time", time(properties.creation_time)),
        ("group-id", text(properties.group_id)),
        ("group-sequence", properties.group_sequence.map(Value::U32)),
        ("reply-to-group-id", text(properties.reply_to_group_id)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use fe2o3_amqp_types::messaging::{
        AmqpSequence, AmqpValue, Batch, DeliveryAnnotations, MessageAnnotations,
    };
    use serde_amqp::primitives::{Binary, Uuid};

    use super::*;
    use crate::ErrorKind;
    use crate::event::attributes::PARTITION_KEY;

    fn annotated(pairs: &[(&str, Amqp)]) -> Annotations {
        pairs.iter().map(|(name, value)| (OwnedKey::from(*name), value.clone())).collect()
    }

    /// The mock event of docs/contract.md §13.4.
    fn message(body: Body<Amqp>) -> Message<Body<Amqp>> {
        let mut message = Message::builder().body(body).build();
        message.message_annotations = Some(MessageAnnotations(annotated(&[
            (SEQUENCE_NUMBER, Amqp::Long(7)),
            (OFFSET, Amqp::String("256".into())),
            (ENQUEUED_TIME, Amqp::Timestamp(1_700_000_001_000.into())),
            (PARTITION_KEY, Amqp::String("pk".into())),
            ("iothub-message-source", Amqp::Symbol("Telemetry".into())),
        ])));
        message.delivery_annotations = Some(DeliveryAnnotations(annotated(&[
            ("last_enqueued_sequence_number", Amqp::Long(42)),
            ("last_enqueued_offset", Amqp::String("1234".into())),
            ("last_enqueued_time_utc", Amqp::Timestamp(1_700_000_002_000.into())),
            ("runtime_info_retrieval_time_utc", Amqp::Timestamp(1_700_000_003_000.into())),
        ])));
        message.properties = Some(Properties {
            message_id: Some(MessageId::String("m1".into())),
            content_type: Some("text/plain".into()),
            ..Properties::default()
        });
        message
    }

    fn hello() -> Body<Amqp> {
        Body::Data(Batch::new(vec![Data(Binary::from(b"hello".to_vec()))]))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_mock_event_of_the_contract_is_read_whole() {
        let event = received(message(hello())).unwrap();
        let head = event.head();
        assert_eq!(event.body_as_str().unwrap(), "hello");
        assert_eq!((event.sequence_number().value(), event.offset().as_str()), (7, "256"));
        assert_eq!(event.enqueued_time(), Some(at(1_700_000_001)));
        assert_eq!(event.partition_key(), Some("pk"));
        assert_eq!((event.message_id(), event.content_type()), (Some("m1"), Some("text/plain")));
        let system: Vec<&str> = event.system_properties().keys().map(String::as_str).collect();
        assert_eq!(system, ["content-type", "iothub-message-source", "message-id"]);
        let head = head.unwrap();
        assert_eq!((head.sequence_number.value(), head.offset.as_str()), (42, "1234"));
        assert_eq!(
            (head.enqueued_time, head.retrieval_time),
            (Some(at(1_700_000_002)), Some(at(1_700_000_003)))
        );
    }

    /// docs/contract.md §6.1: be lenient in numeric and temporal types.
    #[test]
    fn annotations_of_other_types_are_read_by_value() {
        let mut odd = message(hello());
        odd.message_annotations = Some(MessageAnnotations(annotated(&[
            (SEQUENCE_NUMBER, Amqp::Uint(7)),
            (OFFSET, Amqp::Long(256)),
            (ENQUEUED_TIME, Amqp::Long(1_700_000_001_000)),
        ])));
        odd.delivery_annotations = None;
        let event = received(odd).unwrap();
        let head = event.head();
        assert_eq!((event.sequence_number().value(), event.offset().as_str()), (7, "256"));
        assert_eq!(event.enqueued_time(), Some(at(1_700_000_001)));
        assert_eq!(head, None);
    }

    #[test]
    fn an_event_without_a_position_is_a_protocol_error() {
        for name in [SEQUENCE_NUMBER, OFFSET] {
            let mut bare = message(hello());
            bare.message_annotations.as_mut().unwrap().0.swap_remove(&OwnedKey::from(name));
            let error = received(bare).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(name));
        }
    }

    #[test]
    fn bodies_of_all_kinds_are_kept() {
        let body = |body| received(message(body)).unwrap().body().clone();
        let two = Body::Data(Batch::new(vec![
            Data(Binary::from(b"a".to_vec())),
            Data(Binary::from(b"b".to_vec())),
        ]));
        assert_eq!(body(two), EventBody::Data(vec!["a".into(), "b".into()]));
        assert_eq!(body(Body::Value(AmqpValue(Amqp::Int(5)))), EventBody::Value(Value::I32(5)));
        let lists =
            Body::Sequence(Batch::new(vec![AmqpSequence(vec![Amqp::Bool(true)]), AmqpSequence(vec![])]));
        assert_eq!(body(lists), EventBody::Sequence(vec![vec![Value::Bool(true)], vec![]]));
        assert_eq!(body(Body::Empty), EventBody::default());
    }

    #[test]
    fn ids_of_all_types_are_kept() {
        let id = |id: MessageId| {
            let mut message = message(hello());
            message.properties.as_mut().unwrap().message_id = Some(id);
            let event = received(message).unwrap();
            (event.message_id().map(str::to_owned), event.system_properties()["message-id"].clone())
        };
        let uuid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        assert_eq!(id(MessageId::Ulong(9)), (Some("9".into()), Value::U64(9)));
        let text = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(id(MessageId::Uuid(Uuid::from(uuid))), (Some(text.into()), Value::Uuid(uuid)));
        let bytes = MessageId::Binary(Binary::from(vec![0xff]));
        assert_eq!(id(bytes), (None, Value::Binary(vec![0xff].into())));
    }
}
