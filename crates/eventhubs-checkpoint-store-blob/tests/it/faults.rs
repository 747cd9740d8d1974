//! Answers that get lost, and a service that is busy.

use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointOutcome, CheckpointStore, ClaimOutcome, ErrorKind, Expected};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Plan, Proxy};
use crate::{at, claim, partition, scope, store_at, version_of, won};

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_won() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    proxy.plan([Plan::LoseAnswer]);
    let first = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    proxy.plan([Plan::LoseAnswer]);
    let second = won(&store, &claim("0", Some("me"), version_of(&first))).await;
    assert_ne!(first.version, second.version);
    proxy.plan([Plan::LoseAnswer]);
    let released = won(&store, &claim("0", None, version_of(&second))).await;
    let listed = store.list_ownership(&scope()).await.unwrap().records;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].owner.as_ref(), &listed[0].version), (None, &released.version));
}

#[tokio::test]
async fn a_claim_that_another_won_while_its_answer_was_lost_is_lost() {
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = store_at(proxy.port, &container).await;
    let other = store_at(Azurite::shared().await.port(), &container).await;
    won(&other, &claim("0", Some("other"), Expected::Absent)).await;
    proxy.plan([Plan::LoseAnswer]);
    let outcome = store.claim_ownership(&scope(), &claim("0", Some("me"), Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Lost), "{outcome:?}");
}

#[tokio::test]
async fn a_checkpoint_whose_answer_was_lost_is_written() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let mut expected = Expected::Absent;
    for number in [7, 8] {
        proxy.plan([Plan::LoseAnswer]);
        let outcome = store.update_checkpoint(&scope(), &at("0", "100", number), &expected).await.unwrap();
        let CheckpointOutcome::Written(version) = outcome else { panic!("{outcome:?}") };
        let read = store.checkpoint(&scope(), &partition("0")).await.unwrap();
        assert_eq!(read, Some(at("0", "100", number).with_version(version.clone())));
        expected = Expected::Version(version);
    }
}

#[tokio::test]
async fn a_busy_service_is_throttling_and_says_for_how_long() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    proxy.take_seen();
    proxy.plan([Plan::status("503 Busy", "retry-after: 7\r\n")]);
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let sent = proxy.take_seen().len();
    assert_eq!(sent, 1, "a service that asks for so much time is not asked again");
}

#[tokio::test]
async fn a_service_that_is_busy_for_a_moment_is_asked_again() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    proxy.plan([Plan::status("503 Busy", "x-ms-error-code: ServerBusy\r\n"), Plan::status("500 Oops", "")]);
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
}

#[tokio::test]
async fn a_store_that_was_away_goes_on_where_it_was() {
    let mut azurite = Azurite::builder().persistent().start().await;
    let store = store_at(azurite.port(), &Azurite::unused_container()).await;
    let owned = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    store.update_checkpoint(&scope(), &at("0", "100", 7), &Expected::Absent).await.unwrap();
    azurite.stop().await;
    let error = store.checkpoint(&scope(), &partition("0")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    azurite.restart_on_same_port().await;
    won(&store, &claim("0", Some("me"), version_of(&owned))).await;
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    assert_eq!(read.sequence_number, Some(7.into()));
}
