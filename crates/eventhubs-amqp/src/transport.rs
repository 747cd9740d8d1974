//! The only place that opens sockets.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::Verifier;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::{Error, ErrorKind, Result};

/// How long one address of a host may take to answer before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is silent before the system probes whether the peer still exists.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// A byte stream to the broker.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// Dials one endpoint. Clones share the TLS configuration, which is read from the system when first needed.
#[derive(Clone)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    tls: Arc<OnceCell<TlsConnector>>,
}

impl Transport {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: Arc::default() }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connected stream, with TLS unless the endpoint is an emulator.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Io>> {
        let stream = self.dial().await.map_err(|e| self.failed("connecting", e))?;
        if !self.endpoint.tls {
            return Ok(Box::new(stream));
        }
        let host = self.endpoint.host.as_str().to_owned();
        let name = ServerName::try_from(host)
            .map_err(|e| Error::invalid("Endpoint: no host name").with_source(e))?;
        let connector = self.tls.get_or_try_init(connector).await?;
        let stream = connector.connect(name, stream).await.map_err(|e| self.failed("TLS handshake", e))?;
        Ok(Box::new(stream))
    }

    /// Tries the addresses of the host in turn.
    async fn dial(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in lookup_host((self.endpoint.host.as_str(), self.endpoint.port)).await? {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return tuned(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        let kind =
            if error.kind() == io::ErrorKind::TimedOut { ErrorKind::Timeout } else { ErrorKind::Transport };
        Error::new(kind, format!("{what} to {}", self.endpoint)).with_source(error)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.endpoint).finish()
    }
}

fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    // Flows and dispositions are small and must not wait for each other.
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
    Ok(stream)
}

/// Reads the certificates that the system trusts, which blocks.
async fn connector() -> Result<TlsConnector> {
    let failed = || Error::new(ErrorKind::Transport, "reading the certificates that the system trusts");
    let config = spawn_blocking(tls_config).await.map_err(|e| failed().with_source(e))?;
    Ok(TlsConnector::from(Arc::new(config.map_err(|e| failed().with_source(e))?)))
}

/// The provider is given here, so that no default of the process is needed or changed.
fn tls_config() -> std::result::Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}
