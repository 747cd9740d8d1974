//! The ownership records of the simulated store, with versions and times.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{Claim, Expected, Ownership, Version};
use tokio::time::Instant;

use crate::claim::PartitionIndex;

/// The ownership records, each with as much of its past as a stale listing may show.
#[derive(Debug)]
pub(crate) struct Records {
    last_version: u64,
    /// In the order of a listing: by the names of the partitions, as blob storage has it.
    entries: Vec<Record>,
    /// Where the record of each partition is.
    places: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Record {
    current: Option<(Instant, Ownership)>,
    past: VecDeque<(Instant, Ownership)>,
}

impl Record {
    /// Nearly always the current one: the past is kept for stale listings alone.
    fn at(&self, time: Instant) -> Option<&Ownership> {
        let mut latest_first = self.current.iter().chain(self.past.iter().rev());
        latest_first.find(|(since, _)| *since <= time).map(|(_, record)| record)
    }
}

impl Records {
    pub(crate) fn new(partitions: usize) -> Self {
        let mut order: Vec<_> = (0..partitions).collect();
        order.sort_by_cached_key(PartitionIndex::to_string);
        let mut places = vec![0; partitions];
        for (place, partition) in order.into_iter().enumerate() {
            places[partition] = place;
        }
        Self { last_version: 0, entries: vec![Record::default(); partitions], places }
    }

    /// All records as they were at that time.
    pub(crate) fn list(&self, as_of: Instant) -> Vec<Ownership> {
        let mut list = Vec::with_capacity(self.entries.len());
        list.extend(self.entries.iter().filter_map(|record| record.at(as_of)).cloned());
        list
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
        let Record { current, past } = &mut self.entries[self.places[partition]];
        let is_as_expected = match (&claim.expected, &*current) {
            (Expected::Absent, current) => current.is_none(),
            (Expected::Version(version), current) => {
                current.as_ref().is_some_and(|(_, record)| record.version == *version)
            }
        };
        if !is_as_expected {
            return None;
        }
        self.last_version += 1;
        let version = Version::new(self.last_version.to_string());
        let record = Ownership::new(claim.partition.clone(), claim.owner.clone(), version, Some(modified))
            .with_mark(claim.mark.clone());
        past.extend(current.replace((now, record.clone())));
        // What was replaced before the time that the stalest listing shows is never shown again.
        let is_hidden = |next: Option<&(Instant, _)>| next.is_some_and(|(since, _)| now - *since >= stale);
        while !past.is_empty() && is_hidden(past.get(1).or(current.as_ref())) {
            past.pop_front();
        }
        Some(record)
    }
}
