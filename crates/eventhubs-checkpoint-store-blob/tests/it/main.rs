//! The blob store against Azurite, through a proxy where Azurite cannot be made to fail, and together with
//! the Python SDK.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod conformance;
mod containment;
mod errors;
mod faults;
mod features;
mod interop;
mod naming;
mod network;
mod older;
mod proxy;
mod secrets;
mod signatures;
mod tokens;
mod tools;
mod versions;
mod wire;

use eventhubs_checkpoint_store::{Checkpoint, CheckpointStore, Claim, ClaimOutcome, Expected, Ownership};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_test_harness::Azurite;
use eventhubs_types::{ConsumerGroup, ConsumerScope, OwnerId, PartitionId};

/// A store in a container of its own.
async fn store() -> BlobCheckpointStore {
    let azurite = Azurite::shared().await;
    store_at(azurite.port(), &Azurite::unused_container()).await
}

/// A store in a container that is created, through whatever listens on the port.
async fn store_at(port: u16, container: &str) -> BlobCheckpointStore {
    let store =
        BlobCheckpointStore::from_connection_string(&Azurite::connection_string_at(port), container).unwrap();
    store.create_container_if_absent().await.unwrap();
    store
}

/// The names of docs/contract.md §13.5.
fn scope() -> ConsumerScope {
    ConsumerScope::new(
        "MyNamespace.servicebus.windows.net".parse().unwrap(),
        "MyHub".parse().unwrap(),
        ConsumerGroup::default(),
    )
}

fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

fn claim(id: &str, owner: Option<&str>, expected: Expected) -> Claim {
    Claim::new(partition(id), owner.map(|owner| OwnerId::new(owner).unwrap()), expected)
}

fn at(id: &str, offset: &str, number: i64) -> Checkpoint {
    Checkpoint::new(partition(id), Some(offset.into()), Some(number.into()))
}

fn version_of(record: &Ownership) -> Expected {
    Expected::Version(record.version.clone())
}

async fn won(store: &BlobCheckpointStore, claim: &Claim) -> Ownership {
    match store.claim_ownership(&scope(), claim).await {
        ClaimOutcome::Won(record) => record,
        other => panic!("{claim:?}: {other:?}"),
    }
}
