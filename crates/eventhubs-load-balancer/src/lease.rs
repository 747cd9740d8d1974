use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{Ownership, OwnershipList, Version};
use eventhubs_types::PartitionId;
use tokio::time::Instant;

use crate::sorted::take_at;

/// Judges which ownership records have expired, without the wall clock of any instance.
///
/// Where the store has a clock, a record is as old as that clock says. Where it has none, a record has expired when its
/// version was seen unchanged for the whole expiry on the monotonic clock of the caller. A host with a wrong wall clock
/// so harms nobody.
#[derive(Debug, Clone)]
pub struct LeaseObserver {
    expiry: Duration,
    /// Of records without a time by the clock of the store, in the order of the partition ids.
    sightings: Vec<Sighting>,
}

#[derive(Debug, Clone)]
struct Sighting {
    partition: PartitionId,
    version: Version,
    since: Instant,
    age: Duration,
}

impl LeaseObserver {
    /// An observer that has seen nothing yet.
    pub fn new(expiry: Duration) -> Self {
        Self { expiry, sightings: Vec::new() }
    }

    /// Takes note of a listing that was asked for and answered at these times, and says which records have expired.
    ///
    /// The answer may be as old as the question and the next question as young as its answer; counting from an answer
    /// to a question never makes a lease older than it is, however slow the store.
    pub fn judge(
        &mut self,
        list: &OwnershipList,
        asked: Instant,
        answered: Instant,
    ) -> BTreeSet<PartitionId> {
        let mut records: Vec<_> = list.records.iter().collect();
        records.sort_by_key(|record| &record.partition);
        self.judge_sorted(records, list.now, asked, answered)
    }

    /// As [`judge`](Self::judge), of records that come in the order of the partition ids.
    pub(crate) fn judge_sorted<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Ownership>,
        now: Option<SystemTime>,
        asked: Instant,
        answered: Instant,
    ) -> BTreeSet<PartitionId> {
        let mut before = std::mem::take(&mut self.sightings).into_iter().peekable();
        let mut expired = BTreeSet::new();
        for record in records {
            let before = take_at(&mut before, &record.partition, |sighting| &sighting.partition);
            let unchanged = before.filter(|sighting| sighting.version == record.version);
            let age = age_by_store(now, record).unwrap_or_else(|| {
                let sighting = unchanged.unwrap_or_else(|| Sighting::of(record, answered));
                let age = asked.saturating_duration_since(sighting.since);
                self.sightings.push(Sighting { age, ..sighting });
                age
            });
            if age >= self.expiry {
                expired.insert(record.partition.clone());
            }
        }
        expired
    }

    /// How old a record of the last listing was; at least so old where the store has no clock.
    pub(crate) fn age(&self, list: &OwnershipList, record: &Ownership) -> Option<Duration> {
        let observed = || {
            let place = self.sightings.binary_search_by(|sighting| sighting.partition.cmp(&record.partition));
            place.ok().map(|place| self.sightings[place].age)
        };
        age_by_store(list.now, record).or_else(observed)
    }
}

impl Sighting {
    fn of(record: &Ownership, since: Instant) -> Self {
        Self {
            partition: record.partition.clone(),
            version: record.version.clone(),
            since,
            age: Duration::ZERO,
        }
    }
}

/// The age by the clock of the store, zero where it seems to be written later than listed.
fn age_by_store(now: Option<SystemTime>, record: &Ownership) -> Option<Duration> {
    let (now, modified) = (now?, record.modified?);
    Some(now.duration_since(modified).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn list(version: &str, times: Option<(u64, u64)>) -> OwnershipList {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (modified, now) = times.map(|(modified, now)| (at(modified), at(now))).unzip();
        let owner = "a".parse().ok();
        let record = Ownership::new("0".parse().unwrap(), owner, Version::new(version), modified);
        OwnershipList::new(vec![record], now, Vec::new())
    }

    /// Whether the record has expired, at each time of a listing that takes no time.
    fn judgements(lists: &[(u64, OwnershipList)]) -> Vec<bool> {
        let start = Instant::now();
        let mut observer = LeaseObserver::new(60 * SECOND);
        let judge = |(at, list): &(u64, _)| {
            let now = start + Duration::from_secs(*at);
            !observer.judge(list, now, now).is_empty()
        };
        lists.iter().map(judge).collect()
    }

    #[test]
    fn without_a_clock_a_version_unchanged_for_the_expiry_has_expired() {
        let seen = judgements(&[(0, list("1", None)), (59, list("1", None)), (60, list("1", None))]);
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn a_new_version_starts_the_observation_again() {
        let seen = judgements(&[
            (0, list("1", None)),
            (60, list("2", None)),
            (119, list("2", None)),
            (120, list("2", None)),
        ]);
        assert_eq!(seen, [false, false, false, true]);
    }

    #[test]
    fn a_record_that_was_gone_is_observed_from_its_return() {
        let seen = judgements(&[(0, list("1", None)), (30, OwnershipList::default()), (60, list("1", None))]);
        assert_eq!(seen, [false, false, false]);
    }

    #[test]
    fn the_clock_of_the_store_judges_the_first_listing_already() {
        assert_eq!(judgements(&[(0, list("1", Some((100, 159))))]), [false]);
        assert_eq!(judgements(&[(0, list("1", Some((100, 160))))]), [true]);
    }

    #[test]
    fn the_clock_of_the_store_beats_the_observation() {
        let seen = judgements(&[(0, list("1", Some((100, 101)))), (1000, list("1", Some((100, 110))))]);
        assert_eq!(seen, [false, false]);
    }

    #[test]
    fn a_record_from_the_future_is_fresh() {
        assert_eq!(judgements(&[(0, list("1", Some((200, 100))))]), [false]);
    }

    #[test]
    fn a_slow_listing_does_not_age_a_lease() {
        let start = Instant::now();
        let mut observer = LeaseObserver::new(60 * SECOND);
        observer.judge(&list("1", None), start, start + 20 * SECOND);
        let second = start + 79 * SECOND;
        assert!(observer.judge(&list("1", None), second, second + 20 * SECOND).is_empty());
        let third = start + 80 * SECOND;
        assert!(!observer.judge(&list("1", None), third, third).is_empty());
    }
}
