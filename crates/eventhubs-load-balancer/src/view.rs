use std::collections::{BTreeMap, BTreeSet};

use eventhubs_checkpoint_store::Ownership;
use eventhubs_types::{OwnerId, PartitionId};

/// Who holds which partition at the time of a listing, as one instance sees it.
///
/// Every partition of the hub is in exactly one place, and none else is: the record of a partition that the hub does not
/// have is ignored. The order of the records does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct View {
    /// What this instance holds or may go on with.
    pub mine: BTreeSet<PartitionId>,
    /// What nobody holds: no record, a released one, or one that has expired.
    pub free: BTreeSet<PartitionId>,
    /// What other instances hold. An instance that holds nothing cannot be seen (contract §8.5).
    pub others: BTreeMap<OwnerId, BTreeSet<PartitionId>>,
}

impl View {
    /// Sorts the partitions of the hub by their records.
    ///
    /// `held` are partitions on which the own lease is running: they stay mine also where the record was released or
    /// deleted by somebody else, and are then written again. An own record that is not held, left by a run before, is
    /// mine until it expires.
    pub fn new(
        partitions: &[PartitionId],
        me: &OwnerId,
        records: &[Ownership],
        held: &BTreeSet<PartitionId>,
        expired: &BTreeSet<PartitionId>,
    ) -> Self {
        let owners: BTreeMap<&PartitionId, Option<&OwnerId>> = records
            .iter()
            .map(|record| (&record.partition, record.owner.as_ref()))
            .collect();
        let mut view = Self::default();
        for partition in partitions {
            let (is_held, is_expired) = (held.contains(partition), expired.contains(partition));
            match owners.get(partition).copied().flatten() {
                Some(owner) if owner == me && (is_held || !is_expired) => view.mine.insert(partition.clone()),
                None if is_held => view.mine.insert(partition.clone()),
                Some(owner) if owner != me && !is_expired => view
                    .others
                    .entry(owner.clone())
                    .or_default()
                    .insert(partition.clone()),
                _ => view.free.insert(partition.clone()),
            };
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::Version;

    use super::*;

    fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<PartitionId> {
        ids.map(|id| id.parse().unwrap()).into()
    }

    fn record(partition: &str, owner: Option<&str>) -> Ownership {
        let owner = owner.map(|id| id.parse().unwrap());
        Ownership::new(partition.parse().unwrap(), owner, Version::new("1"), None)
    }

    fn view(records: &[Ownership], held: &BTreeSet<PartitionId>, expired: &BTreeSet<PartitionId>) -> View {
        let partitions: Vec<_> = ids(["0", "1", "2"]).into_iter().collect();
        View::new(&partitions, &"me".parse().unwrap(), records, held, expired)
    }

    #[test]
    fn a_missing_a_released_and_an_expired_record_are_free() {
        let records = [record("1", None), record("2", Some("b"))];
        let view = view(&records, &ids([]), &ids(["2"]));
        assert_eq!(
            view,
            View {
                free: ids(["0", "1", "2"]),
                ..View::default()
            }
        );
    }

    #[test]
    fn a_live_record_belongs_to_its_owner() {
        let records = [
            record("0", Some("me")),
            record("1", Some("b")),
            record("2", Some("b")),
        ];
        let view = view(&records, &ids([]), &ids([]));
        assert_eq!(view.mine, ids(["0"]));
        assert_eq!(
            view.others,
            BTreeMap::from([("b".parse().unwrap(), ids(["1", "2"]))])
        );
        assert_eq!(view.free, ids([]));
    }

    #[test]
    fn the_record_of_a_partition_that_the_hub_does_not_have_is_ignored() {
        let records = [record("7", Some("b")), record("8", Some("me")), record("9", None)];
        let view = view(&records, &ids(["8"]), &ids([]));
        assert_eq!(
            view,
            View {
                free: ids(["0", "1", "2"]),
                ..View::default()
            }
        );
    }

    #[test]
    fn what_is_held_stays_mine_where_the_record_was_released_deleted_or_looks_old() {
        let records = [record("1", None), record("2", Some("me"))];
        let view = view(&records, &ids(["0", "1", "2"]), &ids(["1", "2"]));
        assert_eq!(view.mine, ids(["0", "1", "2"]));
    }

    #[test]
    fn what_another_owner_took_is_not_mine_though_it_is_held() {
        let view = view(
            &[record("0", Some("b")), record("1", Some("b"))],
            &ids(["0", "1"]),
            &ids(["1"]),
        );
        assert_eq!(view.mine, ids([]));
        assert_eq!(view.others[&"b".parse().unwrap()], ids(["0"]));
        assert_eq!(view.free, ids(["1", "2"]));
    }

    #[test]
    fn an_own_record_of_a_run_before_is_mine_until_it_expires() {
        let records = [record("0", Some("me")), record("1", Some("me"))];
        let view = view(&records, &ids([]), &ids(["1"]));
        assert_eq!((view.mine, view.free), (ids(["0"]), ids(["1", "2"])));
    }
}
