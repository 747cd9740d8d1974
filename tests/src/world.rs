//! An emulator and storage for one end-to-end test.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventhubs_checkpoint_store::{CheckpointStore, Ownership};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{Azurite, seeing, until_async};
use eventhubs_types::{ConsumerGroup, ConsumerScope, EventHubName, Namespace, OwnerId};
use tokio::process::Command;

use crate::Storage;

/// The event hub of every end-to-end test.
pub const HUB: &str = "orders";

/// An emulated event hub and a storage of its own.
#[derive(Debug)]
pub struct World {
    /// The emulator, with one event hub.
    pub emulator: Emulator,
    /// Where the checkpoints are.
    pub storage: Storage,
    /// The namespace under which the consumers keep them.
    pub namespace: Namespace,
}

impl World {
    /// Starts the emulator and blob storage.
    ///
    /// # Panics
    /// If one of them does not start.
    pub async fn new(partitions: usize) -> Self {
        Self::on(Storage::blob(Azurite::start().await).await, partitions).await
    }

    /// The same with a storage that keeps its data when it is stopped.
    ///
    /// # Panics
    /// If one of them does not start.
    pub async fn persistent(partitions: usize) -> Self {
        Self::on(Storage::new_blob().await, partitions).await
    }

    /// Starts the emulator for this storage.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn on(storage: Storage, partitions: usize) -> Self {
        let emulator =
            Emulator::builder().event_hub(HUB, partitions).start().await.expect("the emulator starts");
        // The Python SDK keeps the port of an emulator in the name of its namespace (contract §1.2); so do these consumers.
        let namespace = Namespace::new(emulator.address().to_string()).expect("an address is a name");
        Self { emulator, storage, namespace }
    }

    /// Publishes this many events, spread over the partitions.
    ///
    /// # Panics
    /// If the emulator refuses.
    pub fn publish(&self, events: usize) {
        let events = (0..events).map(|number| number.to_string());
        self.emulator.publish(HUB, events).expect("the emulator takes events");
    }

    /// A program that consumes the event hub, given what it needs to know.
    pub fn consumer(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        expiry_seconds: u32,
        checkpoint_every: u32,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .env("EVENT_HUB", self.emulator.connection_string(HUB))
            .env("STORE", self.storage.address())
            .envs(self.storage.blob_variables())
            .env("CHECKPOINT_NAMESPACE", self.namespace.as_str())
            .env("EXPIRY_SECONDS", expiry_seconds.to_string())
            .env("CHECKPOINT_EVERY", checkpoint_every.to_string());
        command
    }

    /// A store on the same storage.
    ///
    /// # Panics
    /// If it does not open.
    pub async fn store(&self) -> Arc<dyn CheckpointStore> {
        Storage::open(&self.storage.address()).await.expect("the store opens")
    }

    /// The names under which the consumers agree.
    ///
    /// # Panics
    /// Never: the names are good.
    pub fn scope(&self) -> ConsumerScope {
        ConsumerScope::new(
            self.namespace.clone(),
            EventHubName::new(HUB).expect("a good name"),
            ConsumerGroup::default(),
        )
    }

    /// The ownership records.
    ///
    /// # Panics
    /// If the storage cannot be read.
    pub async fn records(&self) -> Vec<Ownership> {
        self.store().await.list_ownership(&self.scope()).await.expect("the storage can be read").records
    }

    /// How many partitions each owner has.
    ///
    /// # Panics
    /// If the storage cannot be read.
    pub async fn owners(&self) -> BTreeMap<OwnerId, usize> {
        let mut owners = BTreeMap::new();
        for owner in self.records().await.into_iter().filter_map(|record| record.owner) {
            *owners.entry(owner).or_default() += 1;
        }
        owners
    }

    /// Waits until the partitions are shared out like this, by the records and by the links; the shares in ascending
    /// order.
    ///
    /// # Panics
    /// If the storage cannot be read.
    pub async fn until_shared(&self, shares: &[usize]) {
        let what = seeing(format!("shares of {shares:?}"), || self.readers());
        // A claim comes before its link.
        let are_shared = async || sorted(self.readers()) == shares && sorted(self.owners().await) == shares;
        until_async(what, are_shared).await;
    }

    /// How many partitions each consumer reads, by the name of its receivers. The Python SDK gives none.
    fn readers(&self) -> BTreeMap<Option<String>, usize> {
        let mut readers = BTreeMap::new();
        for receiver in self.emulator.receivers(HUB).expect("the event hub is there") {
            *readers.entry(receiver.name).or_default() += 1;
        }
        readers
    }
}

fn sorted<K>(counts: BTreeMap<K, usize>) -> Vec<usize> {
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_unstable();
    counts
}
