use std::fmt;

use eventhubs_types::Namespace;

const TLS_PORT: u16 = 5671;
const EMULATOR_PORT: u16 = 5672;

/// Where a namespace is, and whether TLS is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Namespace,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Endpoint {
    /// Reads a host or a URL with an optional port; the scheme is stripped and a path refused (contract §1.5). The error
    /// is the reason and holds no part of the text.
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let (host, port) = host_and_port(text)?;
        let host = Namespace::new(host).map_err(|error| error.to_string())?;
        Ok(Self { host, port: port.unwrap_or(default_port(tls)), tls })
    }

    /// The same of an emulator.
    pub(crate) fn without_tls(self) -> Self {
        let port = if self.port == TLS_PORT { EMULATOR_PORT } else { self.port };
        Self { port, tls: false, ..self }
    }

    /// What tokens are for, or begin with (contract §3.4): an emulator is told apart by its port.
    pub(crate) fn audience(&self, event_hub: &str) -> String {
        format!("sb://{}/{event_hub}", self.authority(!self.tls))
    }

    fn authority(&self, with_port: bool) -> String {
        let host = self.host.as_str();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        if with_port { format!("{host}:{}", self.port) } else { host }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority(self.port != default_port(self.tls)))
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { TLS_PORT } else { EMULATOR_PORT }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let authority = match text.split_once("://") {
        None => text,
        Some((scheme, rest)) if ["sb", "amqps", "https"].iter().any(|s| s.eq_ignore_ascii_case(scheme)) => {
            rest
        }
        Some(_) => return Err("has a scheme that is not sb, amqps or https"),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.contains(['/', '?', '#', '@', ' ']) {
        return Err("is not a host name with an optional port");
    }
    let port = port.map(|port| port.parse().map_err(|_| "has a bad port")).transpose()?;
    Ok((host, port))
}
