//! What a check has: an event hub of its own, and a client that does what it is told.

use std::time::Duration;

use eventhubs_emulator::Emulator;
use eventhubs_test_harness::until;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::witness::{Event, Failure, Outcome, Said, Witness, failed};

/// How many each hub has.
pub(super) const PARTITIONS: usize = 4;
/// Where a check reads and sends, if it does not matter.
pub(super) const PARTITION: &str = "0";

/// How long a link may take to come or to go.
const LINK_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Stage<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) hub: &'a str,
    pub(super) witness: &'a mut Witness,
    readers: usize,
}

/// How a reader is opened.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) partition: String,
    pub(super) group: &'static str,
    pub(super) start: Value,
    pub(super) owner_level: Option<i64>,
    pub(super) last_enqueued: bool,
    /// Whether the client may try again when it is refused.
    pub(super) retry: bool,
    /// After how many seconds of silence a connection counts as dead.
    pub(super) idle_seconds: Option<u32>,
}

/// From a position, which is an object as the clients get it.
pub(super) fn from(start: Value) -> Read {
    Read {
        partition: PARTITION.to_owned(),
        group: "$Default",
        start,
        owner_level: None,
        last_enqueued: false,
        retry: true,
        idle_seconds: None,
    }
}

pub(super) fn from_earliest() -> Read {
    from(json!({ "earliest": true }))
}

impl<'a> Stage<'a> {
    pub(super) fn new(emulator: &'a Emulator, hub: &'a str, witness: &'a mut Witness) -> Self {
        Self { emulator, hub, witness, readers: 0 }
    }

    /// Sends through the client, one event after the other; `to` and `event` are options of the request.
    pub(super) async fn send(&mut self, bodies: &[&str], options: Value) -> Outcome {
        let mut request = json!({ "hub": self.hub, "bodies": bodies, "batch": false });
        merge(&mut request, options);
        self.witness.ask("send", request).await.map(drop)
    }

    /// Publishes without the client.
    pub(super) fn publish<B: ToString>(&self, bodies: impl IntoIterator<Item = B>) {
        let bodies = bodies.into_iter().map(|body| body.to_string());
        self.emulator.publish_to(self.hub, PARTITION, bodies).expect("the hub has the partition");
    }

    /// Begins to read; whether that works is seen by what the reader says.
    pub(super) async fn read(&mut self, read: Read) -> Outcome<String> {
        self.readers += 1;
        let reader = format!("{} {}", self.hub, self.readers);
        let request = json!({
            "reader": reader,
            "hub": self.hub,
            "partition": read.partition,
            "group": read.group,
            "start": read.start,
            "owner_level": read.owner_level,
            "last_enqueued": read.last_enqueued,
            "retry": read.retry,
            "idle_seconds": read.idle_seconds,
        });
        self.witness.ask("read", request).await?;
        Ok(reader)
    }

    pub(super) async fn stop(&mut self, reader: &str) -> Outcome {
        self.witness.ask("stop", json!({ "reader": reader })).await.map(drop)
    }

    /// The next event; an error of the reader is a failure.
    pub(super) async fn event(&mut self, reader: &str) -> Outcome<Event> {
        match self.witness.next_of(&[reader]).await?.1 {
            Said::Event(event) => Ok(*event),
            Said::Error(error) => Err(failed(format!("{reader}: {error}"))),
        }
    }

    /// The next event, whatever the reader complains of before.
    pub(super) async fn event_despite_errors(&mut self, reader: &str) -> Outcome<Event> {
        let mut errors = Vec::new();
        loop {
            match self.witness.next_of(&[reader]).await {
                Ok((_, Said::Event(event))) => return Ok(*event),
                Ok((_, Said::Error(error))) => errors.push(error),
                Err(Failure::Failed(why)) => return Err(failed(format!("{why}, after {errors:?}"))),
                Err(absent) => return Err(absent),
            }
        }
    }

    /// Demands that the reader is told this, after whatever events.
    pub(super) async fn told(&mut self, reader: &str, text: &str) -> Outcome {
        let mut errors = Vec::new();
        loop {
            match self.witness.next_of(&[reader]).await {
                Ok((_, Said::Error(error))) if error.contains(text) => return Ok(()),
                Ok((_, Said::Error(error))) => errors.push(error),
                Ok((_, Said::Event(_))) => {}
                Err(Failure::Failed(why)) => {
                    return Err(failed(format!("{why}: {text:?} was not among {errors:?}")));
                }
                Err(absent) => return Err(absent),
            }
        }
    }

    /// Demands that a reader is refused with this.
    pub(super) async fn refused(&mut self, read: Read, text: &str) -> Outcome {
        let reader = self.read(Read { retry: false, ..read }).await?;
        self.told(&reader, text).await?;
        self.stop(&reader).await
    }

    /// So many events from a position on.
    pub(super) async fn events(&mut self, count: usize, read: Read) -> Outcome<Vec<Event>> {
        let reader = self.read(read).await?;
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event(&reader).await?);
        }
        self.stop(&reader).await?;
        Ok(events)
    }

    /// The links of readers, as the emulator sees them.
    pub(super) fn links(&self) -> Vec<u64> {
        let receivers = self.emulator.receivers(self.hub).expect("the hub is there");
        receivers.into_iter().map(|receiver| receiver.id).collect()
    }

    /// Waits until a reader is attached.
    pub(super) async fn attached(&self) -> Outcome {
        let waited = timeout(LINK_LIMIT, until("a link", || !self.links().is_empty())).await;
        waited.map_err(|_| failed("no reader was attached"))
    }

    /// Waits until these links have ended.
    pub(super) async fn gone(&self, links: &[u64]) -> Outcome {
        let waited =
            timeout(LINK_LIMIT, until("no link", || !self.links().iter().any(|link| links.contains(link))))
                .await;
        waited.map_err(|_| failed("the links of the readers have not ended"))
    }

    /// How many events each partition has got.
    pub(super) fn counts(&self) -> Vec<usize> {
        let count =
            |id: usize| self.emulator.partition(self.hub, &id.to_string()).expect("it is there").event_count;
        (0..PARTITIONS).map(count).collect()
    }
}

fn merge(request: &mut Value, options: Value) {
    let Value::Object(options) = options else { return };
    for (name, value) in options {
        request[name] = value;
    }
}

/// Demands that both are the same.
#[expect(clippy::needless_pass_by_value, reason = "most callers have nothing to lend")]
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(failed(format!("{what}: got {got:?}, expected {expected:?}"))) }
}
