//! The flags of `eventhubs emulator`.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, builder::NonEmptyStringValueParser};
use eventhubs_emulator::AllowedHosts;
use eventhubs_types::{ConsumerGroup, EventHubName};
use secrecy::{ExposeSecret, SecretString};

use super::config::{self, EventHub, Namespace};
use crate::Result;

/// What Microsoft's emulator calls its only namespace.
const DEFAULT_NAMESPACE: &str = "emulatorNs1";

const EXAMPLES: &str = r#"Examples:
  eventhubs emulator --hub orders:4
      One event hub with 4 partitions. Prints its connection string, ready to paste.
  eventhubs emulator --hub orders:4:billing,audit --hub returns:2 --port 0 --health-port 0 --json
      Two event hubs, the first with two consumer groups beside $Default, on free ports, described for a script.
  eventhubs emulator --hub orders:4 --data ./events
      The same, and the events are still there after a restart, even after a crash.
  eventhubs emulator --config Config.json
      What a Config.json of Microsoft's emulator describes.

Faults on demand, here the next two links of a hub refused:
  curl -H 'Content-Type: application/json' http://127.0.0.1:5300/namespaces/emulatorNs1/faults \
    -d '{"fault": "refuse_attaches", "event_hub": "orders", "count": 2, "condition": "com.microsoft:server-busy"}'

Event hubs come and go while it runs; a PUT of one that is there re-creates it, empty:
  curl -X PUT -H 'Content-Type: application/json' http://127.0.0.1:5300/namespaces/emulatorNs1/event-hubs/orders \
    -d '{"partitions": 2}'
  curl -X PATCH -H 'Content-Type: application/json' http://127.0.0.1:5300/namespaces/emulatorNs1/event-hubs/orders \
    -d '{"partitions": 8}'   # adds partitions, while clients are connected
  curl -X DELETE http://127.0.0.1:5300/namespaces/emulatorNs1/event-hubs/orders

A connection string with UseDevelopmentEmulator=true makes the SDKs connect without TLS. Clients that want TLS or AMQP over
WebSocket find it on the same port. Tokens are checked as in the cloud;
the key is the one of Microsoft's emulator. Nothing listens outside this machine unless --bind says so. RUST_LOG=debug shows what happens."#;

/// Run a local Azure Event Hubs that the SDKs of all languages can connect to.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[group(required = true, multiple = true, id = "what", args = ["config", "hubs", "data"])]
pub(crate) struct Options {
    /// Serve what this Config.json of Microsoft's emulator describes.
    #[arg(long, value_name = "FILE", conflicts_with = "hubs")]
    config: Option<PathBuf>,

    /// Serve an event hub; may be given several times.
    #[arg(long = "hub", value_name = "NAME:PARTITIONS[:GROUP,...]")]
    hubs: Vec<EventHub>,

    /// Keep hubs and events in this folder; what it holds from an earlier run is served again. Each namespace has its own folder there.
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,

    /// The name of the namespace of the hubs given with --hub.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE, value_parser = config::check_namespace)]
    namespace: String,

    /// Listen on this address; 0.0.0.0 makes the emulator reachable from containers and other machines.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(super) bind: IpAddr,

    /// Let clients and browsers address the emulator by this name too; may be given several times.
    #[arg(long = "allow-host", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    allowed_hosts: Vec<String>,

    /// Use this shared access key instead of the one of Microsoft's emulator. The environment hides it from the process list.
    #[arg(long, value_name = "NAME=KEY", env = "EVENTHUBS_EMULATOR_KEY", hide_env_values = true, value_parser = hidden)]
    shared_access_key: Option<SecretString>,

    /// Take any JSON web token although there is a key of your own; nobody here can verify one.
    #[arg(long)]
    pub(super) accept_any_jwt: bool,

    /// The AMQP port, 0 for a free one. Each further namespace takes the next port.
    #[arg(long, default_value_t = 5672)]
    pub(super) port: u16,

    /// The port for the page, for GET /health and for faults on demand, 0 for a free one.
    #[arg(long, default_value_t = 5300, value_name = "PORT")]
    pub(super) health_port: u16,

    /// How long an event is kept.
    #[arg(long, value_name = "HOURS", default_value_t = 7 * 24)]
    pub(super) retention_hours: u32,

    /// How many events an event hub keeps; the oldest go first.
    #[arg(long, value_name = "EVENTS", default_value_t = 500_000)]
    pub(super) retention_events: usize,

    /// How many bytes of bodies an event hub keeps; the oldest events go first.
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024 * 1024)]
    pub(super) retention_bytes: u64,

    /// The largest message, or batch, that a producer may send.
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub(super) max_message_size: u64,

    /// Close connections whose client is silent for this long; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(super) idle_timeout: u32,

    /// How many clients may be connected to a namespace at the same time; further ones wait.
    #[arg(long, value_name = "NUMBER", default_value_t = 1024)]
    pub(super) max_connections: usize,

    /// Write the certificates for TLS to this file, for clients to trust; they are made again at each start.
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: Option<PathBuf>,

    /// Inject faults that are drawn from this seed, and then from the next ones, a minute each. `RUST_LOG=info` tells which.
    #[arg(long, value_name = "SEED")]
    pub(super) chaos: Option<u64>,

    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// Takes any text: clap repeats a value that it refuses, so the value is checked later.
#[expect(clippy::unnecessary_wraps, reason = "clap wants it so")]
fn hidden(text: &str) -> std::result::Result<SecretString, Infallible> {
    Ok(text.into())
}

impl Options {
    /// The names by which requests may address the emulator.
    pub(super) fn hosts(&self) -> AllowedHosts {
        let mut hosts = AllowedHosts::default();
        self.allowed_hosts.iter().for_each(|name| hosts.allow(name));
        hosts
    }

    /// The name and the key that were given.
    ///
    /// # Errors
    /// When one of them is missing.
    pub(super) fn shared_access_key(&self) -> Result<Option<(&str, &str)>> {
        let Some(given) = &self.shared_access_key else { return Ok(None) };
        match given.expose_secret().split_once('=') {
            Some((name, key)) if !name.is_empty() && !key.is_empty() => Ok(Some((name, key))),
            _ => Err("--shared-access-key: is not NAME=KEY".into()),
        }
    }

    /// Whether other machines can come in with a key that everybody knows.
    ///
    /// # Errors
    /// As [`shared_access_key`](Self::shared_access_key).
    pub(super) fn is_open_to_all(&self) -> Result<bool> {
        Ok(!self.bind.is_loopback() && self.shared_access_key()?.is_none())
    }

    pub(super) fn allowed_hosts(&self) -> &[String] {
        &self.allowed_hosts
    }

    /// What to serve: at least one namespace.
    ///
    /// # Errors
    /// When the file cannot be read or holds something that cannot be used; names the field.
    pub(super) fn namespaces(&self) -> Result<Vec<Namespace>> {
        match &self.config {
            Some(file) => config::read(file),
            None => Ok(vec![Namespace { name: self.namespace.clone(), event_hubs: self.hubs.clone() }]),
        }
    }
}

impl FromStr for EventHub {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        EventHubName::new(name).map_err(|error| format!("the {error}"))?;
        let partitions = parts.next().ok_or("the partition count is missing")?;
        let partitions = config::partition_count(partitions)?;
        let groups = parts.next().map(|groups| groups.split(','));
        let group = |name| ConsumerGroup::new(name).map(|group| group.as_str().to_owned());
        let groups = groups.into_iter().flatten().map(group);
        let consumer_groups =
            groups.collect::<std::result::Result<_, _>>().map_err(|error| format!("the {error}"))?;
        Ok(Self { name: name.to_owned(), partitions, consumer_groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_has_a_name_partitions_and_maybe_groups() {
        let hub = |text: &str| text.parse::<EventHub>();
        let orders = |consumer_groups: &[&str]| EventHub {
            name: "orders".into(),
            partitions: 4,
            consumer_groups: consumer_groups.iter().map(|&group| group.into()).collect(),
        };
        assert_eq!(hub("orders:4"), Ok(orders(&[])));
        assert_eq!(hub("orders:4:billing"), Ok(orders(&["billing"])));
        assert_eq!(hub("orders:4:billing,audit"), Ok(orders(&["billing", "audit"])));
    }

    #[test]
    fn a_hub_that_cannot_be_is_refused_by_name() {
        for (text, why) in [
            ("", "the event hub is empty"),
            ("orders", "the partition count is missing"),
            ("orders:", "the partition count is not a number above 0"),
            ("orders:0", "the partition count is not a number above 0"),
            ("orders:4:", "the consumer group is empty"),
            ("orders:4:a,,b", "the consumer group is empty"),
        ] {
            assert_eq!(text.parse::<EventHub>(), Err(why.to_owned()), "{text:?}");
        }
    }
}
