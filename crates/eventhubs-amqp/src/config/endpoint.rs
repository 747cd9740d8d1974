//! Hosts and ports: where a namespace is, and which names mean this machine.
//!
//! Tests: those of `connection_string.rs` and `proxy.rs`, which read hosts with it.

use std::fmt;
use std::net::IpAddr;

use eventhubs_types::Namespace;

const SCHEMES: [&str; 3] = ["sb", "amqps", "https"];

/// A host and, if it was given, a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: Namespace,
    pub(crate) port: Option<u16>,
}

impl Address {
    /// Reads a host or a URL with an optional port; the scheme is stripped and a path refused
    /// (docs/contract.md §1.5). The error is the reason and holds no part of the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let authority = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) => rest,
            Some(_) => return Err("has a scheme that is not sb, amqps or https".to_owned()),
        };
        Self::of_authority(authority.strip_suffix('/').unwrap_or(authority))
    }

    /// Reads a host with an optional port.
    pub(crate) fn of_authority(authority: &str) -> Result<Self, String> {
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.contains(['/', '?', '#', '@', ' ']) {
            return Err("is not a host name with an optional port".to_owned());
        }
        let port = port.map(|port| port.parse().map_err(|_| "has a bad port")).transpose()?;
        let host = Namespace::new(host).map_err(|error| error.to_string())?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_str() {
            address if address.contains(':') => write!(f, "[{address}]")?,
            host => f.write_str(host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Where a namespace is, and whether TLS is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) tls: bool,
}

impl Endpoint {
    /// The host name of the namespace.
    pub(crate) fn host(&self) -> &Namespace {
        &self.address.host
    }

    /// Where AMQP itself is spoken (docs/contract.md §2).
    pub(crate) fn port(&self) -> u16 {
        self.address.port.unwrap_or(if self.tls { 5671 } else { 5672 })
    }

    /// Where AMQP is spoken in a WebSocket (docs/contract.md §2).
    #[cfg(feature = "websocket")]
    pub(crate) fn websocket_port(&self) -> u16 {
        self.address.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// What tokens are for, or begin with (docs/contract.md §3.4): an emulator is told apart by its port.
    pub(crate) fn audience(&self, event_hub: &str) -> String {
        let port = (!self.tls).then(|| self.port());
        format!("sb://{}/{event_hub}", Address { port, ..self.address.clone() })
    }
}

/// Whether the host is the loopback device of this machine, by name or address.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
