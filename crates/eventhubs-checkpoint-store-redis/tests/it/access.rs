//! Who may connect: passwords, users of the access control list, TLS; and options that cannot be.

use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore, ErrorKind, Expected};
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_test_harness::{PATIENCE, RedisServer, within};
use futures_util::StreamExt as _;

use crate::scene::{at, claim, scope, version_of, win};

const SECRET: &str = "s3cr3t/+";
/// The secret as a URL has it.
const ENCODED: &str = "s3cr3t%2F%2B";

/// What the documentation of the crate lists.
const RIGHTS: &[&str] = &[
    "+@connection",
    "+evalsha",
    "+eval",
    "+script|load",
    "+time",
    "+hget",
    "+hset",
    "+hdel",
    "+hlen",
    "+hgetall",
    "+hscan",
    "+publish",
    "+spublish",
    "+subscribe",
    "+ssubscribe",
    "+scan",
    "+wait",
    "+info",
    "+config|get",
    "+cluster|slots",
];

#[tokio::test]
async fn a_wrong_password_is_unauthorized_and_in_no_text() {
    let server = RedisServer::builder().password(SECRET).start().await;
    let host = server.url().replace("redis://", "");
    for url in [
        format!("redis://{host}"),
        format!("redis://:wr0ng-{ENCODED}@{host}"),
        format!("redis://u:wr0ng-{ENCODED}@{host}"),
    ] {
        let builder = RedisCheckpointStore::builder(url);
        assert!(!format!("{builder:?}").contains("s3cr3t"), "{builder:?}");
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
    let store = RedisCheckpointStore::connect(format!("redis://:{ENCODED}@{host}")).await.unwrap();
    win(&store, "a", Expected::Absent).await;
    assert!(!format!("{store:?}").contains("s3cr3t"), "{store:?}");
}

#[tokio::test]
async fn a_user_needs_no_more_rights_than_are_documented() {
    let server = RedisServer::start().await;
    let mut user = vec!["ACL", "SETUSER", "app", "on", ">s3cr3t/+", "~eventhubs:*", "&eventhubs:*"];
    user.extend(RIGHTS);
    assert_eq!(server.cli(&user), "OK");
    let store = RedisCheckpointStore::builder(server.url()).credentials("app", SECRET);
    let store = store.connect().await.unwrap();
    let mut hints = store.watch(&scope());
    let mut owned = win(&store, "a", Expected::Absent).await;
    store.update_checkpoint(&scope(), &at(7), &Expected::Absent).await.unwrap();
    assert_eq!(store.list_checkpoints(&scope()).await.unwrap().len(), 1);
    assert_eq!(store.list_scopes().await.unwrap(), [scope()]);
    let seen = async {
        loop {
            let everyone = eventhubs_checkpoint_store::Audience::Everyone;
            let offer = claim("0", Some("a"), version_of(&owned)).announcing(everyone);
            let eventhubs_checkpoint_store::ClaimOutcome::Won(record) =
                store.claim_ownership(&scope(), &offer).await
            else {
                panic!("it is won")
            };
            owned = record;
            if tokio::time::timeout(Duration::from_millis(50), hints.next()).await.is_ok() {
                return;
            }
        }
    };
    within(PATIENCE, seen).await;
    assert!(!server.cli(&["ACL", "LOG"]).contains("reason"), "{}", server.cli(&["ACL", "LOG"]));
}

#[tokio::test]
async fn a_user_without_the_right_to_the_keys_is_unauthorized() {
    let server = RedisServer::start().await;
    server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~other:*", "+@all"]);
    let builder = RedisCheckpointStore::builder(server.url()).credentials("app", "pw");
    let error = builder.connect().await.unwrap().list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    server.cli(&["ACL", "SETUSER", "reader", "on", ">pw", "~eventhubs:*", "+@all", "-hset"]);
    let builder = RedisCheckpointStore::builder(server.url()).credentials("reader", "pw");
    let error = crate::scene::fail(&builder.connect().await.unwrap(), "a", Expected::Absent).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn a_server_that_forbids_questions_can_be_used() {
    let server = RedisServer::start().await;
    server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config", "-info"]);
    let builder = RedisCheckpointStore::builder(server.url()).credentials("app", "pw");
    win(&builder.connect().await.unwrap(), "a", Expected::Absent).await;
}

#[tokio::test]
async fn tls_trusts_the_authority_that_is_named_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = RedisServer::builder().tls(&certificate, &key).start().await;
    let error = RedisCheckpointStore::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UntrustedCertificate, "{error}");
    let builder = RedisCheckpointStore::builder(server.url()).certificate_authorities(made.cert.pem());
    win(&builder.connect().await.unwrap(), "a", Expected::Absent).await;
}

#[tokio::test]
async fn an_option_that_cannot_be_is_named() {
    let url = || "redis://localhost";
    let (none, second) = (Duration::ZERO, Duration::from_secs(1));
    for (builder, option) in [
        (RedisCheckpointStore::builder("http://u:s3cr3t@localhost"), "url"),
        (RedisCheckpointStore::builder("redis://localhost:s3cr3t"), "url"),
        (RedisCheckpointStore::builder("rediss://localhost/#s3cr3t"), "url"),
        (RedisCheckpointStore::cluster_builder(Vec::<String>::new()), "urls"),
        (RedisCheckpointStore::builder(url()).key_prefix("a*"), "key_prefix"),
        (RedisCheckpointStore::builder(url()).call_timeout(none), "call_timeout"),
        (RedisCheckpointStore::builder(url()).wait_for_replicas(0, second), "wait_for_replicas"),
        (RedisCheckpointStore::builder(url()).wait_for_replicas(1, none), "wait_for_replicas"),
        (RedisCheckpointStore::builder(url()).certificate_authorities("pem"), "certificate_authorities"),
    ] {
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(option), "{error}");
        assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
    }
}
