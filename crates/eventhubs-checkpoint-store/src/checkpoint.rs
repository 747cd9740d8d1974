//! A checkpoint, and the outcome of writing one.

use eventhubs_types::{Offset, PartitionId, SequenceNumber, StartingPosition};

use crate::Version;

/// How far a consumer group has processed a partition: everything up to and including this position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the last event processed; other SDKs may leave it out.
    pub offset: Option<Offset>,
    /// The sequence number of the last event processed; other SDKs may leave it out.
    pub sequence_number: Option<SequenceNumber>,
    /// The version of the record, as read; `None` in a checkpoint that is yet to be written.
    pub version: Option<Version>,
}

impl Checkpoint {
    /// A checkpoint to write.
    pub fn new(
        partition: PartitionId,
        offset: Option<Offset>,
        sequence_number: Option<SequenceNumber>,
    ) -> Self {
        Self { partition, offset, sequence_number, version: None }
    }

    /// The same checkpoint with the version under which the store keeps it.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Where reading continues: after the offset, else after the sequence number. Never inclusive,
    /// whatever the configured starting position says.
    pub fn resume_position(&self) -> Option<StartingPosition> {
        let by_offset = self.offset.clone().map(StartingPosition::after_offset);
        by_offset.or_else(|| self.sequence_number.map(StartingPosition::after_sequence_number))
    }
}

/// What became of the write of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointOutcome {
    /// Written; this is the new version.
    Written(Version),
    /// The record was not as expected: somebody else wrote it meanwhile. Read it again, then decide.
    Conflict,
}

/// What became of the deletion of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeleteOutcome {
    /// It is gone.
    Deleted,
    /// It has another version, or was gone already.
    Conflict,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(offset: Option<&str>, number: Option<i64>) -> Option<StartingPosition> {
        let partition = PartitionId::new("0").unwrap();
        Checkpoint::new(partition, offset.map(Offset::new), number.map(SequenceNumber::new)).resume_position()
    }

    #[test]
    fn reading_goes_on_behind_the_offset_else_behind_the_sequence_number() {
        let behind_offset = Some(StartingPosition::after_offset("3:1234:5678"));
        assert_eq!(resume(Some("3:1234:5678"), Some(7)), behind_offset);
        assert_eq!(resume(Some("3:1234:5678"), None), behind_offset);
        assert_eq!(resume(None, Some(7)), Some(StartingPosition::after_sequence_number(7)));
        assert_eq!(resume(None, None), None);
    }
}
