//! Whether the writes of each record form one chain. Its tests are at the end.

use crate::claim::{PartitionIndex, Write};

/// Checks property P4: the writes of each record form one chain, each version with one winner.
///
/// It does not look at the records of the store but only at what the store let pass.
#[derive(Debug)]
pub(crate) struct History {
    versions: Vec<Option<u64>>,
    latest: u64,
    breach: Option<String>,
}

impl History {
    pub(crate) fn new(partitions: usize) -> Self {
        Self { versions: vec![None; partitions], latest: 0, breach: None }
    }

    pub(crate) fn write(&mut self, write: Write) {
        let current = self.versions[write.partition].replace(write.version);
        if write.expected != current || write.version <= self.latest {
            self.breach.get_or_insert_with(|| tell(write.partition, current, write));
        }
        self.latest = self.latest.max(write.version);
    }

    /// The first write that should have lost.
    pub(crate) fn breach(&self) -> Option<&str> {
        self.breach.as_deref()
    }
}

fn tell(partition: PartitionIndex, current: Option<u64>, write: Write) -> String {
    format!("partition {partition} was at version {current:?} when {write:?} was won")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(expected: Option<u64>, version: u64) -> Write {
        Write { partition: 0, expected, version, owner: Some(0) }
    }

    fn breach(writes: &[Write]) -> Option<String> {
        let mut history = History::new(1);
        for one in writes {
            history.write(*one);
        }
        history.breach().map(str::to_owned)
    }

    #[test]
    fn a_chain_of_versions_is_no_breach() {
        assert_eq!(breach(&[write(None, 1), write(Some(1), 3), write(Some(3), 4)]), None);
    }

    #[test]
    fn two_winners_of_one_version_are_a_breach() {
        let breach = breach(&[write(None, 1), write(Some(1), 2), write(Some(1), 3)]);
        assert!(breach.unwrap().contains("Some(2)"));
    }

    #[test]
    fn two_records_made_from_nothing_are_a_breach() {
        assert!(breach(&[write(None, 1), write(None, 2)]).is_some());
    }

    #[test]
    fn a_version_that_was_given_before_is_a_breach() {
        assert!(breach(&[write(None, 2), write(Some(2), 2)]).is_some());
    }
}
