//! What tests and people may look at: who is connected, who reads what, and what was received.

use std::net::SocketAddr;
use std::time::SystemTime;

use eventhubs_types::{EventData, Offset, SequenceNumber};

use crate::clock;
use crate::emulator::{Emulator, find_partition, unkept};
use crate::error::Result;
use crate::hub::{Hub, Partition};

use crate::event::message;
use crate::hub::readers::Reader;
use crate::hub::storage::{NEVER_MS, StoredEvent};
use crate::serve::peers::{Handles, Peers};
use crate::serve::request_log::ReceivedRequest;

/// An event hub and what its partitions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHubProperties {
    /// The event hub.
    pub name: String,
    /// When it was created or re-created.
    pub created_on: Option<SystemTime>,
    /// Its consumer groups; `$Default` is the first.
    pub consumer_groups: Vec<String>,
    /// Its partitions, in the order of their numbers.
    pub partitions: Vec<PartitionProperties>,
}

/// What a partition holds; the times and numbers that `$management` reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionProperties {
    /// The partition.
    pub partition_id: String,
    /// The number of the oldest event kept; of the next event if none is.
    pub beginning_sequence_number: SequenceNumber,
    /// The number of the last event; -1 if there never was one.
    pub last_enqueued_sequence_number: SequenceNumber,
    /// The offset of the last event; `-1` if there never was one.
    pub last_enqueued_offset: Offset,
    /// When the last event was enqueued.
    pub last_enqueued_time: Option<SystemTime>,
    /// How many events are kept.
    pub event_count: usize,
    /// How many bytes of bodies are kept.
    pub byte_count: u64,
}

/// An event as a partition keeps it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PublishedEvent {
    /// Its number in the partition.
    pub sequence_number: SequenceNumber,
    /// Its offset in the partition.
    pub offset: Offset,
    /// When it was enqueued.
    pub enqueued_time: Option<SystemTime>,
    /// What the producer sent.
    pub event: EventData,
}

/// A consumer that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachedReceiver {
    /// Tells its link from all other links, also past ones.
    pub id: u64,
    /// The connection; see [`ConnectedClient::id`].
    pub connection_id: u64,
    /// The name of its link.
    pub link_name: String,
    /// The consumer group.
    pub consumer_group: String,
    /// The partition.
    pub partition_id: String,
    /// The owner level (epoch), if it gave one.
    pub owner_level: Option<i64>,
    /// The name that it gave itself (`com.microsoft:receiver-name`).
    pub name: Option<String>,
    /// The event that it gets next.
    pub next_sequence_number: SequenceNumber,
    /// How many events it still takes; `None` as long as that cannot be told.
    pub credit: Option<u32>,
    /// How many events this link has delivered.
    pub delivered: u64,
}

/// A client that is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectedClient {
    /// Tells it from all other connections of this emulator, also past ones.
    pub id: u64,
    /// Where it connects from.
    pub address: Option<SocketAddr>,
    /// The container id that it opened the connection with; empty before that.
    pub container_id: String,
    /// What software it says it is.
    pub user_agent: Option<String>,
}

impl Emulator {
    /// What all partitions of an event hub hold, in the order of their numbers.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn partitions(&self, event_hub: &str) -> Result<Vec<PartitionProperties>> {
        Ok(self.hub(event_hub)?.partitions().iter().map(|partition| properties(partition)).collect())
    }

    /// An event hub.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn event_hub(&self, event_hub: &str) -> Result<EventHubProperties> {
        let hub = self.hub(event_hub)?;
        Ok(hub_properties(&hub))
    }

    /// All event hubs.
    pub fn event_hubs(&self) -> Vec<EventHubProperties> {
        self.hubs().all().iter().map(|hub| hub_properties(hub)).collect()
    }

    /// What a partition holds.
    ///
    /// # Errors
    /// When hub or partition do not exist.
    pub fn partition(&self, event_hub: &str, partition_id: &str) -> Result<PartitionProperties> {
        let hub = self.hub(event_hub)?;
        let partition = find_partition(&hub, partition_id)?;
        Ok(properties(&partition))
    }

    /// Up to `limit` events of a partition, from this sequence number on or from the oldest one kept; fewer when they are
    /// large.
    ///
    /// # Errors
    /// When hub or partition do not exist, or the data folder cannot be read.
    pub fn events(
        &self,
        event_hub: &str,
        partition_id: &str,
        from: SequenceNumber,
        limit: usize,
    ) -> Result<Vec<PublishedEvent>> {
        let hub = self.hub(event_hub)?;
        let partition = find_partition(&hub, partition_id)?;
        let events = partition.log().read(from.value(), limit);
        let events = events.map_err(|reason| unkept(&reason))?;
        Ok(events.iter().map(published).collect())
    }

    /// Who reads the event hub now, by partition and consumer group.
    ///
    /// # Errors
    /// When the hub does not exist.
    pub fn receivers(&self, event_hub: &str) -> Result<Vec<AttachedReceiver>> {
        let hub = self.hub(event_hub)?;
        Ok(hub.partitions().iter().flat_map(|partition| attached(partition, self.peers())).collect())
    }

    /// Who is connected now.
    pub fn connections(&self) -> Vec<ConnectedClient> {
        let client = |(id, _, handles): (u64, _, Handles)| {
            let identity = handles.shared.identity();
            ConnectedClient {
                id,
                address: handles.address,
                container_id: identity.container_id,
                user_agent: identity.user_agent,
            }
        };
        self.peers().connections().into_iter().map(client).collect()
    }

    /// What clients asked of `$cbs` and `$management`, the last 1024 requests, oldest first.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.broker().requests.all()
    }
}

fn hub_properties(hub: &Hub) -> EventHubProperties {
    EventHubProperties {
        name: hub.name.clone(),
        created_on: clock::from_ms(hub.created_ms),
        consumer_groups: hub.consumer_groups(),
        partitions: hub.partitions().iter().map(|partition| properties(partition)).collect(),
    }
}

fn properties(partition: &Partition) -> PartitionProperties {
    let log = partition.log();
    let head = log.head();
    PartitionProperties {
        partition_id: partition.id.clone(),
        beginning_sequence_number: log.first_sequence_number().into(),
        last_enqueued_sequence_number: head.sequence_number.into(),
        last_enqueued_offset: head.offset.to_string().into(),
        last_enqueued_time: clock::from_ms(head.enqueued_ms).filter(|_| head.enqueued_ms != NEVER_MS),
        event_count: log.len(),
        byte_count: log.bytes(),
    }
}

fn published(event: &StoredEvent) -> PublishedEvent {
    PublishedEvent {
        sequence_number: event.stamp.sequence_number.into(),
        offset: event.stamp.offset.to_string().into(),
        enqueued_time: clock::from_ms(event.stamp.enqueued_ms),
        event: message::to_event(&event.message.bytes),
    }
}

/// A reader whose link ends right now is left out.
fn attached(partition: &Partition, peers: &Peers) -> Vec<AttachedReceiver> {
    let receiver = |(consumer_group, reader): (String, Reader)| {
        let link = peers.link(reader.id)?;
        let reading = link.reading?;
        Some(AttachedReceiver {
            id: reader.id,
            connection_id: link.connection,
            link_name: link.name,
            consumer_group,
            partition_id: partition.id.clone(),
            owner_level: reader.owner_level,
            name: reader.name,
            next_sequence_number: reading.next().into(),
            credit: Some(reading.credit()),
            delivered: reading.delivered(),
        })
    };
    partition.attached_readers().into_iter().filter_map(receiver).collect()
}
