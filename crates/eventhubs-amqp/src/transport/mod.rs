//! The only place that opens sockets.
//!
//! Tests: below, and `tests/it/transports.rs`, `tls.rs`.

pub(crate) mod stream;
#[cfg(feature = "websocket")]
mod tunnel;
#[cfg(feature = "websocket")]
mod websocket;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_types::says_unknown_host;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::config::endpoint::{Address, Endpoint};
use crate::transport::stream::Io;
use crate::{ConnectionOptions, Error, ErrorKind, Result};
#[cfg(feature = "websocket")]
use crate::{
    config::{endpoint::is_this_machine, proxy::Proxy},
    runtime::ambient,
};

/// How long one address of a host may take to answer before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address has to answer before the next one is tried as well (RFC 8305).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 16;

/// How long a connection is silent before the system probes whether the peer still exists.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Dials one endpoint. Clones share the TLS configuration, which is read from the system when first needed.
#[derive(Clone)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    options: ConnectionOptions,
    tls: Arc<OnceCell<TlsConnector>>,
}

impl Transport {
    pub(crate) fn new(endpoint: Endpoint, options: ConnectionOptions) -> Self {
        Self { endpoint, options, tls: Arc::default() }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A connected stream, with TLS unless the endpoint is an emulator.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Io>> {
        let stream = self.reach().await?;
        let stream = if self.endpoint.tls { self.secure(stream).await? } else { stream };
        #[cfg(feature = "websocket")]
        if self.options.websocket {
            let service = Address { host: self.endpoint.host().clone(), port: self.target().port };
            let opened = websocket::open(stream, &service, self.endpoint.tls).await;
            return opened.map_err(|e| failed("opening a WebSocket", &service, e));
        }
        Ok(stream)
    }

    /// A stream to the service, through the proxy if there is one.
    async fn reach(&self) -> Result<Box<dyn Io>> {
        let target = self.target();
        #[cfg(feature = "websocket")]
        if let Some(proxy) = self.proxy(&target)? {
            let address = Address { port: Some(proxy.port()), ..proxy.address.clone() };
            let mut stream = connect_to(&address).await?;
            tunnel::open(&mut stream, &proxy, &target).await?;
            return Ok(stream);
        }
        connect_to(&target).await
    }

    /// The proxy of the options, or for a WebSocket the one of the environment. AMQP on its own port is left
    /// alone: proxies refuse it.
    #[cfg(feature = "websocket")]
    fn proxy(&self, target: &Address) -> Result<Option<Proxy>> {
        if self.options.proxy.is_some() || !self.options.websocket || is_this_machine(target.host.as_str()) {
            return Ok(self.options.proxy.clone());
        }
        let named = Proxy::of_environment(&ambient::proxies(), target, self.endpoint.tls);
        named.map_err(|reason| {
            Error::invalid(format!("HTTPS_PROXY or ALL_PROXY of the environment: {reason}"))
        })
    }

    /// The host and port that is to be reached.
    pub(crate) fn target(&self) -> Address {
        #[cfg(not(feature = "websocket"))]
        let by_default = self.endpoint.port();
        #[cfg(feature = "websocket")]
        let by_default =
            if self.options.websocket { self.endpoint.websocket_port() } else { self.endpoint.port() };
        let Address { host, port } =
            self.options.custom_endpoint.as_ref().unwrap_or(&self.endpoint.address).clone();
        Address { host, port: port.or(Some(by_default)) }
    }

    async fn secure(&self, stream: Box<dyn Io>) -> Result<Box<dyn Io>> {
        let name = ServerName::try_from(self.endpoint.host().as_str().to_owned())
            .map_err(|e| Error::invalid("Endpoint: no host name").with_source(e))?;
        let connector = self.tls.get_or_try_init(|| connector(self.options.authorities.clone())).await?;
        let secured = connector.connect(name, stream).await;
        let secured = secured.map_err(|error| {
            let is_no_tls = matches!(tls_error(&error), Some(rustls::Error::InvalidMessage(_)));
            let target = self.target();
            let hint = if is_no_tls { ": the peer does not speak TLS" } else { "" };
            Error::new(kind_of(&error), format!("TLS handshake to {target}{hint}")).with_source(error)
        });
        Ok(Box::new(secured?))
    }
}

async fn connect_to(address: &Address) -> Result<Box<dyn Io>> {
    let dialled = dial(address.host.as_str(), address.port.unwrap_or_default()).await;
    Ok(Box::new(dialled.map_err(|e| failed("connecting", address, e))?))
}

/// Tries the addresses of the host.
async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    dial_any(lookup_host((host, port)).await?.take(MAX_ADDRESSES).collect()).await
}

/// Tries the next address as soon as one has failed, or has not answered for a moment, and takes the first
/// that answers (RFC 8305): an address that swallows packets must not eat up the time of those after it.
async fn dial_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        match waiting.next() {
            Some(address) => attempts.push(timeout(CONNECT_TIMEOUT, TcpStream::connect(address))),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            // A stream that is there is taken before another address is tried.
            biased;
            Some(attempt) = attempts.next() => match attempt {
                Ok(Ok(stream)) => return tuned(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            },
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
    }
}

fn failed(what: &str, address: &Address, error: io::Error) -> Error {
    Error::new(kind_of(&error), format!("{what} to {address}")).with_source(error)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn kind_of(error: &io::Error) -> ErrorKind {
    if matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_))) {
        ErrorKind::UntrustedCertificate
    } else if says_unknown_host(&error.to_string()) {
        ErrorKind::HostNotFound
    } else if error.kind() == io::ErrorKind::TimedOut {
        ErrorKind::Timeout
    } else {
        ErrorKind::Transport
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
async fn connector(authorities: Vec<CertificateDer<'static>>) -> Result<TlsConnector> {
    let failed = || Error::new(ErrorKind::Transport, "reading the certificates that are trusted");
    let config = spawn_blocking(|| tls_config(authorities)).await.map_err(|e| failed().with_source(e))?;
    Ok(TlsConnector::from(Arc::new(config.map_err(|e| failed().with_source(e))?)))
}

/// The cryptography of TLS: what the process has installed, since that may be required of it (FIPS), or else what this crate was built
/// with. AWS-LC comes before ring, which is on unless somebody switches it off. No default of the process is changed.
fn provider() -> Option<Arc<CryptoProvider>> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Some(Arc::clone(installed));
    }
    #[cfg(feature = "aws-lc-rs")]
    let built_in = Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let built_in = Some(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    let built_in = None;
    built_in
}

fn tls_config(authorities: Vec<CertificateDer<'static>>) -> std::result::Result<ClientConfig, rustls::Error> {
    let provider = provider().ok_or_else(|| {
        let text = "no cryptography: switch on the feature `ring` or `aws-lc-rs`, or install a default provider of rustls";
        rustls::Error::General(text.to_owned())
    })?;
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::net::TcpListener;

    use super::*;

    /// docs/amqp-crate.md §4: without it, small frames wait for the acknowledgement of those before them.
    #[tokio::test]
    async fn what_is_dialled_sends_small_frames_at_once_and_probes_a_silent_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = dial("localhost", listener.local_addr().unwrap().port()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }

    /// Fills the queue of a listener, so that it answers nobody any more.
    async fn black_hole() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        (address, queued, listener)
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_does_not_keep_the_next_from_answering() {
        let (hole, _queued, _listener) = black_hole().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = good.local_addr().unwrap();
        let limit = CONNECT_TIMEOUT / 2;
        let stream =
            timeout(limit, dial_any(vec![hole, good])).await.expect("in a part of the limit").unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn where_no_address_answers_the_last_reason_is_given() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = dial_any(vec![closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(dial_any(Vec::new()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_unknown_name_is_told_from_a_resolver_that_does_not_answer() {
        let of =
            |text: &str| kind_of(&io::Error::other(format!("failed to lookup address information: {text}")));
        assert_eq!(of("Name or service not known"), ErrorKind::HostNotFound);
        assert_eq!(of("Temporary failure in name resolution"), ErrorKind::Transport);
    }

    /// docs/amqp-crate.md §4: the library would block the thread of the runtime until the name is found.
    #[tokio::test]
    async fn a_name_is_looked_up_without_blocking_the_runtime() {
        assert!(dial("nowhere.invalid", 5671).now_or_never().is_none(), "the answer was waited for");
    }
}
