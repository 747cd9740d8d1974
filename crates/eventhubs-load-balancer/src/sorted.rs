//! Walks over sorted records and partitions, which keep a round over thousands of partitions cheap.

use std::cmp::Ordering;
use std::iter::Peekable;

use eventhubs_checkpoint_store::Ownership;
use eventhubs_types::PartitionId;

use crate::Assignment;
use crate::crowd::Crowd;

/// The item of a partition, in a walk over items sorted by partition, in step with a sorted walk over the
/// partitions.
pub(crate) fn take_at<T>(
    items: &mut Peekable<impl Iterator<Item = T>>,
    partition: &PartitionId,
    key: impl Fn(&T) -> &PartitionId,
) -> Option<T> {
    loop {
        match key(items.peek()?).cmp(partition) {
            Ordering::Less => items.next(),
            Ordering::Equal => return items.next(),
            Ordering::Greater => return None,
        };
    }
}

/// The record of a partition, of records in the order of their partitions.
pub(crate) fn record_of<'a>(partition: &PartitionId, records: &'a [Ownership]) -> Option<&'a Ownership> {
    let place = records.binary_search_by(|record| record.partition.cmp(partition));
    place.ok().map(|place| &records[place])
}

/// The partitions of the event hub in order, and as they were given: sorting them again in each round takes
/// longer than seeing that they are the same.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    given: Vec<PartitionId>,
    sorted: Vec<PartitionId>,
}

impl Hub {
    /// Takes those partitions that the assignment leaves to this instance.
    pub(crate) fn update(&mut self, partitions: &[PartitionId], assignment: &Assignment) {
        if self.given != partitions {
            self.given = partitions.to_vec();
            self.sorted = assignment.of(partitions);
            self.sorted.sort();
            self.sorted.dedup();
        }
    }

    /// How many instances can come: the assignment of this one bounds no others.
    pub(crate) fn crowd(&self) -> Crowd {
        Crowd::of(self.given.len())
    }

    pub(crate) fn sorted(&self) -> &[PartitionId] {
        &self.sorted
    }

    pub(crate) fn has(&self, partition: &PartitionId) -> bool {
        self.sorted.binary_search(partition).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<const N: usize>(ids: [&str; N]) -> Vec<PartitionId> {
        ids.map(|id| id.parse().unwrap()).into()
    }

    #[test]
    fn a_walk_beside_another_finds_each_item_and_passes_the_rest_by() {
        let mut items = ids(["1", "3", "5"]).into_iter().peekable();
        let sought = ids(["0", "1", "2", "5", "6"]);
        let found = sought.iter().filter_map(|id| take_at(&mut items, id, |item| item));
        assert_eq!(found.collect::<Vec<_>>(), ids(["1", "5"]));
    }

    #[test]
    fn a_hub_follows_what_it_is_given() {
        let mut hub = Hub::default();
        hub.update(&ids(["2", "10", "2"]), &Assignment::Balanced);
        assert_eq!(hub.sorted(), ids(["10", "2"]));
        hub.update(&ids(["3"]), &Assignment::Balanced);
        assert!(hub.has(&ids(["3"])[0]) && !hub.has(&ids(["2"])[0]));
    }
}
