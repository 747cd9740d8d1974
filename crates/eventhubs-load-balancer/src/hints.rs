//! Hints of the store bring the next round forward: the fourth part of `impl Balancer`. No decision is made on a
//! hint alone: the round that it leads to lists the records as any other.

use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, Hint};
use rand::RngExt as _;
use tokio::time::Instant;

use crate::Balancer;
use crate::handover::Stage;

/// The least time between two rounds that hints for everyone lead to: a burst of them costs each instance of a fleet
/// no more than a few listings.
const MIN_GAP: Duration = Duration::from_millis(250);
/// The same of hints for this instance, which cost only its own listings, and for which another one waits.
const MIN_OWN_GAP: Duration = Duration::from_millis(50);
/// Where everybody is told of a free partition, and where many stop together, the instances list the records within
/// this time for each of them, so that a large fleet does not do so all at once.
const SPREAD_PER_OWNER: Duration = Duration::from_millis(10);
/// The longest spread after a hint.
const MAX_SPREAD: Duration = Duration::from_millis(500);

impl Balancer {
    /// Takes a hint of the store. Returns when the next [`round`](Self::round) is to begin, which is
    /// `next_round` at the latest.
    ///
    /// One that is meant for this instance leads to a look at once, but 50 ms after the last round that a hint led to.
    /// One for everybody leads to a round within 10 ms per owner and at most 500 ms, but 250 ms after the last. An
    /// instance that leaves, or whose assignment is fixed, takes nothing and follows no hint for everybody.
    pub fn hinted(&mut self, hint: &Hint, next_round: Instant) -> Instant {
        let now = Instant::now();
        let (delay, gap) = match &hint.audience {
            Audience::Owner(owner) if *owner == self.owner => {
                // A look does not put off the round that was due.
                self.due.get_or_insert(next_round);
                (Duration::ZERO, MIN_OWN_GAP)
            }
            Audience::Everyone if self.may_take(hint) => {
                // What is due is more than a look.
                self.due = None;
                (self.spread().min(MAX_SPREAD).mul_f64(self.rng.random_range(0.0..1.0)), MIN_GAP)
            }
            _ => return next_round,
        };
        let earliest = self.hinted_at.map_or(now, |hinted| now.max(hinted + gap));
        let round = next_round.min(earliest.max(now + delay));
        self.hinted_at = Some(round);
        round
    }

    fn may_take(&self, hint: &Hint) -> bool {
        // What it holds itself, it has released or offered itself.
        self.stage == Stage::Stays
            && !self.settings.assignment().is_fixed()
            && self.hub.has(&hint.partition)
            && self.holdings.lease(&hint.partition).is_none()
    }

    /// Within which instances that act at the same time do so, each at a random moment.
    pub(crate) fn spread(&self) -> Duration {
        SPREAD_PER_OWNER.saturating_mul(self.tempo.owners())
    }
}
