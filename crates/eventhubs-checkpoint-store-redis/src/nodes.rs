//! Whom to connect to, as the user named it, with the clients of the driver for it.

use std::fmt;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use redis::aio::AsyncPushSender;
use redis::cluster::ClusterClientBuilder;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error;
use crate::link::Target;

/// A user of the access control list and its password.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: SecretString,
}

/// One server, or some nodes of a cluster that tell about the others.
#[derive(Clone)]
pub(crate) struct Nodes {
    infos: Vec<ConnectionInfo>,
    authorities: Option<Vec<u8>>,
    is_cluster: bool,
}

impl Nodes {
    pub(crate) fn new(
        urls: &[SecretString],
        credentials: Option<&Credentials>,
        authorities: Option<Vec<u8>>,
        is_cluster: bool,
    ) -> Result<Self> {
        let infos = urls.iter().map(|url| info(url, credentials)).collect::<Result<Vec<_>>>()?;
        if infos.is_empty() {
            return Err(invalid("urls: there is none"));
        }
        let has_tls = infos.iter().any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
        if authorities.is_some() && !has_tls {
            return Err(invalid("certificate_authorities: the URL is not rediss://"));
        }
        if has_tls {
            install_provider();
        }
        Ok(Self { infos, authorities, is_cluster })
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// A client for commands.
    pub(crate) fn target(&self) -> Result<Target> {
        if self.is_cluster {
            let built = self.cluster().use_protocol(ProtocolVersion::RESP2).build();
            return built.map(|client| Target::Cluster(Box::new(client))).map_err(|e| error::of("urls", &e));
        }
        self.client().map(|client| Target::Server(Box::new(client)))
    }

    /// A client of the one server, or of the first node.
    pub(crate) fn client(&self) -> Result<Client> {
        let info = self.infos.first().cloned().ok_or_else(|| invalid("urls: there is none"))?;
        let client = match (self.certificates(), info.addr()) {
            (Some(certificates), ConnectionAddr::TcpTls { .. }) => Client::build_with_tls(info, certificates),
            _ => Client::open(info),
        };
        client.map_err(|source| error::of("url", &source))
    }

    /// A client of the cluster for subscriptions: what is published comes out of `sender`.
    pub(crate) fn subscriber(&self, sender: impl AsyncPushSender) -> Result<Target> {
        let built = self.cluster().use_protocol(ProtocolVersion::RESP3).push_sender(sender).build();
        built.map(|client| Target::Cluster(Box::new(client))).map_err(|source| error::of("urls", &source))
    }

    fn cluster(&self) -> ClusterClientBuilder {
        let builder = ClusterClientBuilder::new(self.infos.clone());
        match self.certificates() {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        }
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = Some(self.authorities.clone()?);
        Some(TlsCertificates { client_tls: None, root_cert })
    }
}

/// Hosts and ports only.
impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.infos.iter().map(|info| info.addr().to_string()).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nodes({self})")
    }
}

fn info(url: &SecretString, credentials: Option<&Credentials>) -> Result<ConnectionInfo> {
    // Without the driver's reason, which may quote the URL.
    let info = url.expose_secret().into_connection_info();
    let info = info.map_err(|_| invalid("url: it is not redis://host:port/database or rediss://…"))?;
    let mut settings = info.redis_settings().clone();
    if let Some(Credentials { user, password }) = credentials {
        settings = settings.set_username(user).set_password(password.expose_secret());
    }
    Ok(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2)))
}

/// The driver takes the provider of cryptography that the process has chosen; rustls panics where there is none, and
/// other crates have brought two to choose from.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails where another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn invalid(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, reason)
}
