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

/// How the service is reached; unless told otherwise over TCP and TLS, at the host of the namespace, by one
/// connection.
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
    /// The defaults.
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

    /// Speaks AMQP in a WebSocket, to port 443 unless the connection string has another: for networks that
    /// let nothing else out.
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self) -> Self {
        self.websocket = true;
        self
    }

    /// Goes through an HTTP proxy, `http://user:password@host:port`, and so in a
    /// [WebSocket](Self::websocket), since proxies let only the HTTPS port through. The user and the password
    /// are percent-decoded.
    ///
    /// Default: the proxy that the environment names in `HTTPS_PROXY` or `ALL_PROXY`, unless `NO_PROXY` has
    /// the host or the host is this machine. The environment is asked for a [WebSocket](Self::websocket)
    /// only, never for AMQP on its own port.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when it is not such a URL.
    #[cfg(feature = "websocket")]
    pub fn proxy(mut self, url: &str) -> Result<Self> {
        self.proxy = Some(Proxy::parse(url).map_err(|reason| Error::invalid(format!("proxy: {reason}")))?);
        Ok(self.websocket())
    }

    /// Dials this host, and port if there is one, instead of the namespace's own: a gateway or a private
    /// endpoint. The service is still addressed, and its certificate checked, by the name of the namespace.
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

    /// Trusts these certificate authorities too, besides those of the system: PEM, one or more certificates.
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

    /// How many connections the partitions of a client share. Default: one. One carries what a core can
    /// process, and several help a program whose partitions are read by several cores.
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
