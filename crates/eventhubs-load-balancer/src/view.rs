//! Who holds what, from the records of a listing. Pure.

use std::collections::{BTreeSet, HashMap};

use eventhubs_checkpoint_store::Ownership;
use eventhubs_types::{OwnerId, PartitionId};

use crate::note::Note;
use crate::sorted::take_at;

/// Who holds which partition at the time of a listing, as one instance sees it.
///
/// Every partition of the hub is in exactly one place, and none else is: the record of a partition that the
/// hub does not have is ignored. All lists are in the order of the partition ids, whatever the order of the
/// records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct View {
    /// What this instance holds or may continue with.
    pub mine: Vec<PartitionId>,
    /// What nobody holds: no record, a released one, or one that has expired; and what its owner offers
    /// because it stops.
    pub free: Vec<PartitionId>,
    /// Those of the free ones that their owner offers: an instance of another SDK cannot take them yet.
    pub offered: Vec<PartitionId>,
    /// Those of the free ones whose records still name this instance: it could not renew them in time. In the
    /// order of the ids, which [`plan`](crate::plan) searches.
    pub former: Vec<PartitionId>,
    /// The other instances that hold something, in the order of the first partition of each. An instance that
    /// holds nothing cannot be seen.
    pub others: Vec<Peer>,
    /// Those of the others' that one of them has just taken from another and waits for: to be left alone for
    /// now.
    pub moving: Vec<PartitionId>,
    /// Those of the others that are short of partitions and have taken none for some time. They keep what
    /// they have, and no share is left for them.
    pub passive: BTreeSet<OwnerId>,
}

/// Another instance, as its records show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its id.
    pub owner: OwnerId,
    /// What it holds: at least one partition.
    pub partitions: Vec<PartitionId>,
    /// Whether it takes what others offer, as its records say: an eventhubs instance that hands over.
    pub takes_offers: bool,
}

impl Peer {
    /// An eventhubs instance that holds these partitions, and takes what others offer.
    pub fn new(owner: OwnerId, partitions: Vec<PartitionId>) -> Self {
        Self { owner, partitions, takes_offers: true }
    }
}

impl View {
    /// Sorts the partitions of the hub by their records.
    ///
    /// `held` are partitions on which the own lease is running: they stay mine also where the record was
    /// released or deleted by somebody else, and are then written again. An own record that is not held, left
    /// by a run before, is mine until it expires.
    ///
    /// Quickest where both lists come in the order of the partition ids.
    pub fn new(
        partitions: &[PartitionId],
        me: &OwnerId,
        records: &[Ownership],
        held: &BTreeSet<PartitionId>,
        expired: &BTreeSet<PartitionId>,
    ) -> Self {
        let mut partitions: Vec<_> = partitions.iter().collect();
        partitions.sort();
        partitions.dedup();
        let mut records: Vec<_> = records.iter().collect();
        records.sort_by_key(|record| &record.partition);
        Self::sorted(partitions, me, records, held, expired)
    }

    /// As [`new`](Self::new), of partitions and records that come in the order of the partition ids.
    pub(crate) fn sorted<'a>(
        partitions: impl IntoIterator<Item = &'a PartitionId>,
        me: &OwnerId,
        records: impl IntoIterator<Item = &'a Ownership>,
        held: &BTreeSet<PartitionId>,
        expired: &BTreeSet<PartitionId>,
    ) -> Self {
        let mut records = records.into_iter().peekable();
        let mut peers = Peers::with_capacity(records.size_hint().0);
        let mut view = Self::default();
        for partition in partitions {
            let record = take_at(&mut records, partition, |record| &record.partition);
            let owner = record.and_then(|record| record.owner.as_ref());
            let other = owner.filter(|owner| *owner != me);
            let note = record.and_then(Note::of);
            let is_live = || !expired.contains(partition);
            match other {
                Some(other) if is_live() && note != Some(Note::Offered) => {
                    peers.add(other, partition, note.is_some());
                    view.moving.extend(matches!(note, Some(Note::Asks(_))).then(|| partition.clone()));
                }
                None if held.contains(partition) || owner.is_some() && is_live() => {
                    view.mine.push(partition.clone());
                }
                _ => {
                    view.free.push(partition.clone());
                    view.offered.extend((other.is_some() && is_live()).then(|| partition.clone()));
                    view.former.extend((owner.is_some() && other.is_none()).then(|| partition.clone()));
                }
            }
        }
        view.others = peers.list;
        view
    }

    /// How many instances hold something, this one counted in any case.
    pub fn owners(&self) -> usize {
        self.others.len() + 1
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.mine.len()
            + self.free.len()
            + self.others.iter().map(|peer| peer.partitions.len()).sum::<usize>()
    }
}

/// The other instances while they are being found.
struct Peers<'a> {
    places: HashMap<&'a OwnerId, usize>,
    list: Vec<Peer>,
}

impl<'a> Peers<'a> {
    fn with_capacity(peers: usize) -> Self {
        Self { places: HashMap::with_capacity(peers), list: Vec::with_capacity(peers) }
    }

    fn add(&mut self, owner: &'a OwnerId, partition: &PartitionId, takes_offers: bool) {
        let place = *self.places.entry(owner).or_insert_with(|| {
            self.list.push(Peer::new(owner.clone(), Vec::new()));
            self.list.len() - 1
        });
        let peer = &mut self.list[place];
        peer.partitions.push(partition.clone());
        peer.takes_offers &= takes_offers;
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::Version;

    use super::*;

    fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<PartitionId> {
        ids.map(|id| id.parse().unwrap()).into()
    }

    fn list<const N: usize>(ids: [&str; N]) -> Vec<PartitionId> {
        ids.map(|id| id.parse().unwrap()).into()
    }

    fn peer<const N: usize>(owner: &str, ids: [&str; N]) -> Peer {
        Peer::new(owner.parse().unwrap(), list(ids))
    }

    /// One whose records have no note.
    fn stranger<const N: usize>(owner: &str, ids: [&str; N]) -> Peer {
        Peer { takes_offers: false, ..peer(owner, ids) }
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
        assert_eq!(view, View { free: list(["0", "1", "2"]), ..View::default() });
    }

    #[test]
    fn what_another_owner_offers_is_free_and_what_it_keeps_or_asks_for_is_not() {
        let noted = |id, owner, note: Note| record(id, Some(owner)).with_mark(Some(note.to_mark()));
        let asks = Note::Asks("me".parse().unwrap());
        let records = [noted("0", "b", Note::Offered), noted("1", "b", Note::Kept), noted("2", "c", asks)];
        let view = view(&records, &ids([]), &ids([]));
        assert_eq!((view.free, view.offered), (list(["0"]), list(["0"])));
        assert_eq!(view.others, [peer("b", ["1"]), peer("c", ["2"])]);
        assert_eq!(view.moving, list(["2"]), "it is left alone until it has arrived");
    }

    #[test]
    fn a_live_record_belongs_to_its_owner() {
        let records = [record("0", Some("me")), record("1", Some("b")), record("2", Some("b"))];
        let view = view(&records, &ids([]), &ids([]));
        assert_eq!(view.mine, list(["0"]));
        assert_eq!(view.others, [stranger("b", ["1", "2"])]);
        assert_eq!(view.free, list([]));
    }

    #[test]
    fn the_record_of_a_partition_that_the_hub_does_not_have_is_ignored() {
        let records = [record("7", Some("b")), record("8", Some("me")), record("9", None)];
        let view = view(&records, &ids(["8"]), &ids([]));
        assert_eq!(view, View { free: list(["0", "1", "2"]), ..View::default() });
    }

    #[test]
    fn held_partitions_stay_mine_if_released_deleted_or_stale() {
        let records = [record("1", None), record("2", Some("me"))];
        let view = view(&records, &ids(["0", "1", "2"]), &ids(["1", "2"]));
        assert_eq!(view.mine, list(["0", "1", "2"]));
    }

    #[test]
    fn what_another_owner_took_is_not_mine_though_it_is_held() {
        let view = view(&[record("0", Some("b")), record("1", Some("b"))], &ids(["0", "1"]), &ids(["1"]));
        assert_eq!(view.mine, list([]));
        assert_eq!(view.others, [stranger("b", ["0"])]);
        assert_eq!(view.free, list(["1", "2"]));
    }

    #[test]
    fn an_own_record_of_a_run_before_is_mine_until_it_expires() {
        let records = [record("0", Some("me")), record("1", Some("me"))];
        let view = view(&records, &ids([]), &ids(["1"]));
        assert_eq!((view.mine, view.free), (list(["0"]), list(["1", "2"])));
        assert_eq!(view.former, list(["1"]));
    }
}
