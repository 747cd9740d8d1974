//! Where events go.

use std::collections::BTreeMap;

use eventhubs_amqp::{EventHubClient, Producer};
use eventhubs_types::{EventData, PartitionId};
use futures::future::try_join_all;

use crate::Result;

/// Sends to one partition, to where the service puts the events, or to all partitions in turn.
#[derive(Debug)]
pub(super) enum Target {
    /// A partition, or the whole hub where partition keys decide.
    One(Producer),
    /// Without keys the service puts each batch into one partition, so that a whole file would land there.
    InTurn(InTurn),
}

#[derive(Debug)]
pub(super) struct InTurn {
    client: EventHubClient,
    partitions: Vec<PartitionId>,
    /// Made when first needed: a hub may have more partitions than there are events.
    producers: BTreeMap<usize, Producer>,
    /// Counts the events that were dealt.
    next: usize,
}

impl Target {
    /// All partitions in turn, or whatever the service chooses where the credential may not ask for the partitions.
    ///
    /// # Errors
    /// When the event hub cannot be reached.
    pub(super) async fn in_turn(client: &EventHubClient) -> Result<Self> {
        match client.event_hub_properties().await {
            Ok(properties) if !properties.partition_ids.is_empty() => Ok(Self::InTurn(InTurn {
                client: client.clone(),
                partitions: properties.partition_ids,
                producers: BTreeMap::new(),
                next: 0,
            })),
            // A policy with the right to send only cannot read properties, and must be able to send.
            Err(error) if error.kind() != eventhubs_amqp::ErrorKind::Unauthorized => Err(error.into()),
            _ => Ok(Self::One(client.producer())),
        }
    }

    /// Sends, and returns when all is acknowledged.
    ///
    /// # Errors
    /// When the service refuses some of it, or cannot be reached; what went to other partitions may have arrived.
    pub(super) async fn send(&mut self, events: Vec<EventData>) -> Result<()> {
        match self {
            Self::One(producer) => Ok(producer.send(events).await?),
            Self::InTurn(partitions) => partitions.send(events).await,
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::One(producer) => producer.close().await,
            Self::InTurn(InTurn { producers, .. }) => {
                for producer in producers.into_values() {
                    producer.close().await;
                }
            }
        }
    }
}

impl InTurn {
    async fn send(&mut self, events: Vec<EventData>) -> Result<()> {
        let mut dealt: BTreeMap<usize, Vec<EventData>> = BTreeMap::new();
        for event in events {
            dealt.entry(self.next % self.partitions.len()).or_default().push(event);
            self.next += 1;
        }
        for partition in dealt.keys() {
            let (client, id) = (&self.client, &self.partitions[*partition]);
            self.producers.entry(*partition).or_insert_with(|| client.partition_producer(id.clone()));
        }
        let sends = dealt.into_iter().map(|(partition, events)| self.producers[&partition].send(events));
        // At the same time: one partition that is throttled does not hold up the others.
        try_join_all(sends).await?;
        Ok(())
    }
}
