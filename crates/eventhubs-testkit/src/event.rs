//! The events that a test sends.

use std::time::SystemTime;

use eventhubs::{EventBody, EventData, Value};

/// An event for a [`HandlerTest`](crate::HandlerTest).
#[derive(Debug, Clone)]
pub struct TestEvent {
    pub(crate) data: EventData,
    pub(crate) enqueued: Option<SystemTime>,
}

/// Returns an event with this body.
pub fn event(body: impl Into<Vec<u8>>) -> TestEvent {
    EventData::new(body.into()).into()
}

impl TestEvent {
    /// Returns an event whose body no SDK can decode.
    pub fn undecodable(bytes: impl Into<Vec<u8>>) -> Self {
        EventData::with_body(EventBody::Undecodable(bytes.into().into())).into()
    }

    /// Sets the partition key.
    #[must_use]
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.data.partition_key = Some(key.into());
        self
    }

    /// Sets a property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.properties.insert(name.into(), value.into());
        self
    }

    /// Sets the id of the message.
    #[must_use]
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.data.message_id = Some(id.into());
        self
    }

    /// Sets the id that relates the event to others.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.data.correlation_id = Some(id.into());
        self
    }

    /// Sets the MIME type of the body.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.data.content_type = Some(content_type.into());
        self
    }

    /// Sets when the service took the event. Default: unknown.
    #[must_use]
    pub fn enqueued_time(mut self, time: SystemTime) -> Self {
        self.enqueued = Some(time);
        self
    }
}

impl From<EventData> for TestEvent {
    fn from(data: EventData) -> Self {
        Self { data, enqueued: None }
    }
}

impl From<&str> for TestEvent {
    fn from(body: &str) -> Self {
        event(body)
    }
}
