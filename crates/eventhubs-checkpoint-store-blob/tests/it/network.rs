//! Proxies, certificate authorities, and the hosts of emulators.

use std::env;
use std::process::Command;
use std::sync::Arc;

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected};
use eventhubs_test_harness::Azurite;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::proxy::Proxy;
use crate::{claim, scope, store_at, won};

/// A host that only a proxy knows.
const HOST: &str = "blobs.invalid";

/// A proxy for plain http, as it reaches Azurite for [`HOST`].
async fn http_proxy() -> Proxy {
    let proxy = Proxy::start().await;
    proxy.guard(|head| {
        // Azurite takes the account from the name of a host, but from the path for an address.
        let head = head.replacen(&format!("http://{HOST}/"), "/", 1);
        Ok(head.replacen(&format!("host: {HOST}"), "host: 127.0.0.1", 1))
    });
    proxy
}

fn connection_string(host: &str) -> String {
    Azurite::connection_string_at(80).replace("127.0.0.1:80", host)
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_is_given() {
    let proxy = http_proxy().await;
    let builder = crate::builder(&connection_string(HOST), &Azurite::unused_container());
    let store = builder.proxy(&format!("http://me:s3cret@127.0.0.1:{}", proxy.port)).build().unwrap();
    store.create_container_if_absent().await.unwrap();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    for head in proxy.take_seen() {
        assert!(head.contains(&format!(" http://{HOST}/devstoreaccount1/")), "{head}");
        assert!(head.contains("proxy-authorization: Basic bWU6czNjcmV0"), "{head}");
    }
}

#[tokio::test]
async fn plain_http_to_this_machine_goes_through_no_proxy() {
    let (proxy, azurite) = (Proxy::start().await, Azurite::shared().await);
    let builder = crate::builder(&azurite.connection_string(), &Azurite::unused_container());
    let store = builder.proxy(&format!("http://127.0.0.1:{}", proxy.port)).build().unwrap();
    store.create_container_if_absent().await.unwrap();
    assert_eq!(proxy.take_seen(), [""; 0]);
}

/// Runs itself as a process of its own, whose environment names a proxy.
#[tokio::test]
async fn requests_go_through_the_proxy_of_the_environment() {
    if let Ok(host) = env::var("BLOB_TEST_HOST") {
        let store = crate::open(&connection_string(&host), "checkpoints");
        let listed = store.unwrap().list_ownership(&scope()).await;
        // The container is not there, and to know that somebody must have been reached.
        assert_eq!(listed.unwrap_err().kind(), ErrorKind::NotFound);
        return;
    }
    let (proxy, azurite) = (http_proxy().await, Azurite::shared().await);
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let this_machine = format!("127.0.0.1:{}", azurite.port());
    for (variable, no_proxy, host, requests) in [
        ("HTTP_PROXY", "", HOST, 2),
        ("http_proxy", "", HOST, 2),
        ("ALL_PROXY", "other.invalid", HOST, 2),
        ("HTTP_PROXY", "", &*this_machine, 0),
    ] {
        let mut process = Command::new(env::current_exe().unwrap());
        process.args(["--exact", "network::requests_go_through_the_proxy_of_the_environment"]);
        process.env_remove("HTTP_PROXY").env_remove("ALL_PROXY").env("BLOB_TEST_HOST", host);
        process.env(variable, &url).env("NO_PROXY", no_proxy);
        let ended = tokio::task::spawn_blocking(move || process.output()).await.unwrap().unwrap();
        assert!(ended.status.success(), "{variable}: {ended:?}");
        let seen = proxy.take_seen();
        assert_eq!(seen.len().min(requests), seen.len(), "{variable} {host}: {seen:?}");
        assert_eq!(seen.is_empty(), requests == 0, "{variable} {host}: {seen:?}");
    }
}

/// Azurite behind TLS; gives its port and the certificate of its authority.
async fn tls_front() -> (u16, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let (acceptor, upstream) = (TlsAcceptor::from(Arc::new(config)), Azurite::shared().await.port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(("127.0.0.1", upstream)).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (port, authority.pem())
}

fn tls_connection_string(port: u16) -> String {
    Azurite::connection_string_at(port).replace("http://127.0.0.1", "https://localhost")
}

#[tokio::test]
async fn a_further_authority_is_trusted_and_no_other() {
    let (port, authority) = tls_front().await;
    let builder = crate::builder(&tls_connection_string(port), &Azurite::unused_container());
    let trusting = builder.clone().trust(&authority).build().unwrap();
    trusting.create_container_if_absent().await.unwrap();
    won(&trusting, &claim("0", Some("me"), Expected::Absent)).await;

    let (_, other) = tls_front().await;
    for store in [builder.clone().build().unwrap(), builder.trust(&other).build().unwrap()] {
        let error = store.list_ownership(&scope()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UntrustedCertificate, "{error}");
    }
}

#[test]
fn a_bad_certificate_or_proxy_is_refused_without_io() {
    let builder = || crate::builder("UseDevelopmentStorage=true", "checkpoints");
    for (builder, field) in [
        (builder().trust("canary"), "certificates: none"),
        (builder().trust("-----BEGIN CERTIFICATE-----\n*canary*\n-----END CERTIFICATE-----"), "certificates"),
        (builder().proxy("https://me:canary@proxy"), "proxy: is not"),
        (builder().proxy("socks5://me:canary@proxy"), "proxy: is not"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(field) && !error.to_string().contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn development_storage_may_be_on_another_host() {
    let (port, container) = (Azurite::shared().await.port(), Azurite::unused_container());
    let text = format!("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://localhost:{port}");
    let store = crate::open(&text, &container).unwrap();
    store.create_container_if_absent().await.unwrap();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    let same = store_at(port, &container).await;
    assert_eq!(same.list_ownership(&scope()).await.unwrap().records.len(), 1);
}
