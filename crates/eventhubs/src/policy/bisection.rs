//! Finds the event of a batch that fails by halving the batch. Pure.

use std::ops::Range;

/// Which part of a batch is called next, until all of it is handled or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bisection {
    /// Where the part begins that is not done.
    start: usize,
    /// A part from `start` up to here is known to hold an event that fails.
    suspect: Option<usize>,
    len: usize,
}

impl Bisection {
    pub(crate) fn new(len: usize) -> Self {
        Self { start: 0, suspect: None, len }
    }

    /// The part to call with; `None` when nothing is left.
    pub(crate) fn next(&self) -> Option<Range<usize>> {
        let end = match self.suspect {
            // Known to fail as a whole, so only a half of it can tell more.
            Some(end) => self.start + (end - self.start).div_ceil(2),
            None => self.len,
        };
        (self.start < self.len).then_some(self.start..end)
    }

    /// The first `count` events of the part are done: handled, or given up.
    pub(crate) fn done(&mut self, count: usize) {
        self.start += count;
        self.suspect = self.suspect.filter(|end| *end > self.start);
    }

    /// The part up to `end` failed, and it is to be halved.
    pub(crate) fn halve(&mut self, end: usize) {
        self.suspect = Some(end);
    }

    /// Whatever failed is gone: the next part is all that is left.
    pub(crate) fn clear(&mut self) {
        self.suspect = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls until nothing is left, where the events at `poison` always fail and are given up alone. Returns the parts.
    fn calls(len: usize, poison: &[usize]) -> Vec<Range<usize>> {
        let mut bisection = Bisection::new(len);
        let mut calls = Vec::new();
        while let Some(part) = bisection.next() {
            calls.push(part.clone());
            if !poison.iter().any(|at| part.contains(at)) {
                bisection.done(part.len());
            } else if part.len() == 1 {
                bisection.done(1);
                bisection.clear();
            } else {
                bisection.halve(part.end);
            }
        }
        calls
    }

    #[test]
    fn a_batch_without_a_failure_is_one_call() {
        assert_eq!(calls(300, &[]), std::slice::from_ref(&(0..300)));
        assert!(calls(0, &[]).is_empty());
    }

    /// As after an error that has passed meanwhile: both halves succeed, and no part may be empty.
    #[test]
    fn a_part_whose_halves_succeed_is_not_suspected_any_more() {
        let mut bisection = Bisection::new(8);
        bisection.halve(8);
        bisection.halve(4);
        for (part, count) in [(0..2, 2), (2..3, 1), (3..4, 1)] {
            assert_eq!(bisection.next(), Some(part));
            bisection.done(count);
        }
        assert_eq!(bisection.next(), Some(4..8));
    }

    #[test]
    fn one_poison_in_300_is_called_alone_after_at_most_10_calls() {
        for poison in 0..300 {
            let calls = calls(300, &[poison]);
            let isolated = calls.iter().position(|part| *part == (poison..poison + 1)).unwrap();
            assert!(isolated <= 10, "{poison}: {calls:?}");
        }
    }

    #[test]
    fn every_event_is_done_once_and_in_order_whichever_fail() {
        for failing in 0..1_u32 << 8 {
            let poison: Vec<_> = (0..8).filter(|at| failing >> at & 1 == 1).collect();
            let done = calls(8, &poison)
                .into_iter()
                .filter(|part| part.len() == 1 || !poison.iter().any(|at| part.contains(at)));
            let done: Vec<_> = done.flatten().collect();
            assert_eq!(done, (0..8).collect::<Vec<_>>(), "{poison:?}");
        }
    }

    #[test]
    fn what_is_left_after_the_event_that_fails_is_one_part_again() {
        let mut bisection = Bisection::new(8);
        bisection.halve(8);
        bisection.halve(4);
        bisection.done(1);
        assert_eq!(bisection.next(), Some(1..3), "still suspected");
        bisection.clear();
        assert_eq!(bisection.next(), Some(1..8));
    }
}
