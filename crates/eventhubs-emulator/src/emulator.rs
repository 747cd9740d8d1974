use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventhubs_types::{EventData, Offset, SequenceNumber};
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::builder::Builder;
use crate::clock;
use crate::connection;
use crate::error::{Error, Result};
use crate::hub::{Hub, Partition};
use crate::log::NEVER_MS;
use crate::message;
use crate::peers::Peers;
use crate::readers::Reader;

/// How many clients may be connected at the same time.
const MAX_CONNECTIONS: usize = 1024;
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long [`Emulator::stop`] waits for the farewells to all clients.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running emulator: one namespace on one port; start several for several namespaces. It ends when it is dropped, or with a farewell to its clients by [`stop`](Self::stop).
pub struct Emulator {
    broker: Arc<Broker>,
    address: SocketAddr,
    shutdown: CancellationToken,
    listener: JoinHandle<()>,
}

/// What a partition holds; the times and numbers that `$management` reports (contract §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProperties {
    /// The partition.
    pub partition_id: String,
    /// The number of the oldest event kept; of the next event if none is.
    pub beginning_sequence_number: SequenceNumber,
    /// The number of the last event; -1 if there never was one.
    pub last_enqueued_sequence_number: SequenceNumber,
    /// The offset of the last event; `-1` if there never was one.
    pub last_enqueued_offset: Offset,
    /// When the last event was enqueued.
    pub last_enqueued_time: Option<SystemTime>,
    /// How many events are kept.
    pub event_count: usize,
}

/// A consumer that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachedReceiver {
    /// Tells its link from all other links, also past ones.
    pub id: u64,
    /// The consumer group.
    pub consumer_group: String,
    /// The partition.
    pub partition_id: String,
    /// The owner level (epoch), if it gave one.
    pub owner_level: Option<i64>,
    /// The name that it gave itself.
    pub name: Option<String>,
}

impl Emulator {
    /// Describes an emulator; [`start`](Builder::start) starts it.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn run(listener: TcpListener, address: SocketAddr, broker: Broker) -> Self {
        let broker = Arc::new(broker);
        let shutdown = CancellationToken::new();
        let listener = tokio::spawn(accept_clients(listener, Arc::clone(&broker), shutdown.clone()));
        Self { broker, address, shutdown, listener }
    }

    /// Where the emulator listens, on the loopback device.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connection string for an event hub, with the first shared access key. Whether the hub exists is not checked.
    pub fn connection_string(&self, event_hub: &str) -> String {
        format!("{};EntityPath={event_hub}", self.namespace_connection_string())
    }

    /// The connection string for all event hubs, with the first shared access key.
    pub fn namespace_connection_string(&self) -> String {
        let key = &self.broker.keys[0];
        format!(
            "Endpoint=sb://{};SharedAccessKeyName={};SharedAccessKey={};UseDevelopmentEmulator=true",
            self.address,
            key.name,
            key.key.expose_secret()
        )
    }

    /// The certificate of this emulator, in PEM, for clients to trust; made at start, for `localhost`, `127.0.0.1` and
    /// `::1`. A client that speaks TLS leaves `UseDevelopmentEmulator` out.
    #[cfg(feature = "tls")]
    pub fn certificate_pem(&self) -> &str {
        &self.broker.tls.certificate_pem
    }

    /// Publishes events in the process, without a socket: by partition key, or in turn to all partitions.
    ///
    /// # Errors
    /// When the hub does not exist, or an application property of an event holds a list, map or array; the events
    /// before that one are published.
    pub fn publish<E: Into<EventData>>(
        &self,
        event_hub: &str,
        events: impl IntoIterator<Item = E>,
    ) -> Result<()> {
        let hub = self.hub(event_hub)?;
        for event in events {
            let message = message::from_event(event.into())?;
            hub.choose(&message).append([message]);
        }
        Ok(())
    }

    /// Publishes events in the process to one partition, in order.
    ///
    /// # Errors
    /// When hub or partition do not exist, or an application property of an event holds a list, map or array; then
    /// nothing is published.
    pub fn publish_to<E: Into<EventData>>(
        &self,
        event_hub: &str,
        partition_id: &str,
        events: impl IntoIterator<Item = E>,
    ) -> Result<()> {
        let partition = find_partition(self.hub(event_hub)?, partition_id)?;
        let messages = events.into_iter().map(|event| message::from_event(event.into()));
        partition.append(messages.collect::<Result<Vec<_>>>()?);
        Ok(())
    }

    /// What a partition holds.
    ///
    /// # Errors
    /// When hub or partition do not exist.
    pub fn partition(&self, event_hub: &str, partition_id: &str) -> Result<PartitionProperties> {
        let partition = find_partition(self.hub(event_hub)?, partition_id)?;
        let log = partition.log();
        let head = log.head();
        Ok(PartitionProperties {
            partition_id: partition.id.clone(),
            beginning_sequence_number: log.first_sequence_number().into(),
            last_enqueued_sequence_number: head.sequence_number.into(),
            last_enqueued_offset: head.offset.to_string().into(),
            last_enqueued_time: clock::from_ms(head.enqueued_ms).filter(|_| head.enqueued_ms != NEVER_MS),
            event_count: log.len(),
        })
    }

    /// Who reads the event hub now, by partition and consumer group.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn receivers(&self, event_hub: &str) -> Result<Vec<AttachedReceiver>> {
        let hub = self.hub(event_hub)?;
        Ok(hub.partitions.iter().flat_map(|partition| attached(partition)).collect())
    }

    /// Moves the clock of the emulator ahead: events and tokens age by that much at once.
    pub fn advance_clock(&self, by: Duration) {
        self.broker.clock.advance(by);
    }

    /// Closes all connections with `amqp:connection:forced`, waits for the clients a moment, and ends.
    ///
    /// # Cancel safety
    /// When the future is dropped, the emulator ends at once, without the farewell.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let _ = timeout(STOP_TIMEOUT, &mut self.listener).await;
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.broker.peers
    }

    pub(crate) fn hub(&self, name: &str) -> Result<&Hub> {
        let hub = self.broker.hub(name);
        hub.map(|hub| &**hub).ok_or_else(|| Error::not_found(format!("event hub {name:?}")))
    }
}

fn find_partition<'a>(hub: &'a Hub, id: &str) -> Result<&'a Partition> {
    let partition = hub.partition(id);
    partition
        .map(|p| &**p)
        .ok_or_else(|| Error::not_found(format!("partition {id:?} of event hub {:?}", hub.name)))
}

fn attached(partition: &Partition) -> Vec<AttachedReceiver> {
    let receiver = |(consumer_group, reader): (String, Reader)| AttachedReceiver {
        id: reader.id,
        consumer_group,
        partition_id: partition.id.clone(),
        owner_level: reader.owner_level,
        name: reader.name,
    };
    partition.seated().into_iter().map(receiver).collect()
}

/// Dropping the tasks ends the connections: each cuts its stream when it is dropped.
async fn accept_clients(listener: TcpListener, broker: Arc<Broker>, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            (stream, place) = next_client(&listener, &places) => {
                let client = connection::serve(stream, Arc::clone(&broker), shutdown.clone());
                clients.spawn(async move {
                    client.await;
                    drop(place);
                });
            }
            Some(_) = clients.join_next() => {}
            () = shutdown.cancelled() => break,
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// The next client for which there is a place; the others wait in the backlog of the listener.
async fn next_client(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            // most likely the process has too many open files; that does not pass at once
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("address", &self.address).finish_non_exhaustive()
    }
}
