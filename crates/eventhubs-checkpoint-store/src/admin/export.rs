//! The checkpoints of a scope as plain data, for files.

use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber};
use serde::{Deserialize, Serialize};

use crate::{Checkpoint, Error, ErrorKind, Result};

/// All checkpoints of one scope. Change the names to import them into another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScopeExport {
    /// The host name of the namespace.
    pub namespace: String,
    /// The event hub.
    pub event_hub: String,
    /// The consumer group.
    pub consumer_group: String,
    /// The checkpoints, in the order of their partitions.
    pub checkpoints: Vec<ExportedCheckpoint>,
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExportedCheckpoint {
    /// The partition.
    pub partition: String,
    /// The offset of the last event processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<String>,
    /// The sequence number of the last event processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<i64>,
}

impl ScopeExport {
    pub(super) fn new(scope: &ConsumerScope, mut checkpoints: Vec<Checkpoint>) -> Self {
        checkpoints.sort_by(|one, other| one.partition.cmp(&other.partition));
        Self {
            namespace: scope.namespace.to_string(),
            event_hub: scope.event_hub.to_string(),
            consumer_group: scope.consumer_group.to_string(),
            checkpoints: checkpoints.iter().map(ExportedCheckpoint::new).collect(),
        }
    }

    /// The scope that it is of, and is imported into.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when a name is none.
    pub fn scope(&self) -> Result<ConsumerScope> {
        let namespace = self.namespace.parse().map_err(|error| invalid("namespace", error))?;
        let event_hub = self.event_hub.parse().map_err(|error| invalid("event_hub", error))?;
        let consumer_group = self.consumer_group.parse().map_err(|error| invalid("consumer_group", error))?;
        Ok(ConsumerScope::new(namespace, event_hub, consumer_group))
    }

    pub(super) fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.checkpoints.iter().map(ExportedCheckpoint::checkpoint).collect()
    }
}

impl ExportedCheckpoint {
    fn new(checkpoint: &Checkpoint) -> Self {
        Self {
            partition: checkpoint.partition.to_string(),
            offset: checkpoint.offset.as_ref().map(|offset| offset.as_str().to_owned()),
            sequence_number: checkpoint.sequence_number.map(SequenceNumber::value),
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let partition: PartitionId = self.partition.parse().map_err(|error| invalid("partition", error))?;
        if self.offset.is_none() && self.sequence_number.is_none() {
            // It would make a damaged checkpoint, from which no instance begins to read.
            let text = format!(
                "checkpoints: that of partition {partition} has neither an offset nor a sequence number"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        let offset = self.offset.as_deref().map(Offset::new);
        Ok(Checkpoint::new(partition, offset, self.sequence_number.map(SequenceNumber::new)))
    }
}

fn invalid(field: &'static str, error: eventhubs_types::InvalidName) -> Error {
    Error::new(ErrorKind::InvalidArgument, field).with_source(error)
}
