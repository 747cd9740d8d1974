//! Sending events: a small producer for tools and tests.
//!
//! Tests: `tests/it/produce.rs`, `tests/it/forward.rs`.

mod batch;
mod encode;
mod forward;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use eventhubs_types::{EventData, PartitionId, Value};
use fe2o3_amqp::link::{DetachError, SendError};
use fe2o3_amqp::{Sendable, Sender};
use fe2o3_amqp_types::messaging::{Outcome, Target};
use futures::FutureExt;
use tokio::sync::Mutex;

use crate::connection::engine::Engine;
use crate::connection::library_error::{Failure, LinkFailure, remote};
use crate::connection::session::Session;
use crate::recovery::attempts::{Failures, retrying};
use crate::recovery::conditions::Recovery;
use crate::runtime::ambient;
use crate::{Error, ErrorKind, EventHubClient, RawMessage, Result};
use batch::Batch;
use forward::Forwarded;

/// The limit of the standard tier, for a broker that names none; in bytes.
const DEFAULT_MAX_MESSAGE_SIZE: u64 = 1024 * 1024;

/// Sends events to one event hub; made by [`EventHubClient::producer`] and
/// [`EventHubClient::partition_producer`].
///
/// Events go out in batches as large as the service takes, one batch after the other. A batch that fails is
/// sent again within the retry policy: each event arrives at least once, and twice when only the
/// acknowledgement was lost. Clones share one link.
///
/// ```
/// use eventhubs_amqp::{ConnectionString, EventHubClient};
/// use eventhubs_types::EventData;
/// # use eventhubs_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let emulator = Emulator::builder().event_hub("readings", 4).start().await?;
/// # let text = emulator.connection_string("readings");
/// let client = EventHubClient::builder(ConnectionString::parse(&text)?).build()?;
/// let producer = client.producer();
/// producer.send([EventData::new("21.5 °C").partition_key("kitchen").property("sensor", 7)]).await?;
/// producer.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer(Arc<Inner>);

struct Inner {
    client: EventHubClient,
    partition: Option<PartitionId>,
    /// Empty before the first send, while one is under way, and after a loss.
    link: Mutex<Option<Link>>,
}

impl EventHubClient {
    /// Returns a producer whose events the service distributes over the partitions, by their partition key if
    /// they have one. Does no I/O.
    pub fn producer(&self) -> Producer {
        Producer::new(self.clone(), None)
    }

    /// Returns a producer for one partition. Does no I/O.
    pub fn partition_producer(&self, partition: PartitionId) -> Producer {
        Producer::new(self.clone(), Some(partition))
    }
}

impl TryFrom<&EventData> for RawMessage {
    type Error = Error;

    /// Encodes an event as [`Producer::send`] does.
    fn try_from(event: &EventData) -> Result<Self> {
        encode::encode(event)
            .map(|bytes| Self::from(Bytes::from(bytes)))
            .map_err(|why| Error::invalid(format!("the event {why}")))
    }
}

impl Producer {
    fn new(client: EventHubClient, partition: Option<PartitionId>) -> Self {
        Self(Arc::new(Inner { client, partition, link: Mutex::default() }))
    }

    /// Sends events, and returns when the service has acknowledged all of them. Consecutive events with the
    /// same partition key, or without one, stay in order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] before anything is sent: when an event is larger than the service
    /// takes, has another body than bytes, a property with a list, map, array or described value, or a
    /// partition key on a producer for one partition. Any other error when the service refuses a batch or
    /// cannot be reached within the retry policy; batches before that one are sent.
    ///
    /// # Cancel safety
    /// Safe to drop: the batch that is being sent may or may not arrive; those after it do not.
    pub async fn send<E: Into<EventData>>(&self, events: impl IntoIterator<Item = E>) -> Result<()> {
        let limit = self.max_message_size().await?;
        let events = events.into_iter().map(Into::into);
        for batch in batch::pack(events, limit, self.0.partition.is_some())? {
            self.send_batch(batch).await?;
        }
        Ok(())
    }

    /// Sends a message that was received, with further application properties, and returns when the service has
    /// acknowledged it.
    ///
    /// The header, the properties, the application properties, the body of whatever kind and the footer are passed on
    /// byte for byte, also parts that cannot be decoded. Left out are the delivery annotations, and of the message
    /// annotations those of the service: sequence number, offset, enqueued time and partition id. The partition key
    /// stays.
    ///
    /// `added` is a choice of sets of application properties, the best one first: the first set is used with which the
    /// message is not larger than the service takes. They replace properties of the same name.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use eventhubs_amqp::{ConnectionString, EventHubClient};
    /// # use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition, Value};
    /// # use eventhubs_emulator::Emulator;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let emulator = Emulator::builder().event_hub("orders", 1).event_hub("failed", 1).start().await?;
    /// # emulator.publish_to("orders", "0", ["a"])?;
    /// # let client = |hub| EventHubClient::builder(ConnectionString::parse(&emulator.connection_string(hub))?).build();
    /// # let orders = client("orders")?;
    /// # let receiver = orders.partition_receiver(ConsumerGroup::default(), PartitionId::new("0")?);
    /// # let mut receiver = receiver.starting_position(StartingPosition::Earliest).open().await?;
    /// # let event = receiver.receive_batch(1, None).await?.remove(0);
    /// # let failed = client("failed")?.producer();
    /// let why = BTreeMap::from([("why".to_owned(), Value::from("no such article"))]);
    /// if let Some(message) = event.raw_message() {
    ///     failed.send_raw(&message, &[why, BTreeMap::new()]).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] before anything is sent: when the sections of the message cannot be told apart,
    /// when it is too large with each of the sets, when a property is no simple value, or when it has a partition key
    /// and this is a producer for one partition. Any other error as for [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Safe to drop: the message may or may not arrive.
    pub async fn send_raw(&self, message: &RawMessage, added: &[BTreeMap<String, Value>]) -> Result<()> {
        let forwarded = Forwarded::read(message.bytes())
            .map_err(|why| Error::invalid(format!("the message cannot be sent as it is: {why}")))?;
        if self.0.partition.is_some() && forwarded.partition_key.is_some() {
            return Err(Error::invalid("the message has a partition key, and goes to one partition"));
        }
        let limit = self.max_message_size().await?;
        let mut smallest = usize::MAX;
        for properties in added {
            let encoded = forwarded.with(properties).map_err(Error::invalid)?;
            smallest = smallest.min(encoded.len());
            if let Some(batch) = Batch::of_one(forwarded.partition_key.clone(), encoded, limit) {
                return self.send_batch(batch).await;
            }
        }
        Err(Error::invalid(format!("the message has {smallest} bytes; the limit is {limit}")))
    }

    async fn send_batch(&self, batch: Batch) -> Result<()> {
        let batch = Arc::new(batch);
        self.trying(move |inner, fresh| {
            let batch = Arc::clone(&batch);
            async move { inner.send_once(&batch, fresh).await }
        })
        .await
    }

    /// Returns the largest batch that the service accepts, in bytes.
    ///
    /// # Errors
    /// When the service refuses or cannot be reached within the retry policy.
    ///
    /// # Cancel safety
    /// Safe to drop; asking again starts over.
    pub async fn max_message_size(&self) -> Result<u64> {
        self.trying(|inner, fresh| async move { inner.max_message_size_once(fresh).await }).await
    }

    /// Within the retry policy.
    async fn trying<T, F>(&self, attempt: impl Fn(Arc<Inner>, bool) -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let attempt = |fresh| attempt(Arc::clone(&self.0), fresh).boxed();
        retrying(self.0.client.retry(), &mut Failures::default(), None, attempt).await
    }

    /// Detaches. The next send attaches again.
    ///
    /// # Cancel safety
    /// Safe to drop: detaching continues in the background.
    pub async fn close(&self) {
        if let Some(link) = self.0.link.lock().await.take() {
            link.session.end().await;
        }
    }
}

impl Inner {
    async fn send_once(&self, batch: &Batch, fresh: bool) -> Result<()> {
        let mut slot = self.link.lock().await;
        let mut link = self.attached(slot.take(), fresh).await?;
        // a link that failed, or whose send was dropped half-way, is not used again
        let outcome = link.send(batch.sendable(), &self.subject()).await?;
        *slot = Some(link);
        accepted(outcome, &self.subject())
    }

    async fn max_message_size_once(&self, fresh: bool) -> Result<u64> {
        let mut slot = self.link.lock().await;
        let link = self.attached(slot.take(), fresh).await?;
        let size = link.sender.max_message_size().filter(|size| *size > 0);
        *slot = Some(link);
        Ok(size.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE))
    }

    /// The link that is there, or a new one.
    async fn attached(&self, known: Option<Link>, fresh: bool) -> Result<Link> {
        match known.filter(|link| !fresh && link.engine.is_live()) {
            Some(link) => Ok(link),
            None => self
                .attach(fresh)
                .await
                .map_err(|error| error.within(&format!("attaching to {}", self.subject()))),
        }
    }

    async fn attach(&self, fresh: bool) -> Result<Link> {
        let engine = self.client.authorized_engine(fresh).await?;
        let mut session = engine.begin().await?;
        let hub = self.client.event_hub();
        let address = match &self.partition {
            Some(partition) => format!("{hub}/Partitions/{partition}"),
            None => hub.to_string(),
        };
        let attaching = Sender::builder()
            .name(format!("{}-{}", self.client.identifier(), ambient::suffix()))
            .source(self.client.identifier())
            .target(Target::builder().address(address).build())
            .attach(session.handle());
        let sender = engine.bounded("attaching", attaching).await?;
        Ok(Link { sender, session, engine })
    }

    /// For error texts.
    fn subject(&self) -> String {
        let partition = self.partition.as_ref().map(|id| format!(", partition {id}")).unwrap_or_default();
        format!("event hub {}{partition}", self.client.event_hub())
    }
}

/// An attached link. Dropping it ends its session in the background.
struct Link {
    sender: Sender,
    session: Session,
    engine: Arc<Engine>,
}

impl Link {
    /// The library waits for an outcome that cannot come any more when link or session end, so that is
    /// watched here.
    async fn send(&mut self, batch: Sendable<batch::Body>, subject: &str) -> Result<Outcome> {
        let Self { sender, session, engine } = self;
        let sending = async {
            let outcome = sender.send_batchable(batch).await.map_err(Broken::Send)?;
            tokio::select! {
                biased;
                outcome = outcome => outcome.map_err(Broken::Send),
                detached = sender.on_detach() => Err(Broken::Detached(detached)),
                _ = session.handle().on_end() => Err(Broken::SessionEnded),
            }
        };
        engine.bounded(&format!("sending to {subject}"), sending).await
    }
}

enum Broken {
    Send(SendError),
    Detached(DetachError),
    SessionEnded,
}

impl Failure for Broken {
    fn failure(self, context: &str) -> LinkFailure {
        match self {
            Self::Send(error) => error.failure(context),
            Self::Detached(error) => error.failure(context),
            Self::SessionEnded => {
                let error = Error::new(ErrorKind::Transport, format!("{context}: the session ended"));
                LinkFailure::Known(error.with_recovery(Recovery::Reattach))
            }
        }
    }
}

fn accepted(outcome: Outcome, subject: &str) -> Result<()> {
    let what = format!("sending to {subject}");
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(rejected) => Err(match rejected.error {
            Some(error) => remote(&what, &error),
            None => Error::new(ErrorKind::Protocol, format!("{what}: rejected without a reason")),
        }),
        other => Err(Error::new(ErrorKind::Transport, format!("{what}: not taken, {other:?}"))),
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("event_hub", self.0.client.event_hub())
            .field("partition", &self.0.partition)
            .finish_non_exhaustive()
    }
}
