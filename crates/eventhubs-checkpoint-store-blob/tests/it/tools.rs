//! What tools ask for: scopes, and deletion.

use eventhubs_checkpoint_store::{CheckpointStore, DeleteOutcome, Expected, Version};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Plan, Proxy};
use crate::{at, claim, partition, scope, store, store_at, won};

#[tokio::test]
async fn a_record_is_deleted_in_the_version_that_was_seen() {
    let store = store().await;
    let owned = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    store.update_checkpoint(&scope(), &at("0", "1", 1), &Expected::Absent).await.unwrap();
    let found = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap().version.unwrap();
    let (zero, stale) = (partition("0"), Version::new("0x1"));
    assert_eq!(store.delete_checkpoint(&scope(), &zero, &stale).await.unwrap(), DeleteOutcome::Conflict);
    assert_eq!(store.delete_checkpoint(&scope(), &zero, &found).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(store.delete_checkpoint(&scope(), &zero, &found).await.unwrap(), DeleteOutcome::Conflict);
    assert_eq!(store.checkpoint(&scope(), &zero).await.unwrap(), None);
    assert_eq!(store.delete_ownership(&scope(), &zero, &stale).await.unwrap(), DeleteOutcome::Conflict);
    assert_eq!(
        store.delete_ownership(&scope(), &zero, &owned.version).await.unwrap(),
        DeleteOutcome::Deleted
    );
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records, []);
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_a_deletion() {
    let proxy = Proxy::start().await;
    let store = store_at(proxy.port, &Azurite::unused_container()).await;
    let owned = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    proxy.plan([Plan::LoseAnswer]);
    let outcome = store.delete_ownership(&scope(), &partition("0"), &owned.version).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted);
}

#[tokio::test]
async fn the_scopes_of_a_container_are_those_with_a_record() {
    let store = store().await;
    assert_eq!(store.list_scopes().await.unwrap(), []);
    let mut other = scope();
    other.consumer_group = "ownership".parse().unwrap();
    won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    store.update_checkpoint(&other, &at("0", "1", 1), &Expected::Absent).await.unwrap();
    let found = store.list_scopes().await.unwrap();
    assert_eq!(found, [scope().to_lowercase(), other.to_lowercase()]);
}
