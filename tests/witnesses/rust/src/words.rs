//! What requests and answers mean in the words of the SDK.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use azure_core_amqp::AmqpList;
use azure_core_amqp::message::AmqpMessageBody;
use azure_messaging_eventhubs::models::{
    AmqpMessage, AmqpSimpleValue, AmqpValue, EventData, EventHubPartitionProperties, EventHubProperties,
    MessageId, ReceivedEventData,
};
use azure_messaging_eventhubs::{
    EventDataBatchOptions, EventHubsError, RetryOptions, StartLocation, StartPosition,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    Properties { hub: String },
    Partition { hub: String, partition: String },
    Send(Send),
    Read(Read),
    Process { reader: String, hub: String },
    Stop { reader: String },
}

#[derive(Deserialize)]
pub struct Send {
    pub hub: String,
    pub bodies: Vec<Value>,
    batch: bool,
    pub partition: Option<String>,
    key: Option<String>,
    message_id: Option<String>,
    properties: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
pub struct Read {
    pub reader: String,
    pub hub: String,
    pub partition: String,
    pub group: String,
    start: Start,
    pub owner_level: Option<i64>,
    retry: bool,
}

#[derive(Deserialize)]
struct Start {
    latest: Option<bool>,
    offset: Option<String>,
    sequence_number: Option<i64>,
    enqueued_ms: Option<u64>,
    #[serde(default)]
    inclusive: bool,
}

impl TryFrom<&Value> for Request {
    /// What the SDK does not have.
    type Error = &'static str;

    fn try_from(asked: &Value) -> Result<Self, Self::Error> {
        if asked["last_enqueued"] == true {
            return Err("the properties of the last event");
        }
        if !asked["idle_seconds"].is_null() {
            return Err("an idle time-out");
        }
        Self::deserialize(asked).map_err(|_| "the request")
    }
}

impl Read {
    pub fn position(&self) -> StartPosition {
        let start = &self.start;
        let location = match (&start.offset, start.sequence_number, start.enqueued_ms, start.latest) {
            (Some(offset), ..) => StartLocation::Offset(offset.clone()),
            (_, Some(number), ..) => StartLocation::SequenceNumber(number),
            (_, _, Some(millis), _) => {
                StartLocation::EnqueuedTime(UNIX_EPOCH + Duration::from_millis(millis))
            }
            (_, _, _, Some(true)) => StartLocation::Latest,
            _ => StartLocation::Earliest,
        };
        StartPosition { location, inclusive: start.inclusive }
    }

    pub fn retries(&self) -> RetryOptions {
        let some = RetryOptions::default();
        RetryOptions { max_retries: if self.retry { some.max_retries } else { 0 }, ..some }
    }
}

impl Send {
    /// A key can be given to batches only.
    pub fn batch(&self) -> Option<EventDataBatchOptions> {
        (self.batch || self.key.is_some()).then(|| EventDataBatchOptions {
            max_size_in_bytes: None,
            partition_key: self.key.clone(),
            partition_id: self.partition.clone(),
        })
    }

    pub fn messages(&self) -> impl Iterator<Item = AmqpMessage> {
        self.bodies.iter().map(|body| match body {
            Value::Object(kinds) => AmqpMessage::builder().with_body(other_body(kinds)).build(),
            text => self.event(text.as_str().unwrap_or_default()).into(),
        })
    }

    fn event(&self, body: &str) -> EventData {
        let mut event = EventData::builder().with_body(body.as_bytes());
        if let Some(id) = &self.message_id {
            event = event.with_message_id(id.as_str());
        }
        for (name, value) in self.properties.iter().flatten() {
            event = event.add_property(name.clone(), simple(value));
        }
        event.build()
    }
}

fn other_body(kinds: &Map<String, Value>) -> AmqpMessageBody {
    match kinds.get("sequence").and_then(Value::as_array) {
        Some(lists) => AmqpMessageBody::Sequence(lists.iter().map(list).collect()),
        None => AmqpMessageBody::Value(to_amqp(&kinds["value"])),
    }
}

fn list(values: &Value) -> AmqpList {
    values.as_array().into_iter().flatten().map(to_amqp).collect::<Vec<_>>().into()
}

fn to_amqp(value: &Value) -> AmqpValue {
    match value {
        Value::Null => AmqpValue::Null,
        Value::Bool(value) => AmqpValue::Boolean(*value),
        Value::Number(value) => AmqpValue::Long(value.as_i64().unwrap_or_default()),
        Value::String(value) => AmqpValue::String(value.clone()),
        Value::Array(_) => AmqpValue::List(list(value)),
        Value::Object(map) => AmqpValue::Map(
            map.iter().map(|(key, value)| (AmqpValue::String(key.clone()), to_amqp(value))).collect(),
        ),
    }
}

fn body(body: &AmqpMessageBody) -> Value {
    match body {
        AmqpMessageBody::Binary(sections) => json!(String::from_utf8_lossy(&sections.concat())),
        AmqpMessageBody::Sequence(lists) => {
            json!({ "sequence": lists.iter().map(|list| from_list(&list.0)).collect::<Vec<_>>() })
        }
        AmqpMessageBody::Value(value) => json!({ "value": from_amqp(value) }),
        AmqpMessageBody::Empty => Value::Null,
    }
}

fn from_list(values: &[AmqpValue]) -> Value {
    values.iter().map(from_amqp).collect()
}

fn from_amqp(value: &AmqpValue) -> Value {
    match value {
        AmqpValue::Null => Value::Null,
        AmqpValue::Long(value) => json!(value),
        AmqpValue::String(value) => json!(value),
        AmqpValue::List(list) => from_list(&list.0),
        AmqpValue::Map(map) => map
            .iter()
            .map(|(key, value)| {
                (format!("{}", from_amqp(&key).as_str().unwrap_or_default()), from_amqp(&value))
            })
            .collect(),
        other => json!(format!("{other:?}")),
    }
}

fn simple(value: &Value) -> AmqpSimpleValue {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Number(value) => value.as_i64().unwrap_or_default().into(),
        value => value.as_str().unwrap_or_default().into(),
    }
}

fn plain(value: &AmqpSimpleValue) -> Value {
    match value {
        AmqpSimpleValue::Boolean(value) => json!(value),
        AmqpSimpleValue::Long(value) => json!(value),
        AmqpSimpleValue::String(value) => json!(value),
        other => json!(format!("{other:?}")),
    }
}

fn millis(time: Option<SystemTime>) -> Option<u128> {
    Some(time?.duration_since(UNIX_EPOCH).ok()?.as_millis())
}

pub fn hub(properties: EventHubProperties) -> Value {
    json!({ "name": properties.name, "partitions": properties.partition_ids })
}

pub fn partition(properties: EventHubPartitionProperties) -> Value {
    json!({
        "id": properties.id,
        "beginning": properties.beginning_sequence_number,
        "last": properties.last_enqueued_sequence_number,
        "offset": properties.last_enqueued_offset,
        "enqueued_ms": millis(properties.last_enqueued_time_utc),
        "empty": properties.is_empty,
    })
}

/// What a reader has to say.
pub fn say(reader: &str, partition: &str, said: Result<ReceivedEventData, EventHubsError>) {
    let line = match said {
        Ok(received) => json!({ "reader": reader, "event": event(partition, &received) }),
        Err(error) => json!({ "reader": reader, "error": chain(&error) }),
    };
    println!("{line}");
}

/// An error with all that is below it.
pub fn chain(error: &dyn Error) -> String {
    let below = std::iter::successors(error.source(), |&error| error.source());
    below.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

fn event(partition: &str, received: &ReceivedEventData) -> Value {
    let event = received.event_data();
    let message_id = event.message_id().map(|id| match id {
        MessageId::String(id) => id.clone(),
        other => format!("{other:?}"),
    });
    let properties = event.properties().into_iter().flatten();
    let properties: Map<_, _> = properties.map(|(name, value)| (name.clone(), plain(value))).collect();
    json!({
        "partition": partition,
        "body": body(&received.raw_amqp_message().body),
        "sequence_number": received.sequence_number(),
        "offset": received.offset(),
        "enqueued_ms": millis(received.enqueued_time()),
        "key": received.partition_key(),
        "message_id": message_id,
        "properties": properties,
    })
}
