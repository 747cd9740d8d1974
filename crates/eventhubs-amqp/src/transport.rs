use std::fmt;

use eventhubs_types::Namespace;

/// Where to dial, and whether TLS is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Namespace,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

impl Endpoint {
    /// The host as it stands in a URL, with the port if asked.
    pub(crate) fn authority(&self, with_port: bool) -> impl fmt::Display {
        let host = self.host.as_str();
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        if with_port {
            format!("{host}:{}", self.port)
        } else {
            host
        }
    }
}
