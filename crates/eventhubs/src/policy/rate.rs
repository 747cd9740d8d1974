//! How many dead letters a run may write within a minute. Pure, given the time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// When the last dead letters were written, by all partitions of a run.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterRate(Mutex<VecDeque<Instant>>);

impl DeadLetterRate {
    /// Whether there may be one more now, of at most `limit` within any minute. If so, it counts.
    pub(crate) fn allows_one(&self, now: Instant, limit: u32) -> bool {
        // Pushing and popping cannot panic half-way.
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while written.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            written.pop_front();
        }
        let is_allowed = u32::try_from(written.len()).is_ok_and(|count| count < limit);
        if is_allowed {
            written.push_back(now);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_any_minute_there_are_no_more_than_the_limit() {
        let rate = DeadLetterRate::default();
        let start = Instant::now();
        let allowed = (0..600).filter(|second| rate.allows_one(start + Duration::from_secs(*second), 3));
        let allowed: Vec<_> = allowed.collect();
        assert_eq!(&allowed[..7], [0, 1, 2, 60, 61, 62, 120]);
        assert!(allowed.windows(4).all(|four| four[3] - four[0] >= 60));
    }
}
