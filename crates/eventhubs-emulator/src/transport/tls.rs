//! TLS with a certificate that is made at start.

use std::fmt;
use std::io;
use std::sync::Arc;

use rcgen::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::hosts::AllowedHosts;
use crate::transport::stream::{AnyStream, starts_with};

/// The type of the record with which a TLS client begins.
const HANDSHAKE: u8 = 22;
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The server side of TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    /// The certificate, for clients to trust.
    pub(crate) certificate_pem: String,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

impl Tls {
    /// Makes a certificate for the names of the loopback device and the allowed hosts.
    ///
    /// # Errors
    /// When the system has no randomness to make a key of.
    pub(crate) fn generate(hosts: &AllowedHosts) -> Result<Self> {
        generate(hosts).map_err(|source| {
            Error::new(ErrorKind::Unavailable, "the certificate cannot be made").with_source(source)
        })
    }

    /// Takes TLS off, if the client speaks it.
    pub(crate) async fn accept(&self, stream: AnyStream) -> io::Result<AnyStream> {
        let (stream, is_tls) = starts_with(stream, HANDSHAKE).await?;
        if !is_tls {
            return Ok(stream);
        }
        Ok(Box::new(self.acceptor.accept(stream).await?))
    }
}

fn generate(hosts: &AllowedHosts) -> std::result::Result<Tls, Source> {
    let names: Vec<_> = NAMES.into_iter().chain(hosts.names()).map(str::to_owned).collect();
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem: cert.pem() })
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
