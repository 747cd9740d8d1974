//! Fences: a checkpoint that belongs to one ownership, so that it can be written in a transaction of the user.

use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber};

use crate::Checkpoint;

/// What one ownership of a partition writes its transactional checkpoints with. A later ownership has a larger
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FenceToken(i64);

impl FenceToken {
    /// Takes the store's number of an ownership.
    pub fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn value(self) -> i64 {
        self.0
    }
}

/// The beginning of an ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fenced {
    /// The checkpoint: no earlier owner can change it any more, if there is a token.
    pub checkpoint: Option<Checkpoint>,
    /// `None` where the store has no fence.
    pub token: Option<FenceToken>,
}

impl Fenced {
    /// The beginning of an ownership, as a store wrote it.
    pub fn new(checkpoint: Option<Checkpoint>, token: Option<FenceToken>) -> Self {
        Self { checkpoint, token }
    }
}

/// A checkpoint to be written in the same transaction as what the event led to: both are there, or neither.
///
/// It is plain data. The crate of the store says how to write it, with which drivers, and what the database
/// answers when another instance owns the partition by then or the event was already done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionalCheckpoint {
    /// Whose checkpoint it is.
    pub scope: ConsumerScope,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the event.
    pub offset: Offset,
    /// The sequence number of the event.
    pub sequence_number: SequenceNumber,
    /// The ownership under which the event was read.
    pub token: FenceToken,
}

impl TransactionalCheckpoint {
    /// A checkpoint at an event that was read under this ownership.
    pub fn new(
        scope: ConsumerScope,
        partition: PartitionId,
        offset: Offset,
        sequence_number: SequenceNumber,
        token: FenceToken,
    ) -> Self {
        Self { scope, partition, offset, sequence_number, token }
    }
}
