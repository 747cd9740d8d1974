//! Which records have expired, judged by the store's clock and by how long they were seen unchanged. Pure,
//! given the time.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{Ownership, OwnershipList, Version};
use eventhubs_types::PartitionId;
use tokio::time::Instant;

use crate::sorted::take_at;

/// Judges which ownership records have expired, without the wall clock of any instance.
///
/// Where the store has a clock, a record is as old as that clock says, within what this instance has seen
/// itself: at least as old as its version was seen unchanged, and at most as old as the last listing that did
/// not have it, both on the monotonic clock of the caller. So a host with a wrong wall clock harms nobody,
/// and neither does a clock of the store that is set back or forth. Where the store has no clock, what was
/// seen decides alone.
#[derive(Debug, Clone)]
pub struct LeaseObserver {
    expiry: Duration,
    /// In the order of the partition ids.
    sightings: Vec<Sighting>,
    /// When the last listing was asked for.
    last_asked: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Sighting {
    partition: PartitionId,
    version: Version,
    /// The answer of the first listing that had this version.
    since: Instant,
    /// The question of the listing before that one, which did not have it; `None` where there was none.
    not_before: Option<Instant>,
    age: Duration,
}

impl LeaseObserver {
    /// An observer that has seen nothing yet.
    pub fn new(expiry: Duration) -> Self {
        Self { expiry, sightings: Vec::new(), last_asked: None }
    }

    /// Takes note of a listing that was asked for and answered at these times, and says which records have
    /// expired.
    ///
    /// The answer may be as old as the question and the next question as young as its answer; counting from
    /// an answer to a question never makes a lease older than it is, however slow the store.
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
            let mut sighting = unchanged.unwrap_or_else(|| Sighting::of(record, answered, self.last_asked));
            sighting.age = sighting.age(age_by_store(now, record), asked, answered);
            let age = sighting.age;
            self.sightings.push(sighting);
            if age >= self.expiry {
                expired.insert(record.partition.clone());
            }
        }
        self.last_asked = Some(asked);
        expired
    }

    /// How old a record of the last listing was; at least this old where the store has no clock.
    pub(crate) fn age(&self, record: &Ownership) -> Option<Duration> {
        let place = self.sightings.binary_search_by(|sighting| sighting.partition.cmp(&record.partition));
        place.ok().map(|place| self.sightings[place].age)
    }
}

impl Sighting {
    fn of(record: &Ownership, since: Instant, not_before: Option<Instant>) -> Self {
        Self {
            partition: record.partition.clone(),
            version: record.version.clone(),
            since,
            not_before,
            age: Duration::ZERO,
        }
    }

    fn age(&self, by_store: Option<Duration>, asked: Instant, answered: Instant) -> Duration {
        let at_least = asked.saturating_duration_since(self.since);
        let at_most =
            self.not_before.map_or(Duration::MAX, |before| answered.saturating_duration_since(before));
        by_store.map_or(at_least, |age| age.min(at_most).max(at_least))
    }
}

/// The resolution of a clock that keeps whole seconds, as HTTP dates do.
const SECOND: Duration = Duration::from_secs(1);

/// How old a record is at least by the clock of the store, zero where it seems to be written later than
/// listed.
///
/// Of two times that were cut to whole seconds, the difference is up to a second too large: a lease that
/// still runs would count as expired.
fn age_by_store(now: Option<SystemTime>, record: &Ownership) -> Option<Duration> {
    let (now, modified) = (now?, record.modified?);
    let age = now.duration_since(modified).unwrap_or_default();
    Some(if is_whole(now) && is_whole(modified) { age.saturating_sub(SECOND) } else { age })
}

fn is_whole(time: SystemTime) -> bool {
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(version: &str, times: Option<(u64, u64)>) -> OwnershipList {
        // A clock that keeps more than whole seconds.
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(1);
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
    fn a_store_clock_that_is_set_back_does_not_keep_a_crashed_owner_alive() {
        let seen = judgements(&[
            (0, list("1", Some((100, 101)))),
            (59, list("1", Some((100, 10)))),
            (60, list("1", Some((100, 11)))),
        ]);
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn a_store_clock_that_is_set_forth_does_not_end_a_lease_that_is_renewed() {
        let seen = judgements(&[
            (0, list("1", Some((100, 101)))),
            (10, list("2", Some((110, 3_600)))),
            (20, list("3", Some((120, 3_610)))),
            (79, list("3", Some((120, 3_669)))),
        ]);
        assert_eq!(seen, [false, false, false, true], "the last one is older than the listing before it");
    }

    #[test]
    fn whole_seconds_do_not_end_a_lease_too_early() {
        let whole = |modified, now| {
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let record =
                Ownership::new("0".parse().unwrap(), "a".parse().ok(), Version::new("1"), Some(at(modified)));
            OwnershipList::new(vec![record], Some(at(now)), Vec::new())
        };
        assert_eq!(
            judgements(&[(0, whole(100, 160))]),
            [false],
            "it may be written at 100.9, and listed at 160.0"
        );
        assert_eq!(judgements(&[(0, whole(100, 161))]), [true]);
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
