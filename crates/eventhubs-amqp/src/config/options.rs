//! How the service is reached: WebSocket, proxy, custom endpoint, certificate authorities, number of
//! connections.
//!
//! Tests: `tests/it/transports.rs`, `proxy.rs` and `tls.rs`.

use std::fmt;
use std::num::NonZeroUsize;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::endpoint::Address;
#[cfg(feature = "websocket")]
use crate::config::proxy::Proxy;
use crate::{Error, Result};

/// How the service is reached. Default: over TCP and TLS, at the host of the namespace, with one connection.
///
/// ```
/// use eventhubs_amqp::ConnectionOptions;
///
/// let options = ConnectionOptions::new().custom_endpoint("sb://gateway.contoso.example")?;
/// # #[cfg(feature = "websocket")]
/// let options = options.proxy("http://user:password@proxy.contoso.example:3128")?;
/// # Ok::<(), eventhubs_amqp::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ConnectionOptions {
    #[cfg(feature = "websocket")]
    pub(crate) websocket: bool,
    #[cfg(feature = "websocket")]
    pub(crate) proxy: Option<Proxy>,
    pub(crate) custom_endpoint: Option<Address>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) connections: NonZeroUsize,
}

impl ConnectionOptions {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "websocket")]
            websocket: false,
            #[cfg(feature = "websocket")]
            proxy: None,
            custom_endpoint: None,
            authorities: Vec::new(),
            connections: NonZeroUsize::MIN,
        }
    }

    /// Uses AMQP over WebSocket, on port 443 unless the connection string has another port: for networks that
    /// block all other ports.
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self) -> Self {
        self.websocket = true;
        self
    }

    /// Connects through an HTTP proxy, `http://user:password@host:port`, and therefore over a
    /// [WebSocket](Self::websocket), since proxies allow only the HTTPS port. The user and the password
    /// are percent-decoded.
    ///
    /// Default: the proxy of the environment variables `HTTPS_PROXY` or `ALL_PROXY`, unless `NO_PROXY` has
    /// the host or the host is this machine. They are read for a [WebSocket](Self::websocket) only, never for
    /// AMQP on its own port.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when it is not such a URL.
    #[cfg(feature = "websocket")]
    pub fn proxy(mut self, url: &str) -> Result<Self> {
        self.proxy = Some(Proxy::parse(url).map_err(|reason| Error::invalid(format!("proxy: {reason}")))?);
        Ok(self.websocket())
    }

    /// Connects to this host, and port if there is one, instead of the namespace's own, for example to a
    /// gateway or a private endpoint. The host name of the namespace is still the one that AMQP names and
    /// that the certificate must match.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when it is not a host with an
    /// optional port.
    pub fn custom_endpoint(mut self, address: &str) -> Result<Self> {
        let parsed = Address::parse(address);
        self.custom_endpoint =
            Some(parsed.map_err(|reason| Error::invalid(format!("custom endpoint: {reason}")))?);
        Ok(self)
    }

    /// Trusts these certificate authorities in addition to those of the system: one or more certificates, as
    /// PEM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when there is no certificate in it.
    pub fn trust(mut self, pem: impl AsRef<[u8]>) -> Result<Self> {
        let certificates: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem.as_ref()).collect();
        let certificates =
            certificates.map_err(|error| Error::invalid("certificates: not PEM").with_source(error))?;
        if certificates.is_empty() {
            return Err(Error::invalid("certificates: none in the PEM text"));
        }
        self.authorities.extend(certificates);
        Ok(self)
    }

    /// Sets how many connections the partitions of a client share. Default: one. One connection carries as
    /// much as one core can process; several help a program that reads its partitions on several cores.
    pub fn connections(mut self, connections: NonZeroUsize) -> Self {
        self.connections = connections;
        self
    }
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ConnectionOptions");
        #[cfg(feature = "websocket")]
        shown.field("websocket", &self.websocket).field("proxy", &self.proxy);
        shown
            .field("custom_endpoint", &self.custom_endpoint)
            .field("authorities", &self.authorities.len())
            .field("connections", &self.connections)
            .finish()
    }
}
