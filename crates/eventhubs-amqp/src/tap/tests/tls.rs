//! The tap over TLS, whose records cut the stream where they like.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::duplex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::testing::raw_peer::start_on;

fn configured() -> (ClientConfig, ServerConfig) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["peer".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let server = server.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    (client.with_no_client_auth(), server)
}

/// Both ends, which have shaken hands.
async fn ends() -> (impl Io, impl Io) {
    let (client, server) = configured();
    let (near, far) = duplex(1 << 20);
    let (connector, acceptor) = (TlsConnector::from(Arc::new(client)), TlsAcceptor::from(Arc::new(server)));
    let connecting = connector.connect(ServerName::try_from("peer").unwrap(), near);
    let (near, far) = tokio::try_join!(connecting, acceptor.accept(far)).unwrap();
    (near, far)
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_deliveries_over_tls_is_the_same_events() {
    for seed in 0..5 {
        let (bytes, count) = stream(seed, 40, 0);
        let plain = Script { pieces: vec![bytes.clone()], ..Script::default() };
        let torn = Script { pieces: bytes.chunks(700).map(<[u8]>::to_vec).collect(), ..Script::default() };
        let (near, far) = ends().await;
        let said = start_on(far, torn);
        let mut secured = run_over(Box::new(near), said, DataPath::Tap, 1_000).await;
        for (ours, theirs) in
            secured.events(count).await.iter().zip(&read(DataPath::Plain, plain, count).await)
        {
            assert_same(ours, theirs);
        }
    }
}
