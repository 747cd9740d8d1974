//! The retry policy: how often, how long, and the backoff in between.
//!
//! Tests: below.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::{Error, ErrorKind};

/// The least wait when the service is busy.
const BUSY_WAIT: Duration = Duration::from_secs(4);

/// How often a failed operation is retried, and how long to wait before each retry.
///
/// The default is exponential backoff with full jitter: the wait before retry `n`, counted from 0, is drawn
/// uniformly from zero to `min(max_delay, delay · 2ⁿ)`, with `delay` 0.8 s, `max_delay` 60 s, 3 retries and
/// 60 s for each try. Full jitter spreads a fleet that lost its broker at the same moment.
///
/// `max_retries` limits the failures in a row after which a receiver *reports* an error, not those of its
/// whole life: the next call continues to recover.
///
/// ```
/// use std::time::Duration;
///
/// use eventhubs_amqp::RetryPolicy;
///
/// let policy = RetryPolicy::default().max_retries(5).max_delay(Duration::from_secs(10));
/// assert_eq!(policy.delay(0, 0.5), Duration::from_millis(400));
/// assert_eq!(policy.delay(9, 1.0), Duration::from_secs(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    mode: Mode,
    delay: Duration,
    max_delay: Duration,
    max_retries: u32,
    try_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exponential,
    Fixed,
}

impl RetryPolicy {
    /// Returns exponential backoff with full jitter; `delay` is the longest wait before the first retry.
    pub fn exponential(delay: Duration) -> Self {
        Self {
            mode: Mode::Exponential,
            delay,
            max_delay: Duration::from_secs(60),
            max_retries: 3,
            try_timeout: Duration::from_secs(60),
        }
    }

    /// Returns the same wait before each retry, without jitter.
    pub fn fixed(delay: Duration) -> Self {
        Self { mode: Mode::Fixed, ..Self::exponential(delay) }
    }

    /// Sets the longest wait before a retry. Default: 60 s.
    #[must_use]
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// Sets how many retries follow a failed attempt before the error is reported. Default: 3.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// Sets how long each attempt may take: to connect, to attach, or one request and its answer. Default: 60
    /// s.
    #[must_use]
    pub fn try_timeout(mut self, try_timeout: Duration) -> Self {
        self.try_timeout = try_timeout;
        self
    }

    /// Returns the wait before retry number `attempt`, counted from 0. `jitter` is a random number between 0 and 1 that the caller
    /// draws; with [`fixed`](Self::fixed) waits it has no effect.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        match self.mode {
            Mode::Fixed => self.delay.min(self.max_delay),
            Mode::Exponential => {
                let factor = 2_u32.saturating_pow(attempt);
                let longest = self.delay.saturating_mul(factor).min(self.max_delay);
                longest.mul_f64(jitter.clamp(0.0, 1.0))
            }
        }
    }

    /// The wait after an error: a service that asks to slow down gets at least four seconds (docs/contract.md
    /// §5.4).
    pub(crate) fn wait(&self, attempt: u32, error: &Error, rng: &mut impl Rng) -> Duration {
        let least = if error.kind() == ErrorKind::Busy { BUSY_WAIT } else { Duration::ZERO };
        self.delay(attempt, rng.random_range(0.0..=1.0)).max(least)
    }

    pub(crate) fn retries(&self) -> u32 {
        self.max_retries
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.try_timeout
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(800))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    /// The longest of many draws comes close to the bound, and none passes it (bounds: docs/contract.md
    /// §13.6).
    #[test]
    fn exponential_waits_are_spread_from_zero_to_a_doubling_bound() {
        let policy = RetryPolicy::default();
        let mut rng = SmallRng::seed_from_u64(1);
        for (attempt, bound) in
            [(0, 0.8), (1, 1.6), (2, 3.2), (6, 51.2), (7, 60.0), (40, 60.0), (u32::MAX, 60.0)]
        {
            let waits: Vec<f64> =
                (0..1000).map(|_| policy.delay(attempt, rng.random_range(0.0..=1.0)).as_secs_f64()).collect();
            let (low, high) = waits.iter().fold((f64::MAX, 0.0_f64), |(l, h), w| (l.min(*w), h.max(*w)));
            assert!(
                high <= bound && high > 0.95 * bound && low < 0.05 * bound,
                "attempt {attempt}: {low}..{high}"
            );
        }
    }

    #[test]
    fn a_busy_service_is_left_alone_for_four_seconds() {
        let mut rng = SmallRng::seed_from_u64(1);
        let policy = RetryPolicy::default();
        let busy = Error::remote("attaching", "com.microsoft:server-busy", None);
        assert!((0..100).all(|_| policy.wait(0, &busy, &mut rng) == BUSY_WAIT));
        let forced = Error::remote("attaching", "amqp:link:detach-forced", None);
        assert!((0..100).any(|_| policy.wait(0, &forced, &mut rng) < Duration::from_millis(400)));
    }

    #[test]
    fn fixed_waits_are_equal_and_capped() {
        let policy = RetryPolicy::fixed(Duration::from_secs(5));
        assert!((0..9).all(|attempt| policy.delay(attempt, 0.5) == Duration::from_secs(5)));
        assert_eq!(policy.max_delay(Duration::from_secs(2)).delay(0, 0.5), Duration::from_secs(2));
    }
}
