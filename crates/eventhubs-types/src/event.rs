//! An event as an application sends it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Value;

/// The body of an event: AMQP knows three kinds. Nearly all events have one data section.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventBody {
    /// One or more sections of bytes.
    Data(Vec<Bytes>),
    /// One value.
    Value(Value),
    /// One or more lists of values.
    Sequence(Vec<Vec<Value>>),
    /// The whole message as it came, because decoding it would not be safe or possible: it nests too deep,
    /// has too many elements, or contradicts itself. Never sent.
    Undecodable(Bytes),
}

impl EventBody {
    /// The bytes of all data sections joined; `None` for the other kinds. Copies only if there are several
    /// sections.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Data(sections) => match sections.as_slice() {
                [one] => Some(one.clone()),
                several => Some(several.concat().into()),
            },
            _ => None,
        }
    }
}

impl Default for EventBody {
    fn default() -> Self {
        Self::Data(vec![Bytes::new()])
    }
}

/// An event to publish.
///
/// ```
/// use eventhubs_types::EventData;
///
/// let event = EventData::new("21.5 °C").partition_key("kitchen").property("sensor", 7);
/// assert_eq!(event.body.bytes().unwrap(), "21.5 °C");
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct EventData {
    /// The body.
    pub body: EventBody,
    /// The properties that the application gives the event.
    pub properties: BTreeMap<String, Value>,
    /// Events with the same key go to the same partition, in order.
    pub partition_key: Option<String>,
    /// The id that the application gives the event.
    pub message_id: Option<String>,
    /// The id that relates the event to others.
    pub correlation_id: Option<String>,
    /// The MIME type of the body.
    pub content_type: Option<String>,
}

impl EventData {
    /// An event with one data section.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self::with_body(EventBody::Data(vec![body.into()]))
    }

    /// An event with a body of any kind.
    pub fn with_body(body: EventBody) -> Self {
        Self { body, ..Self::default() }
    }

    /// Sets one application property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Sets the partition key.
    #[must_use]
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    /// Sets the message id.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// Sets the correlation id.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the content type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }
}

impl<T: Into<Bytes>> From<T> for EventData {
    fn from(body: T) -> Self {
        Self::new(body)
    }
}
