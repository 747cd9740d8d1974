use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use eventhubs_types::{EventBody, EventData, Offset, SequenceNumber, Value};

use crate::{Error, Result};

/// An event as it came from a partition. Clones share their content.
#[derive(Clone, PartialEq)]
pub struct ReceivedEvent(Arc<Inner>);

#[derive(PartialEq)]
struct Inner {
    data: EventData,
    offset: Offset,
    sequence_number: SequenceNumber,
    enqueued_time: Option<SystemTime>,
    system_properties: BTreeMap<String, Value>,
}

impl ReceivedEvent {
    /// An event made of its parts, for tests of code that handles events.
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
        Self(Arc::new(Inner {
            data,
            offset: offset.into(),
            sequence_number: sequence_number.into(),
            enqueued_time,
            system_properties: BTreeMap::new(),
        }))
    }

    pub(crate) fn with_system_properties(mut self, system_properties: BTreeMap<String, Value>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.system_properties = system_properties;
        }
        self
    }

    /// The body, of any of the three AMQP kinds (contract §6.3).
    pub fn body(&self) -> &EventBody {
        &self.0.data.body
    }

    /// The bytes of all data sections joined; `None` for a value or sequence body. Copies only if there are several
    /// sections.
    pub fn body_bytes(&self) -> Option<Bytes> {
        self.body().bytes()
    }

    /// The body as text: the bytes of the data sections, or a value body that is a string. Copies only if there are
    /// several sections.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when the body is not UTF-8 or not text.
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

    /// The properties that the sender gave the event.
    pub fn properties(&self) -> &BTreeMap<String, Value> {
        &self.0.data.properties
    }

    /// The AMQP properties under their wire names (`message-id`, `content-type` …) and the message annotations, except
    /// the four that have their own accessors (contract §6.2).
    pub fn system_properties(&self) -> &BTreeMap<String, Value> {
        &self.0.system_properties
    }

    /// Where the event stands in its partition, as opaque text.
    pub fn offset(&self) -> &Offset {
        &self.0.offset
    }

    /// The number of the event in its partition.
    pub fn sequence_number(&self) -> SequenceNumber {
        self.0.sequence_number
    }

    /// When the service enqueued the event.
    pub fn enqueued_time(&self) -> Option<SystemTime> {
        self.0.enqueued_time
    }

    /// The key that decided the partition, if the sender gave one.
    pub fn partition_key(&self) -> Option<&str> {
        self.0.data.partition_key.as_deref()
    }

    /// The MIME type of the body.
    pub fn content_type(&self) -> Option<&str> {
        self.0.data.content_type.as_deref()
    }

    /// The id that the application gave the event. Numbers and UUIDs are written out; a binary id stands in
    /// [`system_properties`](Self::system_properties) only.
    pub fn message_id(&self) -> Option<&str> {
        self.0.data.message_id.as_deref()
    }

    /// The id that relates the event to others, written like [`message_id`](Self::message_id).
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.data.correlation_id.as_deref()
    }
}

/// Shows the position and the size, not the content: events end up in logs.
impl fmt::Debug for ReceivedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedEvent")
            .field("sequence_number", &self.0.sequence_number)
            .field("offset", &self.0.offset)
            .field("enqueued_time", &self.0.enqueued_time)
            .field("body_len", &self.body_bytes().map(|b| b.len()))
            .finish_non_exhaustive()
    }
}

/// The head of the partition as the service saw it when it sent the last event (contract §6.1).
///
/// Known only if [`track_last_enqueued_event_properties`](crate::PartitionReceiverBuilder::track_last_enqueued_event_properties)
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
