//! Azure's own store for Python on the same blobs: each reads, takes and renews what the other wrote.

use std::time::Duration;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, ClaimOutcome, Expected, OwnershipList, Version,
};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_test_harness::{Azurite, run_python};
use eventhubs_types::OwnerId;

use crate::{at, claim, partition, scope, store_at, version_of, won};

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn ours_and_pythons_share_the_blobs() {
    share_with("sync").await;
}

#[tokio::test]
async fn ours_and_pythons_asynchronous_one_share_the_blobs() {
    share_with("aio").await;
}

/// What `tests/python/blob_store.py` asserts about this store is in that script.
async fn share_with(kind: &str) {
    let (azurite, container) = (Azurite::shared().await, Azurite::unused_container());
    let store = store_at(azurite.port(), &container).await;
    let python = async |part| {
        run_python("blob_store.py", &[kind, part, &azurite.connection_string(), &container], LIMIT).await;
    };
    python("first").await;
    take_over(&store).await;
    let before = store.list_ownership(&scope()).await.unwrap();
    python("second").await;
    find_taken(&store, &before).await;
}

async fn take_over(store: &BlobCheckpointStore) {
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!(owners(&list), [("0", "Python-A"), ("1", "Python-A"), ("2", "")]);
    assert_eq!(list.rejected, []);
    let age = list.now.unwrap().duration_since(list.records[0].modified.unwrap()).unwrap_or_default();
    assert!(age < LIMIT, "{age:?}");
    assert!(is_lost(store, "1", Expected::Absent).await);
    won(store, &claim("0", Some("rust"), version_of(&list.records[0]))).await;
    won(store, &claim("2", Some("rust"), version_of(&list.records[2]))).await;
    let third = won(store, &claim("3", Some("rust"), Expected::Absent)).await;
    won(store, &claim("3", None, version_of(&third))).await;
    let fourth = won(store, &claim("4", Some("rust"), Expected::Absent)).await;
    won(store, &claim("4", Some("rust"), version_of(&fourth))).await;

    let first = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    let version = first.version.clone().unwrap();
    assert_eq!(first, at("0", "100", 7).with_version(version.clone()));
    let half = store.checkpoint(&scope(), &partition("1")).await.unwrap().unwrap();
    assert_eq!((half.offset, half.sequence_number), (None, Some(8.into())));
    write(store, &at("0", "200", 17), Expected::Version(version)).await;
    write(store, &at("2", "300", 27), Expected::Absent).await;
    write(store, &Checkpoint::new(partition("3"), None, Some(37.into())), Expected::Absent).await;
}

async fn find_taken(store: &BlobCheckpointStore, before: &OwnershipList) {
    let list = store.list_ownership(&scope()).await.unwrap();
    let now_owned = [("0", "rust"), ("1", "Python-A"), ("2", "rust"), ("3", "Python-B"), ("4", "Python-B")];
    assert_eq!(owners(&list), now_owned);
    assert!(is_lost(store, "4", version_of(&before.records[4])).await, "a renewal of what was stolen");
    won(store, &claim("0", Some("rust"), version_of(&before.records[0]))).await;
    let moved = store.checkpoint(&scope(), &partition("2")).await.unwrap().unwrap();
    assert_eq!((moved.offset, moved.sequence_number), (Some("400".into()), Some(47.into())));
    let stale = Expected::Version(Version::new("0x1"));
    let outcome = store.update_checkpoint(&scope(), &at("2", "350", 30), &stale).await.unwrap();
    assert_eq!(outcome, CheckpointOutcome::Conflict);
}

fn owners(list: &OwnershipList) -> Vec<(&str, &str)> {
    let owned = list.records.iter().map(|record| {
        let owner = record.owner.as_ref().map_or("", OwnerId::as_str);
        (record.partition.as_str(), owner)
    });
    owned.collect()
}

async fn is_lost(store: &BlobCheckpointStore, id: &str, expected: Expected) -> bool {
    let outcome = store.claim_ownership(&scope(), &claim(id, Some("rust"), expected)).await;
    matches!(outcome, ClaimOutcome::Lost)
}

async fn write(store: &BlobCheckpointStore, checkpoint: &Checkpoint, expected: Expected) {
    let outcome = store.update_checkpoint(&scope(), checkpoint, &expected).await.unwrap();
    assert!(matches!(outcome, CheckpointOutcome::Written(_)), "{outcome:?}");
}
