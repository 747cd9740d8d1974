//! Sending events: a client of its own, with the errors of this crate. Its tests are in
//! `tests/it/sending.rs`.

use eventhubs_amqp::{
    ConnectionOptions, EventHubClient, EventHubClientBuilder, EventHubProperties, Producer, RetryPolicy,
    TokenCredential,
};
use eventhubs_types::{EventData, PartitionId};

use crate::{Error, Result};

/// Sends events to one event hub. Cheap to clone; nothing is contacted before it is used.
///
/// Events go out in batches as large as the service takes, one batch after the other. A batch that fails is
/// sent again within the retry policy: each event arrives at least once, and twice when only the
/// acknowledgement was lost.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let emulator = eventhubs_emulator::Emulator::builder().event_hub("readings", 4).start().await?;
/// # let connection_string = emulator.connection_string("readings");
/// use eventhubs::{EventData, ProducerClient};
///
/// let producer = ProducerClient::builder(connection_string).build()?;
/// producer.send([EventData::new("21.5 °C").partition_key("kitchen").property("sensor", 7)]).await?;
/// producer.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ProducerClient {
    hub: EventHubClient,
    partition: Option<PartitionId>,
    producer: Producer,
}

impl ProducerClient {
    /// Returns a builder for a client that authenticates with a connection string, which names the event hub
    /// in its `EntityPath`. [`build`](ProducerClientBuilder::build) checks it.
    pub fn builder(connection_string: impl AsRef<str>) -> ProducerClientBuilder {
        let hub = connection_string.as_ref().parse().map(EventHubClient::builder);
        ProducerClientBuilder { hub, partition: None }
    }

    /// Returns a builder for a client that authenticates with the tokens of a credential. `namespace` is the
    /// whole host name. [`build`](ProducerClientBuilder::build) checks the names.
    pub fn builder_with_credential(
        namespace: impl AsRef<str>,
        event_hub: impl AsRef<str>,
        credential: impl TokenCredential + 'static,
    ) -> ProducerClientBuilder {
        let hub = EventHubClient::with_credential(namespace, event_hub, credential);
        ProducerClientBuilder { hub: Ok(hub), partition: None }
    }

    pub(crate) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The only partition that it sends to.
    pub(crate) fn partition(&self) -> Option<&PartitionId> {
        self.partition.as_ref()
    }

    /// Sends events, and returns when the service has them all. Events with the same partition key, and
    /// events without one, stay in order where they follow each other.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) before anything is sent: when an event is
    /// larger than the service takes, has another body than bytes, or a partition key on a client for one
    /// partition. Any other error when the service refuses a batch or cannot be reached within the retry
    /// policy; the batches before that one are sent.
    ///
    /// # Cancel safety
    /// Can be dropped at any time. The batch that is under way may arrive or not, those after it do not.
    pub async fn send<E: Into<EventData>>(&self, events: impl IntoIterator<Item = E>) -> Result<()> {
        let sent = self.producer.send(events).await;
        sent.map_err(|source| Error::amqp("the events could not be sent", source))
    }

    /// Asks the service about the event hub.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached after the retries.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn event_hub_properties(&self) -> Result<EventHubProperties> {
        let properties = self.hub.event_hub_properties().await;
        properties.map_err(|source| Error::amqp("the event hub could not be looked up", source))
    }

    /// Closes the link and the connection. A later [`send`](Self::send) fails with
    /// [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Cancel safety
    /// If dropped, the connection is either closed or still open.
    pub async fn close(&self) {
        self.producer.close().await;
        self.hub.close().await;
    }
}

/// Builds a [`ProducerClient`].
#[derive(Debug)]
#[must_use]
pub struct ProducerClientBuilder {
    hub: eventhubs_amqp::Result<EventHubClientBuilder>,
    partition: Option<PartitionId>,
}

impl ProducerClientBuilder {
    /// Sets the event hub, when the connection string has no `EntityPath`. [`build`](Self::build) checks the
    /// name.
    pub fn event_hub(mut self, name: impl AsRef<str>) -> Self {
        self.hub = self.hub.map(|hub| hub.event_hub(name));
        self
    }

    /// Sends to this partition. Default: the service spreads events over all partitions, by their partition
    /// key if they have one.
    pub fn partition_id(mut self, partition: PartitionId) -> Self {
        self.partition = Some(partition);
        self
    }

    /// How the service is reached: in a WebSocket, through a proxy, by another endpoint.
    pub fn connection(mut self, options: ConnectionOptions) -> Self {
        self.hub = self.hub.map(|hub| hub.connection(options));
        self
    }

    /// Talks to an emulator, without TLS. A connection string says so itself.
    pub fn use_development_emulator(mut self) -> Self {
        self.hub = self.hub.map(EventHubClientBuilder::use_development_emulator);
        self
    }

    /// How failures are retried. Default: 3 retries with exponential backoff.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.hub = self.hub.map(|hub| hub.retry(policy));
        self
    }

    /// Builds the client. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the connection string or a name cannot be
    /// used; the text names the field.
    pub fn build(self) -> Result<ProducerClient> {
        let hub = self.hub?.build()?;
        let producer = match &self.partition {
            Some(partition) => hub.partition_producer(partition.clone()),
            None => hub.producer(),
        };
        Ok(ProducerClient { hub, partition: self.partition, producer })
    }
}
