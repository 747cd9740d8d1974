//! The options of a receiver, and how it opens its links.
//!
//! Tests: `tests/it/positions.rs`, `owner_level.rs` and `prefetch.rs`.

use std::sync::Arc;

use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::client::check_identifier;
use crate::event::received::EventSource;
use crate::link::attach::LinkOptions;
use crate::link::filter::selector;
use crate::link::source::DeliverySource;
use crate::receiver::Opener;
use crate::tap::Prefetch;
use crate::{Error, ErrorKind, EventHubClient, PartitionReceiver, Result};

/// Options of a [`PartitionReceiver`]; made by [`EventHubClient::partition_receiver`].
///
/// ```
/// # use eventhubs_emulator::Emulator;
/// # use eventhubs_amqp::{ConnectionString, EventHubClient};
/// use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
/// # let text = emulator.connection_string("orders");
/// # let client = EventHubClient::builder(ConnectionString::parse(&text)?).build()?;
/// let receiver = client
///     .partition_receiver(ConsumerGroup::default(), PartitionId::new("1")?)
///     .starting_position(StartingPosition::after_sequence_number(-1))
///     .owner_level(0)
///     .identifier("billing-7")
///     .open()
///     .await?;
/// # receiver.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PartitionReceiverBuilder {
    client: EventHubClient,
    group: ConsumerGroup,
    partition: PartitionId,
    position: StartingPosition,
    owner_level: Option<i64>,
    prefetch: Prefetch,
    track: bool,
    identifier: Option<String>,
}

impl PartitionReceiverBuilder {
    /// The default of [`prefetch`](Self::prefetch).
    pub const DEFAULT_PREFETCH: u32 = 300;

    /// The default of [`prefetch_bytes`](Self::prefetch_bytes): 8 MiB.
    pub const DEFAULT_PREFETCH_BYTES: usize = 8 * 1024 * 1024;

    /// The largest value of [`prefetch`](Self::prefetch).
    pub const MAX_PREFETCH: u32 = 10_000;

    pub(crate) fn new(client: EventHubClient, group: ConsumerGroup, partition: PartitionId) -> Self {
        Self {
            client,
            group,
            partition,
            position: StartingPosition::default(),
            owner_level: None,
            prefetch: Prefetch { events: Self::DEFAULT_PREFETCH, bytes: Self::DEFAULT_PREFETCH_BYTES },
            track: false,
            identifier: None,
        }
    }

    /// Sets where reading starts. Default: [`StartingPosition::Latest`].
    pub fn starting_position(mut self, position: StartingPosition) -> Self {
        self.position = position;
        self
    }

    /// Sets the owner level (epoch), with which this receiver reads the partition alone: a receiver with a
    /// higher or equal level takes it over, and one with a lower level or none is refused. Default: none; up
    /// to five receivers share the partition.
    pub fn owner_level(mut self, level: i64) -> Self {
        self.owner_level = Some(level);
        self
    }

    /// Sets how many events the service may send ahead, 1 to [`MAX_PREFETCH`](Self::MAX_PREFETCH). Default:
    /// 300 events.
    pub fn prefetch(mut self, events: u32) -> Self {
        self.prefetch.events = events;
        self
    }

    /// Limits the bytes of the events in memory, as estimated from the sizes of the last events: those that
    /// were prefetched and those that were returned by the last
    /// [`receive_batch`](PartitionReceiver::receive_batch), which returns at most half of the limit. Default:
    /// 8 MiB. One event is always let through, whatever its size.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.prefetch.bytes = bytes;
        self
    }

    /// Sets whether the service tells about the newest event of the partition with each event. Default: no.
    pub fn track_last_enqueued_event_properties(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// Sets the name of this receiver in the service's logs and errors, at most 64 bytes. Default: the
    /// identifier of the client.
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// Attaches to the partition.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the name of the option that cannot be used; any other when the
    /// service refuses, or cannot be reached within the retry policy. The service may also accept first and
    /// refuse right afterwards: that error comes from the first
    /// [`receive_batch`](PartitionReceiver::receive_batch).
    ///
    /// # Cancel safety
    /// Safe to drop: a link that was attached meanwhile is detached.
    pub async fn open(self) -> Result<PartitionReceiver> {
        let identifier = self.identifier.unwrap_or_else(|| self.client.identifier().to_owned());
        check_identifier(&identifier)?;
        if !(1..=Self::MAX_PREFETCH).contains(&self.prefetch.events) {
            return Err(Error::invalid(format!("prefetch: must be 1 to {}", Self::MAX_PREFETCH)));
        }
        selector(&self.position)?;
        let position = match self.position {
            StartingPosition::Latest => newest(&self.client, &self.partition).await?,
            other => other,
        };
        let origin = EventSource {
            event_hub: self.client.event_hub().clone(),
            consumer_group: self.group.clone(),
            partition: self.partition.clone(),
        };
        let options = LinkOptions {
            event_hub: self.client.event_hub().clone(),
            group: self.group,
            partition: self.partition,
            owner_level: self.owner_level,
            prefetch: self.prefetch,
            track_last_enqueued: self.track,
            identifier,
        };
        let retry = self.client.retry().clone();
        let connection = self.client.next_connection();
        let links = ClientOpener { client: self.client, connection, options };
        PartitionReceiver::open(origin, Arc::new(links), retry, position).await
    }
}

/// The position after the newest event. It is looked up once, so that a receiver that loses its link before
/// the first event does not skip what came meanwhile (docs/contract.md §5.6).
async fn newest(client: &EventHubClient, partition: &PartitionId) -> Result<StartingPosition> {
    match client.partition_properties(partition).await {
        // Where the answer contradicts itself, the service decides what is newest.
        Ok(properties) => Ok(properties.after_newest_event().unwrap_or(StartingPosition::Latest)),
        // A token for the consumer group alone may read, but not ask: then the service decides what is
        // newest.
        Err(error) if error.kind() == ErrorKind::Unauthorized => Ok(StartingPosition::Latest),
        Err(error) => Err(error),
    }
}

struct ClientOpener {
    client: EventHubClient,
    connection: usize,
    options: LinkOptions,
}

impl Opener for ClientOpener {
    fn open(
        &self,
        position: StartingPosition,
        fresh: bool,
    ) -> BoxFuture<'static, Result<Box<dyn DeliverySource>>> {
        let (client, connection, options) = (self.client.clone(), self.connection, self.options.clone());
        async move { client.attach_once(connection, &options, &position, fresh).await }.boxed()
    }
}
