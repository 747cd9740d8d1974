//! Events over HTTP: publish them, read them, and watch them come.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use eventhubs_emulator::{Emulator, Error, PublishedEvent};
use eventhubs_types::{EventBody, EventData, SequenceNumber};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, interval};

use super::inspect::milliseconds;
use super::running::Running;
use super::site::{Answer, Body, Site, ok, refusal, with_emulator};

/// How many events one request can read.
const MAX_EVENTS: usize = 1000;
/// How often a live tail looks for events.
const LOOK: Duration = Duration::from_millis(250);
/// How many events of one partition a live tail shows at once.
const TAIL_EVENTS: usize = 100;

/// An event to publish.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    body: String,
    partition_id: Option<String>,
    partition_key: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

impl From<NewEvent> for EventData {
    fn from(new: NewEvent) -> Self {
        let mut event = Self::new(new.body);
        event.partition_key = new.partition_key;
        new.properties.into_iter().fold(event, |event, (name, value)| event.property(name, value))
    }
}

/// Publishes one event.
pub(super) async fn publish(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
    Body(new): Body<NewEvent>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        match new.partition_id.clone() {
            Some(partition) => emulator.publish_to(&hub, &partition, [EventData::from(new)])?,
            None => emulator.publish(&hub, [EventData::from(new)])?,
        }
        Ok((StatusCode::CREATED, axum::Json(json!({}))))
    })
}

/// Which events to read.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    partition_id: String,
    /// The sequence number of the first.
    #[serde(default)]
    from: i64,
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    100
}

/// Reads events of one partition.
pub(super) async fn read(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
    Query(range): Query<Range>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        let limit = range.limit.min(MAX_EVENTS);
        let events = emulator.events(&hub, &range.partition_id, range.from.into(), limit)?;
        Ok(ok(events.iter().map(|event| as_json(&range.partition_id, event)).collect()))
    })
}

/// How much of the past a live tail shows.
#[derive(Debug, Deserialize)]
pub(super) struct Past {
    /// Events of each partition that are there already.
    #[serde(default)]
    recent: u32,
}

/// Sends each event of a hub as it comes, as server-sent events.
pub(super) async fn tail(
    State(site): State<Site>,
    Path((namespace, hub)): Path<(String, String)>,
    Query(Past { recent }): Query<Past>,
) -> Response {
    let Ok(place) = site.tails.try_acquire_owned() else {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "too many live tails are watched").into_response();
    };
    let (mut next, mut created_on) = (BTreeMap::new(), None);
    let (status, answer) = with_emulator(&site.running, &namespace, |emulator| {
        let properties = emulator.event_hub(&hub)?;
        created_on = properties.created_on;
        for partition in properties.partitions {
            // May be before the first event, or negative: reading begins with the oldest that is kept then.
            let from = partition.last_enqueued_sequence_number.value() + 1 - i64::from(recent);
            next.insert(partition.partition_id, from);
        }
        Ok(ok(json!({})))
    });
    if status != StatusCode::OK {
        return (status, answer).into_response();
    }
    let running = site.running;
    let tail = Tail {
        running,
        namespace,
        hub,
        created_on,
        next,
        waiting: VecDeque::new(),
        looks: interval(LOOK),
        _place: place,
    };
    let events = stream::unfold(tail, |mut tail| async {
        let event = tail.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(event.to_string())), tail))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

struct Tail {
    running: Weak<Running>,
    namespace: String,
    hub: String,
    /// Which life of the hub the numbers are of.
    created_on: Option<SystemTime>,
    /// The sequence number of the next event to show, by partition.
    next: BTreeMap<String, i64>,
    waiting: VecDeque<Value>,
    looks: Interval,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    /// `None` when the hub or the emulator is gone.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            self.looks.tick().await;
            // For this look only: a tail that is watched must not keep the emulators alive.
            let running = self.running.upgrade()?;
            self.look(running.emulator(&self.namespace)?).ok()?;
        }
    }

    fn look(&mut self, emulator: &Emulator) -> Result<(), Error> {
        let hub = emulator.event_hub(&self.hub)?;
        // The numbers of a re-created hub begin at zero, and would be taken for events that were shown.
        if hub.created_on != self.created_on {
            self.next.clear();
            self.created_on = hub.created_on;
        }
        for partition in hub.partitions {
            let id = partition.partition_id;
            let next = self.next.entry(id.clone()).or_default();
            let end = partition.last_enqueued_sequence_number.value() + 1;
            if end < *next {
                // Re-created within the same millisecond.
                *next = 0;
            }
            if end == *next {
                continue;
            }
            for event in emulator.events(&self.hub, &id, SequenceNumber::from(*next), TAIL_EVENTS)? {
                *next = event.sequence_number.value() + 1;
                self.waiting.push_back(as_json(&id, &event));
            }
        }
        Ok(())
    }
}

fn as_json(partition_id: &str, event: &PublishedEvent) -> Value {
    let properties = event.event.properties.iter();
    let properties: serde_json::Map<_, _> =
        properties.map(|(name, value)| (name.clone(), property(value))).collect();
    json!({
        "partition_id": partition_id,
        "sequence_number": event.sequence_number.value(),
        "offset": event.offset.as_str(),
        "enqueued_time_ms": event.enqueued_time.map(milliseconds),
        "partition_key": event.event.partition_key,
        "message_id": event.event.message_id,
        "properties": properties,
        "body": body(&event.event.body),
    })
}

/// Text, if the body is; else what Rust shows of it.
fn body(body: &EventBody) -> String {
    match body.bytes() {
        Some(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("{bytes:?}"),
        },
        None => format!("{body:?}"),
    }
}

fn property(value: &eventhubs_types::Value) -> Value {
    match (value, value.as_str(), value.as_i64()) {
        (eventhubs_types::Value::Bool(v), ..) => json!(v),
        (_, Some(text), _) => json!(text),
        (_, _, Some(number)) => json!(number),
        (other, ..) => json!(format!("{other:?}")),
    }
}
