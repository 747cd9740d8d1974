//! Event hubs that come and go while the emulator runs.

use crate::emulator::Emulator;
use crate::error::Result;
use crate::hub::registry::HubSpec;

impl Emulator {
    /// Adds an event hub with this many partitions, and these consumer groups in addition to `$Default`.
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

    /// Deletes an event hub with its events. Its links end with `amqp:not-found`.
    ///
    /// # Errors
    /// When it does not exist, or the data folder cannot be written.
    pub fn delete_event_hub(&self, name: &str) -> Result<()> {
        self.hubs().delete(name, |hub| self.peers().end_links_of(hub))
    }

    /// Adds partitions to an event hub until it has `partitions`, while clients are connected. Events keep their partitions;
    /// new ones with a partition key may go to another partition than before.
    ///
    /// # Errors
    /// When the event hub does not exist or has more partitions already, the partition count cannot be used, or the data folder
    /// cannot be written.
    pub fn grow_event_hub(&self, name: &str, partitions: usize) -> Result<()> {
        self.hubs().grow(name, partitions)
    }

    /// Deletes an event hub and creates it again with another number of partitions, and the same consumer groups: it is empty, and its
    /// sequence numbers and offsets start over.
    ///
    /// # Errors
    /// When it does not exist, the partition count cannot be used, or the data folder cannot be written.
    pub fn recreate_event_hub(&self, name: &str, partitions: usize) -> Result<()> {
        self.hubs().recreate(name, partitions, |hub| self.peers().end_links_of(hub))
    }
}
