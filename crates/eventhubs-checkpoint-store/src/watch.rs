//! What a store tells those that watch it: claims that others want to know of at once.

use eventhubs_types::{OwnerId, PartitionId};

/// Whom a won claim is of interest to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// Everybody who could take the partition.
    Everyone,
    /// This instance.
    Owner(OwnerId),
}

/// A claim was won that announces itself. It may be long outdated when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Hint {
    /// The partition.
    pub partition: PartitionId,
    /// Whom it is of interest to.
    pub audience: Audience,
}

impl Hint {
    /// A hint on a claim that was won.
    pub fn new(partition: PartitionId, audience: Audience) -> Self {
        Self { partition, audience }
    }
}
