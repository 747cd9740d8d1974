//! A running emulator: connection strings, publishing in the process, accepting clients, and the stop.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use eventhubs_types::EventData;
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::builder::Builder;
use crate::condition::Condition;
use crate::error::{Error, ErrorKind, Result};
use crate::event::message;
use crate::hub::registry::Registry;
use crate::hub::{Hub, Partition};
use crate::serve::broker::Broker;
use crate::serve::connection;
use crate::serve::peers::Peers;

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

impl Emulator {
    /// Describes an emulator; [`start`](Builder::start) starts it.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn run(listener: TcpListener, address: SocketAddr, broker: Broker, places: usize) -> Self {
        let broker = Arc::new(broker);
        let shutdown = CancellationToken::new();
        let listener = tokio::spawn(accept_clients(listener, places, Arc::clone(&broker), shutdown.clone()));
        Self { broker, address, shutdown, listener }
    }

    /// Where the emulator can be connected to from this machine.
    pub fn address(&self) -> SocketAddr {
        let here: IpAddr = match self.address.ip() {
            // It listens everywhere, which is no place to connect to.
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(here, self.address.port())
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
            self.address(),
            key.name,
            key.key.expose_secret()
        )
    }

    /// The certificate of this emulator, in PEM, for clients to trust; made at start, for `localhost`, `127.0.0.1`,
    /// `::1` and the [allowed hosts](Builder::allow_host). A client that speaks TLS leaves `UseDevelopmentEmulator` out.
    #[cfg(feature = "tls")]
    pub fn certificate_pem(&self) -> &str {
        &self.broker.transports.tls.certificate_pem
    }

    /// Publishes events in the process, without a socket: by partition key, or in turn to all partitions.
    ///
    /// # Errors
    /// When the hub does not exist, an application property of an event holds a list, map or array, or the data folder cannot
    /// be written; the events before that one are published.
    pub fn publish<E: Into<EventData>>(
        &self,
        event_hub: &str,
        events: impl IntoIterator<Item = E>,
    ) -> Result<()> {
        let hub = self.hub(event_hub)?;
        for event in events {
            let message = message::from_event(event.into())?;
            let message = message::sections(&message);
            hub.choose(&message).append(&[message]).map_err(|reason| unkept(&reason))?;
        }
        Ok(())
    }

    /// Publishes events in the process to one partition, in order.
    ///
    /// # Errors
    /// When hub or partition do not exist, an application property of an event holds a list, map or array, or the data folder
    /// cannot be written; then nothing is published.
    pub fn publish_to<E: Into<EventData>>(
        &self,
        event_hub: &str,
        partition_id: &str,
        events: impl IntoIterator<Item = E>,
    ) -> Result<()> {
        let hub = self.hub(event_hub)?;
        let partition = find_partition(&hub, partition_id)?;
        let messages = events.into_iter().map(|event| message::from_event(event.into()));
        let messages = messages.collect::<Result<Vec<_>>>()?;
        let sections: Vec<_> = messages.iter().map(|message| message::sections(message)).collect();
        partition.append(&sections).map_err(|reason| unkept(&reason))
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

    pub(crate) fn hubs(&self) -> &Registry {
        &self.broker.hubs
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) fn hub(&self, name: &str) -> Result<Arc<Hub>> {
        let hub = self.broker.hubs.find(name);
        hub.ok_or_else(|| Error::not_found(format!("event hub {name:?}")))
    }
}

pub(crate) fn unkept(reason: &Condition) -> Error {
    Error::new(ErrorKind::Storage, reason.description.clone())
}

pub(crate) fn find_partition(hub: &Hub, id: &str) -> Result<Arc<Partition>> {
    hub.partition(id).ok_or_else(|| Error::not_found(format!("partition {id:?} of event hub {:?}", hub.name)))
}

/// Dropping the tasks ends the connections: each cuts its stream when it is dropped.
async fn accept_clients(
    listener: TcpListener,
    places: usize,
    broker: Arc<Broker>,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(places));
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
