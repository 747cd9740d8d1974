//! What to do when a checkpoint cannot be read from: the policy, and why it was needed.

use eventhubs_types::{SequenceNumber, StartingPosition};

/// What to do when the position of a checkpoint cannot be read from: the event hub was re-created, an
/// emulator lost its data, the service failed over to another region, or the checkpoint is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum InvalidPosition {
    /// Report the error and retry from the same checkpoint, in case it becomes valid again.
    ///
    /// Where it never can, nothing is skipped: after a fail-over to another region, reading continues after
    /// the sequence number of the checkpoint, or from the oldest event if the service does not know that
    /// either. In an event hub that was re-created, reading restarts at the oldest event.
    #[default]
    Retry,
    /// Report the error, and read from the oldest event.
    Earliest,
    /// Report the error, and read only what comes after the newest event.
    Latest,
    /// Report the error, and read from where a partition without a checkpoint is read.
    StartingPosition,
}

/// Why a checkpoint cannot be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The service does not know the position, and may know it again.
    Refused,
    /// The service will never know the offset; the sequence number stays good.
    FailedOver(Option<SequenceNumber>),
    /// The events that came are of another life of the event hub.
    Recreated,
    /// The record in the store names no position.
    Damaged,
}

impl InvalidPosition {
    /// Where to read instead.
    pub(crate) fn instead(self, cause: Cause, starting: &StartingPosition) -> Option<StartingPosition> {
        match (self, cause) {
            (Self::Retry, Cause::Refused | Cause::Damaged) => None,
            (Self::Retry, Cause::FailedOver(Some(number))) => {
                Some(StartingPosition::after_sequence_number(number))
            }
            (Self::Earliest | Self::Retry, _) => Some(StartingPosition::Earliest),
            (Self::Latest, _) => Some(StartingPosition::Latest),
            (Self::StartingPosition, _) => Some(starting.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_says_where_to_read_instead_of_an_invalid_position() {
        use InvalidPosition as Policy;
        use StartingPosition::{Earliest, Latest};
        let set = StartingPosition::from_sequence_number(7);
        let after_nine = StartingPosition::after_sequence_number(9);
        let failed_over = Cause::FailedOver(Some(9.into()));
        for (policy, cause, starting, expected) in [
            (Policy::Retry, Cause::Refused, &set, None),
            (Policy::Retry, Cause::Refused, &Latest, None),
            (Policy::Retry, Cause::Damaged, &Latest, None),
            (Policy::Retry, failed_over, &set, Some(&after_nine)),
            (Policy::Retry, failed_over, &Latest, Some(&after_nine)),
            (Policy::Retry, Cause::FailedOver(None), &set, Some(&Earliest)),
            (Policy::Retry, Cause::Recreated, &Latest, Some(&Earliest)),
            (Policy::StartingPosition, Cause::Refused, &set, Some(&set)),
            (Policy::StartingPosition, failed_over, &Latest, Some(&Latest)),
            (Policy::Earliest, Cause::Damaged, &Latest, Some(&Earliest)),
            (Policy::Latest, failed_over, &Earliest, Some(&Latest)),
        ] {
            let instead = policy.instead(cause, starting);
            assert_eq!(instead.as_ref(), expected, "{policy:?}, {cause:?}, {starting:?}");
        }
    }
}
