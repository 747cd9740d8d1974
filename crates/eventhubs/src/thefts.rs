//! Readers that take a link although the store still has this instance as the owner.
//!
//! One such reader may be a tool that somebody runs. Two fleets that do not share a store steal from each
//! other forever, and every steal repeats events: each instance pauses for longer after each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use eventhubs_types::PartitionId;
use tokio::time::Instant;

/// The longest pause, in load-balancing intervals.
const MOST_INTERVALS: u32 = 64;

/// A theft does not count any more after this many times the pause that followed it.
const FORGIVEN_AFTER: u32 = 4;

#[derive(Debug, Default)]
pub(crate) struct Thefts {
    last: BTreeMap<PartitionId, Theft>,
}

#[derive(Debug, Clone, Copy)]
struct Theft {
    count: u32,
    pause: Duration,
    ends: Instant,
}

impl Thefts {
    /// Notes a theft, and returns how many there were in a row: the partition is not to be read for a time.
    pub(crate) fn note(&mut self, partition: &PartitionId, now: Instant, interval: Duration) -> u32 {
        let before = self.last.get(partition).filter(|theft| now < theft.ends + theft.pause * FORGIVEN_AFTER);
        let count = before.map_or(1, |theft| theft.count.saturating_add(1));
        let pause = interval * 2_u32.saturating_pow(count - 1).min(MOST_INTERVALS);
        self.last.insert(partition.clone(), Theft { count, pause, ends: now + pause });
        count
    }

    pub(crate) fn may_read(&self, partition: &PartitionId, now: Instant) -> bool {
        self.last.get(partition).is_none_or(|theft| theft.ends <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_theft_in_a_row_doubles_the_pause_until_all_was_quiet_for_long() {
        let (start, partition) = (Instant::now(), "0".parse().unwrap());
        let mut thefts = Thefts::default();
        assert!(thefts.may_read(&partition, start));
        assert_eq!(thefts.note(&partition, start, SECOND), 1);
        assert!(!thefts.may_read(&partition, start) && thefts.may_read(&partition, start + SECOND));
        assert_eq!(thefts.note(&partition, start + SECOND, SECOND), 2);
        assert!(!thefts.may_read(&partition, start + 2 * SECOND));
        assert!(thefts.may_read(&partition, start + 3 * SECOND));
        assert_eq!(thefts.note(&partition, start + 11 * SECOND, SECOND), 1, "four times two seconds after");
    }

    #[test]
    fn a_pause_has_an_end() {
        let (mut now, partition) = (Instant::now(), "0".parse().unwrap());
        let mut thefts = Thefts::default();
        for _ in 0..100 {
            thefts.note(&partition, now, SECOND);
            now += MOST_INTERVALS * SECOND;
            assert!(thefts.may_read(&partition, now));
        }
    }
}
