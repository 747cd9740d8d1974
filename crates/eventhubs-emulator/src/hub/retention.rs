//! How much a partition keeps, and which of its events have to go. Pure: where the entries of events come from is for the caller, which
//! is `log.rs`.

use std::ops::Range;

use crate::hub::storage::{Entry, bytes_between};

/// How much a hub or a partition keeps; the oldest events go first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) events: usize,
    pub(crate) bytes: u64,
    pub(crate) age_ms: i64,
}

impl Retention {
    /// Returns what each of this many partitions keeps.
    pub(crate) fn share(self, partitions: usize) -> Self {
        Self {
            // At least one each: a share of zero would keep nothing.
            events: (self.events / partitions).max(1),
            bytes: (self.bytes / partitions as u64).max(1),
            ..self
        }
    }

    /// Returns the sequence number of the first event that may stay, by count and bytes; the end of the range if none may.
    pub(crate) fn first_kept<E>(
        self,
        events: Range<i64>,
        next_position: i64,
        entry: impl FnMut(i64) -> Result<Entry, E>,
    ) -> Result<i64, E> {
        let Range { start, end } = events;
        let by_count = end.saturating_sub(i64::try_from(self.events).unwrap_or(i64::MAX));
        let is_within =
            |number, entry: Entry| bytes_between(entry.position, next_position, end - number) <= self.bytes;
        // By count first, which is arithmetic: the search by bytes then looks at fewer entries.
        partition_point(start.max(by_count)..end, entry, is_within)
    }
}

/// Returns the first number of a range with a property that all after it have too; the end of the range if none has it.
///
/// Looks near the start first, in steps that double, because each look may be a read from disk and what retention drops is there.
pub(crate) fn partition_point<E>(
    numbers: Range<i64>,
    mut entry: impl FnMut(i64) -> Result<Entry, E>,
    has_property: impl Fn(i64, Entry) -> bool,
) -> Result<i64, E> {
    let Range { start: mut low, end: mut high } = numbers;
    let mut step = 0;
    while low < high {
        let middle = low + (high - low) / 2;
        let number = middle.min(low + step);
        if has_property(number, entry(number)?) {
            high = number;
        } else {
            low = number + 1;
            step = 2 * step + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    /// Events of 10 bytes each.
    fn entry(number: i64) -> Entry {
        Entry { position: 74 * number, enqueued_ms: number, size: 10 }
    }

    fn found(numbers: Range<i64>, first: i64) -> (i64, u32) {
        let looks = Cell::new(0);
        let look = |number| {
            looks.set(looks.get() + 1);
            Ok::<_, Infallible>(entry(number))
        };
        let Ok(number) = partition_point(numbers, look, |number, _| number >= first);
        (number, looks.get())
    }

    #[test]
    fn the_first_number_with_a_property_is_found_wherever_it_is() {
        for end in 0..40 {
            for first in 0..=end {
                assert_eq!(found(0..end, first).0, first, "in 0..{end}");
            }
        }
    }

    #[test]
    fn what_is_near_the_start_takes_few_looks() {
        assert_eq!(found(0..1 << 40, 0).1, 1);
        assert!(found(0..1 << 40, 100).1 <= 16);
        assert!(found(0..1 << 40, 1 << 39).1 <= 2 * 41);
    }

    #[test]
    fn the_stricter_of_the_two_limits_decides() {
        let first_kept = |events, bytes| {
            let retention = Retention { events, bytes, age_ms: 0 };
            let Ok(first) = retention.first_kept(3..20, 74 * 20, |number| Ok::<_, Infallible>(entry(number)));
            first
        };
        assert_eq!(first_kept(100, 1000), 3);
        assert_eq!(first_kept(5, 1000), 15);
        assert_eq!(first_kept(100, 59), 15);
        assert_eq!(first_kept(5, 30), 17);
        assert_eq!(first_kept(5, 9), 20);
    }
}
