//! Event hubs that come and go while the emulator runs.

use std::sync::Arc;

use crate::emulator::Emulator;
use crate::error::Result;
use crate::hub::Hub;
use crate::hubs::HubSpec;

/// What an event hub is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHubProperties {
    /// As it was created; it is found in any case.
    pub name: String,
    /// Their ids are `0` to one less than this.
    pub partition_count: usize,
    /// All of them, `$Default` first.
    pub consumer_groups: Vec<String>,
}

impl Emulator {
    /// The event hubs that are there now.
    pub fn event_hubs(&self) -> Vec<EventHubProperties> {
        let properties = |hub: Arc<Hub>| EventHubProperties {
            name: hub.name.clone(),
            partition_count: hub.partitions.len(),
            consumer_groups: hub.saved().consumer_groups,
        };
        self.hubs().all().into_iter().map(properties).collect()
    }

    /// Adds an event hub with this many partitions, and these consumer groups beside `$Default`.
    ///
    /// # Errors
    /// When it exists already, a name or the partition count cannot be used, or the data folder cannot be written.
    pub fn create_event_hub<G: Into<String>>(
        &self,
        name: impl Into<String>,
        partitions: usize,
        consumer_groups: impl IntoIterator<Item = G>,
    ) -> Result<()> {
        let consumer_groups = consumer_groups.into_iter().map(Into::into).collect();
        self.hubs().add(&HubSpec { name: name.into(), partitions, consumer_groups })
    }

    /// Deletes an event hub with its events. Its links end with `amqp:not-found` (contract §5.4).
    ///
    /// # Errors
    /// When it does not exist, or the data folder cannot be written.
    pub fn delete_event_hub(&self, name: &str) -> Result<()> {
        self.hubs().delete(name, self.peers())
    }

    /// Deletes an event hub and creates it again with another number of partitions, and the same consumer groups: it is empty, and its
    /// sequence numbers and offsets start over.
    ///
    /// # Errors
    /// When it does not exist, the partition count cannot be used, or the data folder cannot be written.
    pub fn recreate_event_hub(&self, name: &str, partitions: usize) -> Result<()> {
        self.hubs().recreate(name, partitions, self.peers())
    }
}
