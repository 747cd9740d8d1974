//! A received event.
//!
//! Tests: those of `message.rs`, and `tests/it/bodies.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use eventhubs_types::{
    ConsumerGroup, EventBody, EventData, EventHubName, Offset, PartitionId, SequenceNumber, Value,
};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::event::attributes::{Attributes, LastEnqueuedEventProperties, OFFSET, SEQUENCE_NUMBER};
use crate::event::message::Message;
use crate::event::trace_context::TraceContext;
use crate::{Error, ErrorKind, RawMessage, Result};

/// Where events come from; all events of a receiver share one.
#[derive(Debug)]
pub(crate) struct EventSource {
    pub(crate) event_hub: EventHubName,
    pub(crate) consumer_group: ConsumerGroup,
    pub(crate) partition: PartitionId,
}

/// An event as it came from a partition. Clones share their content.
///
/// The position is decoded on arrival, everything else on first access. The body is not copied: it keeps
/// alive the receive buffer that it arrived in, at most 128 times its own size.
#[derive(Clone)]
pub struct ReceivedEvent {
    sequence_number: SequenceNumber,
    offset: Offset,
    enqueued_time: Option<SystemTime>,
    /// Set by the receiver that hands the event out.
    source: Option<Arc<EventSource>>,
    message: Message,
    body: OnceLock<Arc<EventBody>>,
    attributes: OnceLock<Arc<Attributes>>,
}

impl ReceivedEvent {
    /// Builds an event from its parts, for tests of code that handles events.
    ///
    /// ```
    /// use eventhubs_amqp::ReceivedEvent;
    /// use eventhubs_types::EventData;
    ///
    /// let event = ReceivedEvent::from_parts(EventData::new("21.5 °C"), "4096", 7, None);
    /// assert_eq!(event.body_as_str().unwrap(), "21.5 °C");
    /// assert_eq!(event.sequence_number().value(), 7);
    /// ```
    pub fn from_parts(
        data: EventData,
        offset: impl Into<Offset>,
        sequence_number: impl Into<SequenceNumber>,
        enqueued_time: Option<SystemTime>,
    ) -> Self {
        let attributes = Attributes {
            properties: data.properties,
            partition_key: data.partition_key,
            message_id: data.message_id,
            correlation_id: data.correlation_id,
            content_type: data.content_type,
            ..Attributes::default()
        };
        Self::whole(data.body, attributes, offset.into(), sequence_number.into(), enqueued_time)
    }

    /// An event of which everything is known.
    pub(crate) fn whole(
        body: EventBody,
        attributes: Attributes,
        offset: Offset,
        sequence_number: SequenceNumber,
        enqueued_time: Option<SystemTime>,
    ) -> Self {
        Self {
            sequence_number,
            offset,
            enqueued_time,
            source: None,
            message: Message::default(),
            body: Arc::new(body).into(),
            attributes: Arc::new(attributes).into(),
        }
    }

    /// An event whose body and attributes are read from the message when somebody asks.
    #[inline]
    pub(crate) fn from_message(
        message: Message,
        offset: Offset,
        sequence_number: i64,
        enqueued_time: Option<SystemTime>,
    ) -> Self {
        Self {
            sequence_number: sequence_number.into(),
            offset,
            enqueued_time,
            source: None,
            message,
            body: OnceLock::new(),
            attributes: OnceLock::new(),
        }
    }

    /// Notes where the event came from.
    pub(crate) fn came_from(&mut self, source: &Arc<EventSource>) {
        self.source = Some(Arc::clone(source));
    }

    fn attributes(&self) -> &Attributes {
        self.attributes.get_or_init(|| Arc::new(self.message.attributes()))
    }

    /// The head of the partition, if the service sent it along.
    pub(crate) fn head(&self) -> Option<LastEnqueuedEventProperties> {
        let known = self.attributes.get().is_some() || self.message.has_head();
        known.then(|| self.attributes().head.clone()).flatten()
    }

    /// Returns the body, of any of the three AMQP kinds, or the whole message if it could not be decoded.
    pub fn body(&self) -> &EventBody {
        self.body.get_or_init(|| Arc::new(self.message.body()))
    }

    /// Returns the bytes of all data sections, joined; `None` for a value or sequence body. Copies only if
    /// there are several sections.
    pub fn body_bytes(&self) -> Option<Bytes> {
        self.message.data().or_else(|| self.body().bytes())
    }

    /// Returns the body as text: the bytes of the data sections, or a value body that is a string. Copies
    /// only if there are several sections.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the body is not UTF-8 or not
    /// text.
    pub fn body_as_str(&self) -> Result<Cow<'_, str>> {
        let not_utf8 = "the body is not UTF-8";
        match self.body() {
            EventBody::Data(sections) => match sections.as_slice() {
                [one] => str::from_utf8(one)
                    .map(Cow::Borrowed)
                    .map_err(|e| Error::invalid(not_utf8).with_source(e)),
                several => String::from_utf8(several.concat())
                    .map(Cow::Owned)
                    .map_err(|e| Error::invalid(not_utf8).with_source(e.utf8_error())),
            },
            EventBody::Value(Value::String(text)) => Ok(Cow::Borrowed(text)),
            _ => Err(Error::invalid("the body is not text")),
        }
    }

    /// Parses the body as JSON: the bytes of the data sections, or a value body that is a string. A leading
    /// byte order mark is skipped.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the body is not JSON, or not of this form. The error has serde's
    /// message with the place, but without the values that it quotes: an event's content must not get into
    /// logs.
    pub fn body_as_json<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.body_as_str()?;
        // JSON may not begin with one, but Windows tools write it (RFC 8259 §8.1 lets readers ignore it).
        serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text)).map_err(|error| {
            let what = match error.classify() {
                Category::Data => "the body is JSON of another form",
                _ => "the body is not JSON",
            };
            Error::invalid(format!("{what}: {}", without_values(&error.to_string())))
        })
    }

    /// Returns the parts that could not be decoded, by name, for example `application properties colour`;
    /// usually none. All other parts are decoded, and [`raw_message`](Self::raw_message) has the bytes.
    pub fn undecodable_parts(&self) -> &[String] {
        &self.attributes().lost
    }

    /// Returns the message as it arrived, for what has no accessor here; `None` for an event that was built
    /// by [`from_parts`](Self::from_parts).
    pub fn raw_message(&self) -> Option<RawMessage> {
        self.message.raw()
    }

    /// Returns the properties that the sender set.
    pub fn properties(&self) -> &BTreeMap<String, Value> {
        &self.attributes().properties
    }

    /// Returns the trace and the span in which the event was sent: `traceparent` of W3C Trace Context, or else
    /// `Diagnostic-Id`, which older SDKs write. `None` where the sender gave none, or one that is malformed.
    ///
    /// ```
    /// use eventhubs_amqp::ReceivedEvent;
    /// use eventhubs_types::EventData;
    ///
    /// let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    /// let data = EventData::new("21.5 °C").property("traceparent", sent);
    /// let event = ReceivedEvent::from_parts(data, "4096", 7, None);
    /// assert_eq!(event.trace_context().unwrap().span_id(), "b7ad6b7169203331");
    /// ```
    pub fn trace_context(&self) -> Option<TraceContext> {
        // Most events without a context have no properties, and then none are decoded.
        let may_have = self.attributes.get().is_some() || self.message.has_application_properties();
        may_have.then(|| TraceContext::find(self.properties())).flatten()
    }

    /// Returns the AMQP properties under their wire names (`message-id`, `content-type` …) and the message
    /// annotations, except the four that have their own accessors.
    pub fn system_properties(&self) -> &BTreeMap<String, Value> {
        &self.attributes().system_properties
    }

    /// Returns the partition that the event came from; `None` for an event that was made by
    /// [`from_parts`](Self::from_parts).
    pub fn partition_id(&self) -> Option<&PartitionId> {
        self.source.as_ref().map(|source| &source.partition)
    }

    /// Returns the event hub that the event came from; `None` for an event that was made by
    /// [`from_parts`](Self::from_parts).
    pub fn event_hub(&self) -> Option<&EventHubName> {
        self.source.as_ref().map(|source| &source.event_hub)
    }

    /// Returns the consumer group that the event was read for; `None` for an event that was made by
    /// [`from_parts`](Self::from_parts).
    pub fn consumer_group(&self) -> Option<&ConsumerGroup> {
        self.source.as_ref().map(|source| &source.consumer_group)
    }

    /// Returns the position of the event in its partition, as opaque text.
    pub fn offset(&self) -> &Offset {
        &self.offset
    }

    /// Returns the number of the event in its partition.
    pub fn sequence_number(&self) -> SequenceNumber {
        self.sequence_number
    }

    /// Returns when the service enqueued the event.
    pub fn enqueued_time(&self) -> Option<SystemTime> {
        self.enqueued_time
    }

    /// Returns the key that determined the partition, if the sender set one.
    pub fn partition_key(&self) -> Option<&str> {
        self.attributes().partition_key.as_deref()
    }

    /// Returns the MIME type of the body.
    pub fn content_type(&self) -> Option<&str> {
        self.attributes().content_type.as_deref()
    }

    /// Returns the id that the sender gave the event. Numbers and UUIDs are formatted as text; a binary id is
    /// in [`system_properties`](Self::system_properties) only.
    pub fn message_id(&self) -> Option<&str> {
        self.attributes().message_id.as_deref()
    }

    /// Returns the id that relates the event to others, formatted like [`message_id`](Self::message_id).
    pub fn correlation_id(&self) -> Option<&str> {
        self.attributes().correlation_id.as_deref()
    }
}

/// Makes an event of an encoded message. Only what every reader needs is read now.
///
/// # Errors
/// [`ErrorKind::Protocol`] when the sequence number or offset cannot be found: without them no position can
/// be kept.
pub(crate) fn decode(raw: Bytes) -> Result<ReceivedEvent> {
    let (message, position) = Message::locate(raw);
    let offset = position.offset.ok_or_else(|| missing(OFFSET))?;
    let number = position.sequence_number.ok_or_else(|| missing(SEQUENCE_NUMBER))?;
    Ok(ReceivedEvent::from_message(message, offset, number, position.enqueued_time))
}

/// The error of an event without one of the annotations that make its position.
pub(crate) fn missing(name: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("an event came without {name}"))
}

impl PartialEq for ReceivedEvent {
    fn eq(&self, other: &Self) -> bool {
        let position = |event: &Self| (event.sequence_number, event.enqueued_time);
        position(self) == position(other)
            && self.offset == other.offset
            && self.body() == other.body()
            && self.attributes() == other.attributes()
    }
}

/// Shows the position and the size, not the content: events end up in logs.
impl fmt::Debug for ReceivedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedEvent")
            .field("sequence_number", &self.sequence_number)
            .field("offset", &self.offset)
            .field("enqueued_time", &self.enqueued_time)
            .field("body_len", &self.body_bytes().map(|b| b.len()))
            .finish_non_exhaustive()
    }
}

/// Serde's message without what it quotes of the event, as in "invalid type: string, expected u64 at line 1 column 9". Names that
/// come from the type, such as that of a missing field, stay.
fn without_values(message: &str) -> String {
    const QUOTING: [&str; 4] = ["invalid type: ", "invalid value: ", "unknown field ", "unknown variant "];
    if !QUOTING.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    // The last one, since the value may say the same.
    let end =
        message.rfind(", expected ").or_else(|| message.rfind(", there are no ")).unwrap_or(message.len());
    let quoted = message.find(['`', '"']).map_or(end, |at| at.min(end));
    format!("{}{}", message[..quoted].trim_end(), &message[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_says_what_is_wrong_but_not_the_values() {
        for (message, shown) in [
            ("missing field `degrees` at line 1 column 2", "missing field `degrees` at line 1 column 2"),
            ("EOF while parsing a value at line 1 column 0", "EOF while parsing a value at line 1 column 0"),
            (
                "invalid type: string \"key, expected \", expected u64 at line 1",
                "invalid type: string, expected u64 at line 1",
            ),
            ("invalid value: integer `-7`, expected u64", "invalid value: integer, expected u64"),
            ("unknown field `key`, expected `a` or `b`", "unknown field, expected `a` or `b`"),
            ("unknown field `key`, there are no fields", "unknown field, there are no fields"),
            ("invalid type: null, expected u64", "invalid type: null, expected u64"),
        ] {
            assert_eq!(without_values(message), shown);
        }
    }
}
