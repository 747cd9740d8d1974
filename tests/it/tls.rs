//! The same over TLS, with a certificate that the system trusts and with one that it does not.

use std::path::Path;
use std::sync::Arc;

use eventhubs_test_harness::within;
use eventhubs_tests::{Consumer, HUB, PATIENCE, World};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const INSTANCE: &str = env!("CARGO_BIN_EXE_instance");

/// A certificate authority of our own, and a certificate of it for `localhost`.
fn certificates() -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (authority.pem(), config)
}

/// Speaks TLS in front of the emulator; the port.
async fn terminator(world: &World, config: ServerConfig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (acceptor, emulator) = (TlsAcceptor::from(Arc::new(config)), world.emulator.address());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(emulator).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

fn consumer(world: &World, port: u16, trusted: &Path) -> Consumer {
    let plain = world.emulator.connection_string(HUB);
    let plain_endpoint = format!("sb://{}", world.emulator.address());
    let over_tls = plain
        .replace(&plain_endpoint, &format!("sb://localhost:{port}"))
        .replace("UseDevelopmentEmulator=true;", "");
    let mut command = world.consumer(INSTANCE, 30, 1);
    Consumer::start(command.env("EVENT_HUB", over_tls).env("SSL_CERT_FILE", trusted))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_system_trusts_is_accepted_and_no_other() {
    within(PATIENCE, async {
        let world = World::new(2).await;
        let (trusted, config) = certificates();
        let (unrelated, _) = certificates();
        let port = terminator(&world, config).await;
        let folder = tempfile::tempdir().unwrap();
        let [trusted, unrelated] = [("trusted", trusted), ("unrelated", unrelated)].map(|(name, pem)| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        });
        world.publish(10);
        let refused = consumer(&world, port, &unrelated);
        let accepted = consumer(&world, port, &trusted);
        accepted.until(|said| said.calls() == 10).await;
        refused.until(|said| said.other.iter().any(|line| line.contains("InvalidCertificate"))).await;
        assert_eq!(refused.kill().await.calls(), 0);
        accepted.stop().await;
    })
    .await;
}
