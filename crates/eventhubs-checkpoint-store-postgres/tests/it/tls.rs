//! TLS as `sslmode` asks for it.

use eventhubs_checkpoint_store::{CheckpointStore as _, ErrorKind};
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_test_harness::Postgres;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{connect_at, scope};

/// The certificates of an authority, and of a server with its key, as PEM.
fn certificates() -> [String; 3] {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let server =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    [certificate.pem(), server.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn sslmode_decides_about_tls_and_about_certificates() {
    let [authority, certificate, key] = certificates();
    let server = Postgres::start_with_tls(&certificate, &key).await;
    let database = server.create_database();
    let at = |host: &str, mode: &str| {
        let text = server.connection_string(&database).replace("127.0.0.1", host);
        PostgresCheckpointStore::builder(&format!("{text} sslmode={mode} application_name={mode}"))
    };
    for mode in ["disable", "prefer", "require"] {
        at("127.0.0.1", mode).build().unwrap().list_ownership(&scope()).await.unwrap();
    }
    let error = at("localhost", "verify-full").build().unwrap().list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedCertificate, "{error}");
    let trusting = at("localhost", "verify-full").trust(&authority).unwrap().build().unwrap();
    trusting.list_ownership(&scope()).await.unwrap();
    let elsewhere = at("127.0.0.1", "verify-full").trust(&authority).unwrap().build().unwrap();
    let error = elsewhere.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedCertificate, "another host: {error}");
    let of_now = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'verify-full' AND ssl";
    let rows = connect_at(server.port(), &database).await.query_typed(of_now, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = Postgres::shared().await;
    let text = format!("{} sslmode=require", server.connection_string("postgres"));
    let store = PostgresCheckpointStore::from_connection_string(&text).unwrap();
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[test]
fn what_holds_no_certificate_is_refused() {
    for pem in ["", "canary", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"] {
        let error = PostgresCheckpointStore::builder("host=h").trust(pem).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{pem:?}");
    }
}
