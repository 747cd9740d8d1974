//! The event hub and the storage over TLS, with a certificate that the system trusts and with one that it does not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use eventhubs_test_harness::{PATIENCE, within};
use eventhubs_tests::{Consumer, HUB, Said, World};
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

/// Speaks TLS in front of a server; the port.
async fn terminator(server: SocketAddr, config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(server).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

/// A consumer that trusts this certificate, given the ports that speak TLS.
fn consumer(world: &World, [hub, storage]: [Option<u16>; 2], trusted: &Path) -> Consumer {
    let mut command = world.consumer(INSTANCE, 30, 1);
    if let Some(port) = storage {
        command.env("STORE", storage_over_tls(world, port));
    }
    if let Some(port) = hub {
        command.env("EVENT_HUB", hub_over_tls(world, port));
    }
    Consumer::start(command.env("SSL_CERT_FILE", trusted))
}

fn storage_over_tls(world: &World, port: u16) -> String {
    let plain = format!("http://127.0.0.1:{}", world.storage.azurite().port());
    world.storage.address().replace(&plain, &format!("https://localhost:{port}"))
}

fn hub_over_tls(world: &World, port: u16) -> String {
    let plain = world.emulator.connection_string(HUB);
    let plain_endpoint = format!("sb://{}", world.emulator.address());
    plain
        .replace(&plain_endpoint, &format!("sb://localhost:{port}"))
        .replace("UseDevelopmentEmulator=true;", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_system_trusts_is_accepted_and_no_other() {
    within(PATIENCE, async {
        let world = World::new(2).await;
        let (trusted, config) = certificates();
        let (unrelated, _) = certificates();
        let config = Arc::new(config);
        let hub = terminator(world.emulator.address(), Arc::clone(&config)).await;
        let storage = terminator(([127, 0, 0, 1], world.storage.azurite().port()).into(), config).await;
        let folder = tempfile::tempdir().unwrap();
        let [trusted, unrelated] = [("trusted", trusted), ("unrelated", unrelated)].map(|(name, pem)| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        });
        world.publish(10);
        let refused = consumer(&world, [Some(hub), None], &unrelated);
        let refused_storage = consumer(&world, [None, Some(storage)], &unrelated);
        let accepted = consumer(&world, [Some(hub), Some(storage)], &trusted);
        accepted.until("10 calls", |said| said.calls() == 10).await;
        let says = |said: &Said, words: &str| said.other.iter().any(|line| line.contains(words));
        refused
            .until("the refusal of the hub", |said| {
                says(said, "ended the event hub could not be looked up: the certificate")
            })
            .await;
        let text =
            "ended the checkpoint store could not be read: the certificate of the store is not trusted";
        refused_storage.until("the refusal of the storage", |said| says(said, text)).await;
        for refused in [refused, refused_storage] {
            assert_eq!(refused.kill().await.calls(), 0);
        }
        accepted.stop().await;
    })
    .await;
}
