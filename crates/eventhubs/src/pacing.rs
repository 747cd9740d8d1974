//! The growing pauses between attempts of one thing.

use std::time::Duration;

use eventhubs_amqp::RetryPolicy;
use rand::RngExt as _;
use rand::rngs::StdRng;

/// The growing pauses between attempts of one thing; a success starts them over.
#[derive(Debug)]
pub(crate) struct Pacing {
    policy: RetryPolicy,
    failures: u32,
    rng: StdRng,
}

impl Pacing {
    pub(crate) fn new(policy: RetryPolicy, rng: StdRng) -> Self {
        Self { policy, failures: 0, rng }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let delay = self.policy.delay(self.failures, self.rng.random_range(0.0..=1.0));
        self.failures = self.failures.saturating_add(1);
        delay
    }
}
