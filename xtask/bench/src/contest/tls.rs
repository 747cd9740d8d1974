use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

use super::Result;

/// A certificate for the loopback, and the file that makes a reader trust it.
pub(super) struct Certificate {
    pair: CertifiedKey<rcgen::KeyPair>,
    folder: TempDir,
}

impl Certificate {
    pub(super) fn generate() -> Result<Self> {
        let pair = generate_simple_self_signed(["localhost".to_owned()])?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("certificate.pem"), pair.cert.pem())?;
        Ok(Self { pair, folder })
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(super) fn config(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.pair.signing_key.serialize_der()));
        let chain = vec![self.pair.cert.der().clone()];
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}
