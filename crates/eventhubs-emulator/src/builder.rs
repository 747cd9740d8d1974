use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use eventhubs_types::{ConsumerGroup, EventHubName, InvalidName};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::emulator::Emulator;
use crate::error::{Error, ErrorKind, Result};
use crate::hub::Hub;
use crate::log::Retention;
use crate::peers::Peers;
use crate::sas::SharedAccessKey;

/// How many events one hub keeps by default; small ones take about 1.3 KiB each.
const DEFAULT_MAX_EVENTS: usize = 500_000;
/// How many bytes of bodies one hub keeps by default.
const DEFAULT_MAX_BYTES: usize = 256 * 1024 * 1024;
/// The largest hub that the service offers.
const MAX_PARTITIONS: usize = 2000;
/// In bytes.
const MAX_SEGMENT: u32 = 32 * 1024 - 1;
const DEFAULT_KEY_NAME: &str = "RootManageSharedAccessKey";
/// No secret: the key that the documentation of Microsoft's emulator uses (contract §1.2).
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
    port: u16,
    retention: Retention,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            event_hubs: Vec::new(),
            consumer_groups: Vec::new(),
            keys: Vec::new(),
            port: 0,
            retention: Retention {
                events: DEFAULT_MAX_EVENTS,
                bytes: DEFAULT_MAX_BYTES,
            },
        }
    }

    /// Adds an event hub with this many partitions, `0` to `partitions - 1`. It has the consumer group `$Default`.
    pub fn event_hub(mut self, name: impl Into<String>, partitions: usize) -> Self {
        self.event_hubs.push((name.into(), partitions));
        self
    }

    /// Adds a consumer group to an event hub.
    pub fn consumer_group(mut self, event_hub: impl Into<String>, name: impl Into<String>) -> Self {
        self.consumer_groups.push((event_hub.into(), name.into()));
        self
    }

    /// Adds a shared access key that opens everything. Without any, there is the one of Microsoft's emulator:
    /// `RootManageSharedAccessKey` with `SAS_KEY_VALUE`.
    pub fn shared_access_key(mut self, name: impl Into<String>, key: impl Into<SecretString>) -> Self {
        self.keys.push(SharedAccessKey {
            name: name.into(),
            key: key.into(),
        });
        self
    }

    /// Listens on this port of the loopback device instead of one that the system chooses.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps at most this many events, and bytes of bodies, per event hub, in equal shares per partition; by default
    /// 500 000 events and 256 MiB. The oldest events go first.
    pub fn retention(mut self, events: usize, bytes: usize) -> Self {
        self.retention = Retention { events, bytes };
        self
    }

    /// Starts the emulator; it can be connected to when this returns.
    ///
    /// # Errors
    /// When a name or a partition count cannot be used, a consumer group names no hub, or the port is taken.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing is left running.
    pub async fn start(mut self) -> Result<Emulator> {
        if self.keys.is_empty() {
            self = self.shared_access_key(DEFAULT_KEY_NAME, DEFAULT_KEY);
        }
        let hubs = self.hubs()?;
        let (listener, address) = listen(self.port).await?;
        let broker = Broker {
            hubs,
            keys: self.keys,
            peers: Arc::new(Peers::default()),
        };
        Ok(Emulator::run(listener, address, broker))
    }

    fn hubs(&self) -> Result<Vec<Arc<Hub>>> {
        for (hub, _) in &self.consumer_groups {
            if !self.event_hubs.iter().any(|(name, _)| name == hub) {
                return Err(Error::invalid(format!(
                    "the consumer group is for the unknown event hub {hub:?}"
                )));
            }
        }
        let mut hubs: Vec<Arc<Hub>> = Vec::new();
        for (name, partitions) in &self.event_hubs {
            if hubs.iter().any(|hub| hub.name.eq_ignore_ascii_case(name)) {
                return Err(Error::invalid(format!("the event hub {name:?} is given twice")));
            }
            hubs.push(Arc::new(self.hub(name, *partitions)?));
        }
        Ok(hubs)
    }

    fn hub(&self, name: &str, partitions: usize) -> Result<Hub> {
        EventHubName::new(name).map_err(|error| invalid_name(&error))?;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            let text =
                format!("the partition count of event hub {name:?} is not between 1 and {MAX_PARTITIONS}");
            return Err(Error::invalid(text));
        }
        let mut groups = vec![ConsumerGroup::DEFAULT.to_owned()];
        for (_, group) in self.consumer_groups.iter().filter(|(hub, _)| hub == name) {
            ConsumerGroup::new(group).map_err(|error| invalid_name(&error))?;
            groups.push(group.clone());
        }
        Ok(Hub::new(
            name.to_owned(),
            partitions,
            groups,
            self.retention.share(partitions),
        ))
    }
}

async fn listen(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let bound = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        limit_segments(&listener)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let failed = |error: io::Error| {
        Error::new(
            ErrorKind::Unavailable,
            format!("on port {port} of the loopback device"),
        )
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

fn invalid_name(error: &InvalidName) -> Error {
    Error::invalid(format!("the {error}"))
}
