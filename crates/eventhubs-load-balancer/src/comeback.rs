//! After an outage of the store: each instance first takes back what it had, and leaves the rest to others
//! for a while.

use std::time::Duration;

use tokio::time::Instant;

/// What follows an outage of the store.
///
/// An instance that lost all its leases at once was cut off from the store, and so, most likely, were the
/// others. The first to come back would find all leases expired, and take what the others will miss a moment
/// later. So for some time it takes their leases for running. Nothing is unsafe in that: it only takes less.
#[derive(Debug)]
pub(crate) struct Comeback {
    time: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Usual,
    CutOff,
    Until(Instant),
}

impl Comeback {
    pub(crate) fn new(time: Duration) -> Self {
        Self { time, state: State::Usual }
    }

    /// All leases ran out.
    pub(crate) fn lost_all(&mut self) {
        self.state = State::CutOff;
    }

    /// The store answered. Says whether the others still have time to come back.
    pub(crate) fn is_under_way(&mut self, now: Instant) -> bool {
        match self.state {
            State::Usual => false,
            State::CutOff => {
                self.state = State::Until(now + self.time);
                true
            }
            State::Until(end) if now < end => true,
            State::Until(_) => {
                self.state = State::Usual;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_others_have_time_from_the_first_answer_after_a_total_loss() {
        let mut comeback = Comeback::new(20 * SECOND);
        let start = Instant::now();
        assert!(!comeback.is_under_way(start));
        comeback.lost_all();
        let answered = start + 300 * SECOND;
        let at = [0, 19, 20, 21].map(|seconds| comeback.is_under_way(answered + seconds * SECOND));
        assert_eq!(at, [true, true, false, false]);
    }
}
