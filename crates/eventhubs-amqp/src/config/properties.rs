//! What the service says about an event hub and its partitions.
//!
//! Tests: those of `connection/management.rs`, which reads them.

use std::time::SystemTime;

use eventhubs_types::{EventHubName, Offset, PartitionId, SequenceNumber, StartingPosition};

/// The properties of an event hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHubProperties {
    /// The event hub.
    pub name: EventHubName,
    /// When it was created, if the service says so.
    pub created_at: Option<SystemTime>,
    /// Its partitions.
    pub partition_ids: Vec<PartitionId>,
}

/// The properties of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProperties {
    /// The event hub.
    pub event_hub: EventHubName,
    /// The partition.
    pub id: PartitionId,
    /// The sequence number of the oldest event kept; `None` if the service did not say.
    pub beginning_sequence_number: Option<SequenceNumber>,
    /// The sequence number of the newest event; -1 if there never was one, `None` if the service did not say.
    pub last_enqueued_sequence_number: Option<SequenceNumber>,
    /// The offset of the newest event; `-1` if there never was one, `None` if the service did not say.
    pub last_enqueued_offset: Option<Offset>,
    /// When the newest event was enqueued; `None` if there never was one.
    pub last_enqueued_time: Option<SystemTime>,
    /// Whether the partition holds no event; if the service did not say, whether it never held one.
    pub is_empty: bool,
}

impl PartitionProperties {
    /// Returns the position after the newest event; `None` where the service contradicts itself, as it
    /// sometimes does: it says that there is no newest event in a partition that is not empty, or that the
    /// oldest event comes after the newest.
    ///
    /// Trusting such numbers could mean reading everything again where only new events were asked for.
    pub fn after_newest_event(&self) -> Option<StartingPosition> {
        let last = self.last_enqueued_sequence_number?;
        // One more than the newest is the oldest of a partition whose events have all expired.
        let most = last.value().max(-1).saturating_add(1);
        let is_sound = self.beginning_sequence_number.is_none_or(|first| first.value() <= most);
        let offset = self.last_enqueued_offset.as_ref().map_or("", Offset::as_str);
        match last.value() {
            ..0 => (is_sound && self.is_empty && matches!(offset, "" | "-1"))
                .then_some(StartingPosition::Earliest),
            _ => is_sound.then(|| StartingPosition::after_sequence_number(last)),
        }
    }
}
