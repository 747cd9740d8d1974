//! The scope of ownership records and checkpoints.

use std::fmt;

use crate::{ConsumerGroup, EventHubName, Namespace};

/// What a checkpoint or an ownership record belongs to: one consumer group of one event hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ConsumerScope {
    /// The host name of the namespace, without a port.
    pub namespace: Namespace,
    /// The event hub.
    pub event_hub: EventHubName,
    /// The consumer group.
    pub consumer_group: ConsumerGroup,
}

impl ConsumerScope {
    /// Names one consumer group of one event hub.
    pub fn new(namespace: Namespace, event_hub: EventHubName, consumer_group: ConsumerGroup) -> Self {
        Self { namespace, event_hub, consumer_group }
    }
}

impl fmt::Display for ConsumerScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.event_hub, self.consumer_group)
    }
}
