//! What a run has done, as it says at its end: per partition, and in sum.

use std::collections::BTreeMap;

use eventhubs_types::{PartitionId, SequenceNumber};

use crate::CloseReason;

/// What a run has done: what awaiting a [`Receive`](crate::Receive) returns.
///
/// ```
/// # #![allow(unused)]
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
/// # #[tokio::main] async fn main() -> Result {
/// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
/// let receive = client.receive(handle).starting_position(StartingPosition::Earliest);
/// let report = receive.until(Until::now()).await?;
/// assert_eq!((report.handled(), report.failed()), (2, 0));
/// for (partition, report) in &report.partitions {
///     println!("partition {partition}: {} events up to {:?}", report.handled, report.last);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveReport {
    /// Each partition that the run began to read, with what it did there, over all times that it had the partition.
    /// After a [bounded](crate::Receive::until) run, each partition of the run.
    pub partitions: BTreeMap<PartitionId, PartitionReport>,
}

/// What a run has done on one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionReport {
    /// The first event that is done: handled, skipped or dead-lettered. `None` if none is.
    pub first: Option<SequenceNumber>,
    /// The last event that is done, as are all before it.
    pub last: Option<SequenceNumber>,
    /// How many events had a call of the callback that returned `Ok`. One that came twice counts twice.
    pub handled: u64,
    /// How many calls of the callback failed: with an error, a panic, or because of their deadline.
    pub failed: u64,
    /// How many events were given up by [`GiveUp::Skip`](crate::GiveUp::Skip).
    pub skipped: u64,
    /// How many events a dead-letter sink has taken.
    pub dead_lettered: u64,
    /// The checkpoint in the store, as this run last read or wrote it; `None` if there was none. One that the
    /// callback writes in a transaction of its own is not seen.
    pub checkpoint: Option<SequenceNumber>,
    /// Why the partition was closed last; `None` if it never was, because it could not be opened or had to be
    /// abandoned.
    pub closed: Option<CloseReason>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Handled,
    Skipped,
    DeadLettered,
}

impl ReceiveReport {
    /// Returns the sum of [`PartitionReport::handled`].
    pub fn handled(&self) -> u64 {
        self.sum(|partition| partition.handled)
    }

    /// Returns the sum of [`PartitionReport::failed`].
    pub fn failed(&self) -> u64 {
        self.sum(|partition| partition.failed)
    }

    /// Returns the sum of [`PartitionReport::skipped`].
    pub fn skipped(&self) -> u64 {
        self.sum(|partition| partition.skipped)
    }

    /// Returns the sum of [`PartitionReport::dead_lettered`].
    pub fn dead_lettered(&self) -> u64 {
        self.sum(|partition| partition.dead_lettered)
    }

    /// Returns whether every partition of a [bounded](crate::Receive::until) run was read to its bound. It is `false`
    /// after a run that was stopped before, and after one without a bound.
    pub fn is_complete(&self) -> bool {
        self.partitions.values().all(|partition| partition.closed == Some(CloseReason::Bounded))
    }

    fn sum(&self, count: impl Fn(&PartitionReport) -> u64) -> u64 {
        self.partitions.values().map(count).sum()
    }

    /// Adds what was done while a partition was owned, after what was done there before.
    pub(crate) fn add(&mut self, partition: &PartitionId, report: &PartitionReport) {
        self.partitions.entry(partition.clone()).or_default().add(report);
    }
}

impl PartitionReport {
    pub(crate) fn count(&mut self, fate: Fate, events: usize) {
        let count = match fate {
            Fate::Handled => &mut self.handled,
            Fate::Skipped => &mut self.skipped,
            Fate::DeadLettered => &mut self.dead_lettered,
        };
        *count += events as u64;
    }

    fn add(&mut self, later: &Self) {
        self.first = self.first.or(later.first);
        self.last = later.last.or(self.last);
        self.handled += later.handled;
        self.failed += later.failed;
        self.skipped += later.skipped;
        self.dead_lettered += later.dead_lettered;
        self.checkpoint = later.checkpoint.or(self.checkpoint);
        self.closed = later.closed.or(self.closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(first: i64, last: i64, closed: CloseReason) -> PartitionReport {
        let mut report = PartitionReport {
            first: Some(first.into()),
            last: Some(last.into()),
            failed: 1,
            checkpoint: Some(last.into()),
            closed: Some(closed),
            ..PartitionReport::default()
        };
        for (fate, events) in [(Fate::Handled, 3), (Fate::Skipped, 2), (Fate::DeadLettered, 1)] {
            report.count(fate, events);
        }
        report
    }

    #[test]
    fn a_partition_that_is_opened_several_times_has_one_report() {
        let mut report = ReceiveReport::default();
        let partition = "0".parse().unwrap();
        report.add(&partition, &done(0, 5, CloseReason::OwnershipLost));
        report.add(&partition, &PartitionReport::default());
        report.add(&partition, &done(6, 11, CloseReason::Shutdown));
        let expected = PartitionReport {
            handled: 6,
            failed: 2,
            skipped: 4,
            dead_lettered: 2,
            ..done(0, 11, CloseReason::Shutdown)
        };
        assert_eq!(report.partitions[&partition], expected);
        assert_eq!(
            (report.handled(), report.failed(), report.skipped(), report.dead_lettered()),
            (6, 2, 4, 2)
        );
    }

    #[test]
    fn a_report_is_complete_when_each_partition_was_read_to_its_bound() {
        let mut report = ReceiveReport::default();
        report.add(&"0".parse().unwrap(), &done(0, 1, CloseReason::Bounded));
        assert!(report.is_complete());
        report.add(&"1".parse().unwrap(), &PartitionReport::default());
        assert!(!report.is_complete());
        report.add(&"1".parse().unwrap(), &done(0, 1, CloseReason::Shutdown));
        assert!(!report.is_complete());
    }
}
