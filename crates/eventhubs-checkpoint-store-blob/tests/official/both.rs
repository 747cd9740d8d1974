//! Stores by both SDKs on the same blobs, and what each of them sends.

use std::collections::BTreeMap;

use eventhubs_checkpoint_store::{CheckpointOutcome, CheckpointStore, ClaimOutcome, DeleteOutcome, Expected};
use eventhubs_checkpoint_store_blob::{BlobCheckpointStore, Sdk};
use eventhubs_test_harness::Azurite;

use crate::proxy::{Proxy, header};
use crate::{at, claim, partition, scope, version_of, won};

fn by(sdk: Sdk, port: u16, container: &str) -> BlobCheckpointStore {
    BlobCheckpointStore::builder(&Azurite::connection_string_at(port), container).sdk(sdk).build().unwrap()
}

/// Two stores in one container, in either order.
async fn pairs() -> Vec<(BlobCheckpointStore, BlobCheckpointStore)> {
    let (port, mut pairs) = (Azurite::shared().await.port(), Vec::new());
    for (first, second) in [(Sdk::Legacy, Sdk::Official), (Sdk::Official, Sdk::Legacy)] {
        let container = Azurite::unused_container();
        let (first, second) = (by(first, port, &container), by(second, port, &container));
        first.create_container_if_absent().await.unwrap();
        second.create_container_if_absent().await.unwrap();
        pairs.push((first, second));
    }
    pairs
}

#[tokio::test]
async fn an_ownership_by_one_is_read_renewed_and_lost_by_the_other() {
    for (one, other) in pairs().await {
        let first = won(&one, &claim("0", Some("one"), Expected::Absent)).await;
        assert_eq!(other.list_ownership(&scope()).await.unwrap().records, std::slice::from_ref(&first));
        let taken = won(&other, &claim("0", Some("other"), version_of(&first))).await;
        let late = one.claim_ownership(&scope(), &claim("0", Some("one"), version_of(&first))).await;
        assert!(matches!(late, ClaimOutcome::Lost), "{late:?}");
        let absent = one.claim_ownership(&scope(), &claim("0", Some("one"), Expected::Absent)).await;
        assert!(matches!(absent, ClaimOutcome::Lost), "{absent:?}");
        won(&one, &claim("0", None, version_of(&taken))).await;
        assert_eq!(other.list_ownership(&scope()).await.unwrap().records[0].owner, None);
    }
}

#[tokio::test]
async fn a_checkpoint_by_one_is_read_replaced_and_deleted_by_the_other() {
    let zero = partition("0");
    for (one, other) in pairs().await {
        let written = one.update_checkpoint(&scope(), &at("0", "1:2:3", 7), &Expected::Absent).await.unwrap();
        let CheckpointOutcome::Written(version) = written else { panic!("{written:?}") };
        let read = other.checkpoint(&scope(), &zero).await.unwrap();
        assert_eq!(read, Some(at("0", "1:2:3", 7).with_version(version.clone())));
        let expected = Expected::Version(version);
        let written = other.update_checkpoint(&scope(), &at("0", "4:5:6", 8), &expected).await.unwrap();
        let CheckpointOutcome::Written(version) = written else { panic!("{written:?}") };
        let late = one.update_checkpoint(&scope(), &at("0", "7:8:9", 9), &expected).await.unwrap();
        assert_eq!(late, CheckpointOutcome::Conflict);
        let listed = one.list_checkpoints(&scope()).await.unwrap();
        assert_eq!(listed, [at("0", "4:5:6", 8).with_version(version.clone())]);
        let deleted = other.delete_checkpoint(&scope(), &zero, &version).await.unwrap();
        assert_eq!(deleted, DeleteOutcome::Deleted);
        assert_eq!(one.checkpoint(&scope(), &zero).await.unwrap(), None);
    }
}

/// The heads of one request of each kind.
async fn requests_by(sdk: Sdk) -> Vec<String> {
    let (proxy, container) = (Proxy::start().await, Azurite::unused_container());
    let store = by(sdk, proxy.port, &container);
    store.create_container_if_absent().await.unwrap();
    let first = won(&store, &claim("A 1%", Some("me"), Expected::Absent)).await;
    let second = won(&store, &claim("A 1%", None, version_of(&first))).await;
    store.update_checkpoint(&scope(), &at("0", "1", 2), &Expected::Absent).await.unwrap();
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    let expected = Expected::Version(read.version.unwrap());
    store.update_checkpoint(&scope(), &at("0", "3", 4), &expected).await.unwrap();
    store.list_ownership(&scope()).await.unwrap();
    store.list_scopes().await.unwrap();
    store.delete_ownership(&scope(), &partition("A 1%"), &second.version).await.unwrap();
    let seen = proxy.take_seen().into_iter();
    // Etags are of the service's choice.
    seen.map(|head| head.replace(&container, "container").replace(first.version.as_str(), "etag")).collect()
}

/// What the service and the other SDKs can tell a request by.
fn essence(head: &str) -> (String, BTreeMap<String, String>) {
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let matters = |name: &str| {
        name.starts_with("if-")
            || name.starts_with("x-ms-meta-")
            || ["x-ms-blob-type", "x-ms-version"].contains(&name)
    };
    let mut fields: BTreeMap<_, _> = fields.filter(|(name, _)| matters(name)).collect();
    if let Some(etag) = fields.get_mut("if-match") {
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        etag.clear();
    }
    (line, fields)
}

#[tokio::test]
async fn both_make_the_same_requests() {
    let (legacy, official) = (requests_by(Sdk::Legacy).await, requests_by(Sdk::Official).await);
    assert_eq!(legacy.len(), official.len());
    for (legacy, official) in legacy.iter().zip(&official) {
        assert_eq!(essence(legacy), essence(official));
    }
}

/// This program is built with the feature, as all that depend on a crate with it are.
#[tokio::test]
async fn the_feature_changes_no_store_that_does_not_choose_it() {
    let proxy = Proxy::start().await;
    let (text, container) = (Azurite::connection_string_at(proxy.port), Azurite::unused_container());
    let default = BlobCheckpointStore::from_connection_string(&text, &container).unwrap();
    for (store, user_agent) in [
        (default, "azsdk-rust-storage/0.21."),
        (by(Sdk::Official, proxy.port, &container), "azsdk-rust-storage_blob/1."),
    ] {
        store.create_container_if_absent().await.unwrap();
        let head = proxy.take_seen().remove(0);
        assert!(header(&head, "user-agent").unwrap().starts_with(user_agent), "{head}");
    }
}
