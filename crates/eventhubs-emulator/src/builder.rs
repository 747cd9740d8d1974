//! The options of an emulator, and its start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::auth::sas::SharedAccessKey;
use crate::clock::Clock;
use crate::emulator::Emulator;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "persistence")]
use crate::hub::disk::DiskStorage;
use crate::hub::registry::{HubSpec, Registry};
use crate::hub::retention::Retention;
use crate::hub::storage::{InMemory, Storage};
use crate::serve::broker::Broker;
use crate::serve::intercept::Interceptor;
use crate::serve::peers::Peers;
use crate::serve::request_log::RequestLog;
use crate::transport::Transports;
use crate::transport::hosts::AllowedHosts;

/// How many events one hub keeps by default; small ones take about 1.3 KiB each.
const DEFAULT_MAX_EVENTS: usize = 500_000;
/// How many bytes of bodies one hub keeps by default.
const DEFAULT_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How long a hub keeps an event by default: the most of the standard tier.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The largest message that a producer may send by default, in bytes: that of the standard tier.
const DEFAULT_MAX_MESSAGE_SIZE: u64 = 1024 * 1024;
/// What the service allows (docs/contract.md §2).
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How many clients may be connected at the same time by default.
const DEFAULT_MAX_CONNECTIONS: usize = 1024;
/// In bytes.
const MAX_SEGMENT: u32 = 32 * 1024 - 1;
const DEFAULT_KEY_NAME: &str = "RootManageSharedAccessKey";
/// No secret: the key that the documentation of Microsoft's emulator uses (docs/contract.md §1.2).
const DEFAULT_KEY: &str = "SAS_KEY_VALUE";

/// Describes an [`Emulator`].
///
/// ```
/// # async fn example() -> eventhubs_emulator::Result<()> {
/// use eventhubs_emulator::Emulator;
///
/// let emulator = Emulator::builder().event_hub("orders", 8).consumer_group("orders", "billing").start().await?;
/// emulator.publish("orders", (0..100).map(|n| format!("order {n}")))?;
/// println!("{}", emulator.connection_string("orders"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "an emulator runs only once it is started"]
pub struct Builder {
    event_hubs: Vec<(String, usize)>,
    consumer_groups: Vec<(String, String)>,
    keys: Vec<SharedAccessKey>,
    accepts_any_jwt: bool,
    address: IpAddr,
    hosts: AllowedHosts,
    port: u16,
    retention: Retention,
    max_message_size: u64,
    #[cfg(feature = "persistence")]
    data_dir: Option<std::path::PathBuf>,
    idle_timeout: Duration,
    max_connections: usize,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            event_hubs: Vec::new(),
            consumer_groups: Vec::new(),
            keys: Vec::new(),
            accepts_any_jwt: false,
            address: Ipv4Addr::LOCALHOST.into(),
            hosts: AllowedHosts::default(),
            port: 0,
            retention: Retention { events: DEFAULT_MAX_EVENTS, bytes: DEFAULT_MAX_BYTES, age_ms: 0 },
            max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
            #[cfg(feature = "persistence")]
            data_dir: None,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            max_connections: DEFAULT_MAX_CONNECTIONS,
        }
        .retention_time(DEFAULT_MAX_AGE)
    }

    /// Adds an event hub with this many partitions, `0` to `partitions - 1`; at most 32 768. It has the consumer group `$Default`.
    pub fn event_hub(mut self, name: impl Into<String>, partitions: usize) -> Self {
        self.event_hubs.push((name.into(), partitions));
        self
    }

    /// Adds a consumer group to an event hub. That there is `$Default` may be said again.
    pub fn consumer_group(mut self, event_hub: impl Into<String>, name: impl Into<String>) -> Self {
        self.consumer_groups.push((event_hub.into(), name.into()));
        self
    }

    /// Adds a shared access key that opens everything. Without any, there is the one of Microsoft's emulator:
    /// `RootManageSharedAccessKey` with `SAS_KEY_VALUE`.
    pub fn shared_access_key(mut self, name: impl Into<String>, key: impl Into<String>) -> Self {
        self.keys.push(SharedAccessKey { name: name.into(), key: key.into().into() });
        self
    }

    /// Accepts whatever has the form of a JSON web token although there are keys of your own; nobody here can verify one.
    ///
    /// Default: accepted with the well-known key only, which opens everything to everybody anyway.
    pub fn accept_any_jwt(mut self) -> Self {
        self.accepts_any_jwt = true;
        self
    }

    /// Listens on this address: `0.0.0.0` makes the emulator reachable from other machines and containers, for whom a key of
    /// [your own](Self::shared_access_key) is advisable.
    ///
    /// Default: `127.0.0.1`.
    pub fn bind(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = address.into();
        self
    }

    /// Lets clients address the emulator by this name, without a port: in the `Host` header of a WebSocket, and in the
    /// certificate. This machine needs no such name.
    pub fn allow_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.allow(name);
        self
    }

    /// Listens on this port instead of one that the system chooses.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps at most this many events, and bytes of bodies, per event hub, in equal shares per partition; by default
    /// 500 000 events and 256 MiB. The oldest events go first.
    pub fn retention(mut self, events: usize, bytes: u64) -> Self {
        self.retention = Retention { events, bytes, ..self.retention };
        self
    }

    /// Keeps each event at most this long; by default 7 days.
    pub fn retention_time(mut self, time: Duration) -> Self {
        self.retention.age_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Takes messages, and batches, of at most this many bytes; by default 1 MiB. A producer that sends a larger one is
    /// detached with `amqp:link:message-size-exceeded`.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Keeps hubs and events in this folder, so that the next emulator that uses it continues where this one ended, however it
    /// ended; the loss of power excepted. Registry that the folder holds are there without being described again. No event
    /// stays in memory. One emulator at a time can use a folder.
    #[cfg(feature = "persistence")]
    pub fn data_dir(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// Closes connections whose client is silent for this long, with `amqp:connection:forced`; by default 300 s. Clients are
    /// asked for a sign of life in four fifths of it, as by the service. Zero disables the limit.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// Serves at most this many clients at the same time; by default 1024. Further ones wait, unserved, until one leaves.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Starts the emulator; it can be connected to when this returns.
    ///
    /// # Errors
    /// When a name or a partition count cannot be used, a consumer group names no hub, the port is taken, or the data folder
    /// cannot be used.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing is left running.
    pub async fn start(mut self) -> Result<Emulator> {
        let takes_jwt = self.accepts_any_jwt || self.keys.is_empty();
        if self.keys.is_empty() {
            self = self.shared_access_key(DEFAULT_KEY_NAME, DEFAULT_KEY);
        }
        let clock = Clock::default();
        let hubs = self.hubs(&clock)?;
        let (listener, address) = listen(self.address, self.port).await?;
        let broker = Broker {
            hubs,
            keys: self.keys,
            takes_jwt,
            peers: Arc::new(Peers::default()),
            clock,
            transports: Transports {
                #[cfg(feature = "tls")]
                tls: crate::transport::tls::Tls::generate(&self.hosts)?,
                #[cfg(feature = "websocket")]
                hosts: self.hosts,
            },
            max_message_size: self.max_message_size,
            idle_timeout: self.idle_timeout,
            requests: RequestLog::default(),
            interceptor: Interceptor::default(),
            starved: watch::Sender::default(),
        };
        Ok(Emulator::run(listener, address, broker, self.max_connections))
    }

    fn hubs(&self, clock: &Clock) -> Result<Registry> {
        for (hub, _) in &self.consumer_groups {
            if !self.event_hubs.iter().any(|(name, _)| name == hub) {
                return Err(Error::invalid(format!(
                    "the consumer group is for the unknown event hub {hub:?}"
                )));
            }
        }
        let hubs = Registry::open(self.storage()?, self.retention, clock.clone())?;
        for (index, (name, partitions)) in self.event_hubs.iter().enumerate() {
            if self.event_hubs[..index].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(Error::invalid(format!("the event hub {name:?} is given twice")));
            }
            let groups = self.consumer_groups.iter().filter(|(hub, _)| hub == name);
            let consumer_groups = groups.map(|(_, group)| group.clone()).collect();
            hubs.add_or_resume(&HubSpec { name: name.clone(), partitions: *partitions, consumer_groups })?;
        }
        Ok(hubs)
    }

    #[cfg(feature = "persistence")]
    fn storage(&self) -> Result<Box<dyn Storage>> {
        match &self.data_dir {
            Some(folder) => Ok(Box::new(DiskStorage::open(folder)?)),
            None => Ok(Box::new(InMemory)),
        }
    }

    #[cfg(not(feature = "persistence"))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "a folder can be one that cannot be used"
    )]
    fn storage(&self) -> Result<Box<dyn Storage>> {
        Ok(Box::new(InMemory))
    }
}

async fn listen(address: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr)> {
    let bound = async {
        let listener = TcpListener::bind((address, port)).await?;
        limit_segments(&listener)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Unavailable, format!("on {}", SocketAddr::new(address, port)))
            .with_source(error)
    };
    bound.await.map_err(failed)
}

/// The Python SDK reads the segment size of its socket and sets it again, and Linux lets nobody set one above 32767; on
/// the loopback device segments may be larger than that.
fn limit_segments(listener: &TcpListener) -> io::Result<()> {
    #[cfg(unix)]
    socket2::SockRef::from(listener).set_tcp_mss(MAX_SEGMENT)?;
    Ok(())
}
