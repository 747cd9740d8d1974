//! Of nine ways in which a service can present itself, one is good.

use std::sync::Arc;

use eventhubs_amqp::{ConnectionOptions, ErrorKind, EventHubClient};
use eventhubs_emulator::Emulator;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{client_builder, emulator, within};

/// A `ServerHello` of TLS 1.1, as a server sends it that knows nothing newer.
const TLS_1_1: &[u8] = &[
    22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 0x2f, 0,
];

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn server(certificate: CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// A service whose certificate the authority has signed, with this changed.
fn signed(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let mut params = params();
    change(&mut params);
    server(params.signed_by(&key, authority).unwrap().der().clone(), &key)
}

fn params() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned()]).unwrap()
}

/// Speaks TLS in front of the emulator; the port.
pub(crate) async fn terminator(emulator: &Emulator, config: ServerConfig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (acceptor, emulator) = (TlsAcceptor::from(Arc::new(config)), emulator.address());
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

/// Says this to everybody, whatever they say; the port.
async fn saying(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = client.read(&mut [0; 1024]).await;
                let _ = client.write_all(answer).await;
                let _ = client.read(&mut [0; 1024]).await;
            });
        }
    });
    port
}

/// A client that speaks TLS to the port and trusts the authority.
fn client(emulator: &Emulator, port: u16, authority: &Authority) -> EventHubClient {
    let text = emulator
        .connection_string("orders")
        .replace(&emulator.address().to_string(), &format!("localhost:{port}"))
        .replace("UseDevelopmentEmulator=true", "UseDevelopmentEmulator=false");
    let options = ConnectionOptions::new().trust(authority.pem()).unwrap();
    client_builder(&text).connection(options).build().unwrap()
}

#[tokio::test]
async fn only_a_good_certificate_is_accepted() {
    let (emulator, trusted) = (emulator().await, authority());
    let good = client(&emulator, terminator(&emulator, signed(&trusted, |_| {})).await, &trusted);
    assert_eq!(within(good.event_hub_properties()).await.unwrap().partition_ids.len(), 4);

    let key = KeyPair::generate().unwrap();
    let self_signed = server(params().self_signed(&key).unwrap().der().clone(), &key);
    let bad = [
        ("expired", signed(&trusted, |params| params.not_after = date_time_ymd(2020, 1, 1))),
        ("not yet valid", signed(&trusted, |params| params.not_before = date_time_ymd(2090, 1, 1))),
        (
            "for another host",
            signed(&trusted, |params| {
                *params = CertificateParams::new(["other.example".to_owned()]).unwrap();
            }),
        ),
        ("of an unknown authority", signed(&authority(), |_| {})),
        ("self-signed", self_signed),
        (
            "for clients only",
            signed(&trusted, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
    ];
    for (what, config) in bad {
        refused(what, client(&emulator, terminator(&emulator, config).await, &trusted)).await;
    }
    refused("TLS 1.1", client(&emulator, saying(TLS_1_1).await, &trusted)).await;
    refused("plain AMQP", client(&emulator, saying(b"AMQP\x03\x01\x00\x00").await, &trusted)).await;
}

async fn refused(what: &str, client: EventHubClient) {
    let error = within(client.event_hub_properties()).await.expect_err(what);
    let expected = match what {
        "TLS 1.1" | "plain AMQP" => ErrorKind::Transport,
        _ => ErrorKind::UntrustedCertificate,
    };
    assert_eq!(error.kind(), expected, "{what}: {error}");
    assert!(error.to_string().contains("TLS handshake to localhost:"), "{what}: {error}");
}

#[test]
fn text_without_a_certificate_cannot_be_trusted() {
    let refused = |pem: &str| ConnectionOptions::new().trust(pem).unwrap_err().to_string();
    assert!(refused("").contains("certificates: none"));
    assert!(
        refused("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
            .contains("certificates: not PEM")
    );
}
