use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{Claim, Expected, Ownership, Version};
use tokio::time::Instant;

use crate::ledger::PartitionIndex;

/// The ownership records, each with as much of its past as a stale listing may show.
#[derive(Debug)]
pub(crate) struct Records {
    last_version: u64,
    /// The partitions in the order of a listing: by name, as blob storage has it.
    order: Vec<PartitionIndex>,
    pasts: Vec<VecDeque<(Instant, Ownership)>>,
}

impl Records {
    pub(crate) fn new(partitions: usize) -> Self {
        let mut order: Vec<_> = (0..partitions).collect();
        order.sort_by_cached_key(PartitionIndex::to_string);
        Self { last_version: 0, order, pasts: vec![VecDeque::new(); partitions] }
    }

    /// All records as they were at that time.
    pub(crate) fn list(&self, as_of: Instant) -> Vec<Ownership> {
        let at_the_time = |index: &PartitionIndex| {
            let record = self.pasts[*index].iter().rev().find(|(since, _)| *since <= as_of);
            record.map(|(_, record)| record.clone())
        };
        self.order.iter().filter_map(at_the_time).collect()
    }

    /// One compare-and-swap; `None` if the record is not as expected.
    pub(crate) fn swap(
        &mut self,
        partition: PartitionIndex,
        claim: &Claim,
        modified: SystemTime,
        now: Instant,
        stale: Duration,
    ) -> Option<Ownership> {
        let past = &mut self.pasts[partition];
        let is_as_expected = match (&claim.expected, past.back()) {
            (Expected::Absent, current) => current.is_none(),
            (Expected::Version(version), current) => {
                current.is_some_and(|(_, record)| record.version == *version)
            }
        };
        if !is_as_expected {
            return None;
        }
        // What was replaced before the time that the stalest listing shows is never shown again.
        while past.get(1).is_some_and(|(since, _)| now - *since >= stale) {
            past.pop_front();
        }
        if stale.is_zero() {
            past.clear();
        }
        self.last_version += 1;
        let version = Version::new(self.last_version.to_string());
        let record = Ownership::new(claim.partition.clone(), claim.owner.clone(), version, Some(modified))
            .with_mark(claim.mark.clone());
        past.push_back((now, record.clone()));
        Some(record)
    }
}
