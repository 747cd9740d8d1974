//! Detects another live process with the same owner id. Pure, given the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventhubs_checkpoint_store::{Ownership, Version};
use eventhubs_types::{OwnerId, PartitionId};
use tokio::time::Instant;

use crate::note::Note;
use crate::sorted::record_of;

/// Finds out whether another live process writes records under the own id.
///
/// Every record that this instance wrote has a version that it knows; where one shows the own id with another
/// version, somebody else wrote it. One such write may be an own one whose answer was lost, so it takes two,
/// one after another, within two expiries.
///
/// A partition that was handed over is no stranger's: its owner before wrote that in the name of the new one.
///
/// Where one sees it, it writes its own version at once: else it may be the same one that writes first each
/// time, and the other would never know. So both of two such processes see this; the later one is to give
/// way. It is the one that found records of its id already there when it began, less than two expiries ago.
#[derive(Debug)]
pub(crate) struct TwinWatch {
    window: Duration,
    known: BTreeMap<PartitionId, Version>,
    /// Until when this instance is the later one; `None` before the first listing.
    later_until: Option<Instant>,
    stranger: Option<Instant>,
    /// What the last listing showed to be written by a stranger.
    strange: BTreeSet<PartitionId>,
}

impl TwinWatch {
    pub(crate) fn new(expiry: Duration) -> Self {
        Self {
            window: expiry.saturating_mul(2),
            known: BTreeMap::new(),
            later_until: None,
            stranger: None,
            strange: BTreeSet::new(),
        }
    }

    /// This instance wrote the record.
    pub(crate) fn wrote(&mut self, record: &Ownership) {
        self.known.insert(record.partition.clone(), record.version.clone());
    }

    /// This instance may have written the record.
    pub(crate) fn may_have_written(&mut self, partition: &PartitionId) {
        self.known.remove(partition);
    }

    /// Whether the last listing showed that a stranger wrote the record.
    pub(crate) fn is_strange(&self, partition: &PartitionId) -> bool {
        self.strange.contains(partition)
    }

    /// Says whether there is another process with this id, and this one is the later. The records come in the
    /// order of their partitions.
    pub(crate) fn has_to_give_way(&mut self, records: &[Ownership], me: &OwnerId, now: Instant) -> bool {
        let is_mine = |record: &&Ownership| record.owner.as_ref() == Some(me);
        let later_until = *self.later_until.get_or_insert_with(|| {
            let grace = records.iter().find(is_mine).map_or(Duration::ZERO, |_| self.window);
            now + grace
        });
        self.strange.clear();
        for (partition, known) in &mut self.known {
            let mine = record_of(partition, records).filter(is_mine);
            if let Some(record) = mine.filter(|record| record.version != *known) {
                if Note::of(record) != Some(Note::HandedOver) {
                    self.strange.insert(partition.clone());
                }
                // Each version counts once: otherwise one write of a stranger would be found in every
                // listing.
                *known = record.version.clone();
            }
        }
        if self.strange.is_empty() {
            return false;
        }
        let before = self.stranger.replace(now);
        let is_twin = before.is_some_and(|before| now.saturating_duration_since(before) <= self.window);
        if is_twin {
            tracing::warn!(owner = %me, "another process owns partitions under this id");
        }
        is_twin && now < later_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRY: Duration = Duration::from_secs(60);

    fn record(version: &str) -> [Ownership; 1] {
        [Ownership::new("0".parse().unwrap(), "me".parse().ok(), Version::new(version), None)]
    }

    /// What is said of listings with these versions, ten seconds apart, by an instance that wrote version 1
    /// after the first.
    fn verdicts(first: &[Ownership], versions: &[&str]) -> Vec<bool> {
        let (me, mut now) = ("me".parse().unwrap(), Instant::now());
        let mut watch = TwinWatch::new(EXPIRY);
        assert!(!watch.has_to_give_way(first, &me, now));
        watch.wrote(&record("1")[0]);
        let look = |version: &&str| {
            now += Duration::from_secs(10);
            watch.has_to_give_way(&record(version), &me, now)
        };
        versions.iter().map(look).collect()
    }

    #[test]
    fn the_later_gives_way_at_the_second_strange_version() {
        assert_eq!(verdicts(&record("0"), &["1", "2", "2", "3"]), [false, false, false, true]);
    }

    #[test]
    fn one_strange_version_may_be_an_own_write_whose_answer_was_lost() {
        assert_eq!(verdicts(&record("0"), &["2", "2", "2", "2"]), [false; 4]);
    }

    #[test]
    fn the_earlier_stays() {
        assert_eq!(verdicts(&[], &["2", "3", "4", "5"]), [false; 4]);
        let long_ago = [&["1"; 12][..], &["2", "3", "4"]].concat();
        assert!(!verdicts(&record("0"), &long_ago).contains(&true));
    }

    #[test]
    fn a_strange_version_is_answered_once() {
        let (me, now) = ("me".parse().unwrap(), Instant::now());
        let partition = "0".parse().unwrap();
        let mut watch = TwinWatch::new(EXPIRY);
        watch.has_to_give_way(&record("0"), &me, now);
        watch.wrote(&record("1")[0]);
        for (seen, strange) in [("1", false), ("2", true), ("2", false)] {
            watch.has_to_give_way(&record(seen), &me, now);
            assert_eq!(watch.is_strange(&partition), strange, "{seen}");
        }
    }

    #[test]
    fn what_was_handed_over_is_no_stranger() {
        let (me, now) = ("me".parse().unwrap(), Instant::now());
        let mut watch = TwinWatch::new(EXPIRY);
        watch.has_to_give_way(&record("0"), &me, now);
        for (wrote, seen) in [("1", "2"), ("3", "4"), ("5", "6")] {
            watch.wrote(&record(wrote)[0]);
            let handed_over = record(seen).map(|record| record.with_mark(Some(Note::HandedOver.to_mark())));
            assert!(!watch.has_to_give_way(&handed_over, &me, now));
        }
    }

    #[test]
    fn a_write_that_may_be_its_own_is_no_stranger() {
        let (me, now) = ("me".parse().unwrap(), Instant::now());
        let mut watch = TwinWatch::new(EXPIRY);
        watch.has_to_give_way(&record("0"), &me, now);
        for (wrote, seen) in [("1", "2"), ("3", "4"), ("5", "6")] {
            watch.wrote(&record(wrote)[0]);
            watch.may_have_written(&"0".parse().unwrap());
            assert!(!watch.has_to_give_way(&record(seen), &me, now));
        }
    }
}
