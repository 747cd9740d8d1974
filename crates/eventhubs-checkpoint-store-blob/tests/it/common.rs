//! How the tests open stores, by the SDK of their program, and what they do with them.

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointStore, Claim, ClaimOutcome, Expected, Ownership, Result,
};
use eventhubs_checkpoint_store_blob::{BlobCheckpointStore, BlobCheckpointStoreBuilder};
use eventhubs_test_harness::Azurite;
use eventhubs_types::{ConsumerGroup, ConsumerScope, OwnerId, PartitionId, TokenCredential};

use crate::SDK;

pub(crate) fn builder(connection_string: &str, container: &str) -> BlobCheckpointStoreBuilder {
    BlobCheckpointStore::builder(connection_string, container).sdk(SDK)
}

pub(crate) fn with_sas_url(url: &str) -> BlobCheckpointStoreBuilder {
    BlobCheckpointStore::with_sas_url(url).sdk(SDK)
}

pub(crate) fn with_credential(
    endpoint: &str,
    container: &str,
    credential: impl TokenCredential + 'static,
) -> BlobCheckpointStoreBuilder {
    BlobCheckpointStore::with_credential(endpoint, container, credential).sdk(SDK)
}

pub(crate) fn open(connection_string: &str, container: &str) -> Result<BlobCheckpointStore> {
    builder(connection_string, container).build()
}

/// A store in a container of its own.
pub(crate) async fn store() -> BlobCheckpointStore {
    let azurite = Azurite::shared().await;
    store_at(azurite.port(), &Azurite::unused_container()).await
}

/// A store in a container that is created, through whatever listens on the port.
pub(crate) async fn store_at(port: u16, container: &str) -> BlobCheckpointStore {
    let store = open(&Azurite::connection_string_at(port), container).unwrap();
    store.create_container_if_absent().await.unwrap();
    store
}

/// The names of docs/contract.md §13.5.
pub(crate) fn scope() -> ConsumerScope {
    ConsumerScope::new(
        "MyNamespace.servicebus.windows.net".parse().unwrap(),
        "MyHub".parse().unwrap(),
        ConsumerGroup::default(),
    )
}

pub(crate) fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

pub(crate) fn claim(id: &str, owner: Option<&str>, expected: Expected) -> Claim {
    Claim::new(partition(id), owner.map(|owner| OwnerId::new(owner).unwrap()), expected)
}

pub(crate) fn at(id: &str, offset: &str, number: i64) -> Checkpoint {
    Checkpoint::new(partition(id), Some(offset.into()), Some(number.into()))
}

pub(crate) fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}

pub(crate) async fn won(store: &BlobCheckpointStore, claim: &Claim) -> Ownership {
    match store.claim_ownership(&scope(), claim).await {
        ClaimOutcome::Won(record) => record,
        other => panic!("{claim:?}: {other:?}"),
    }
}
