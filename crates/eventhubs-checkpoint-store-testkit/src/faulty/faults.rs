//! Which faults a store has, and how often.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The chances of faults, each in a thousand calls. One above 1000 counts as 1000, which is each call.
///
/// Of several faults a call has one, which is looked for in the order of the methods below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    pub(super) latency: RangeInclusive<Duration>,
    pub(super) errors_before: u16,
    pub(super) errors_after: u16,
    pub(super) hangs: u16,
    pub(super) hang: Duration,
    pub(super) stale_lists: u16,
    pub(super) missed_hints: u16,
}

impl Faults {
    /// How long a call that hangs takes by default: what a store with a usual time limit needs to give up.
    pub const DEFAULT_HANG: Duration = Duration::from_secs(30);

    /// None of them, and no latency.
    pub fn none() -> Self {
        Self {
            latency: Duration::ZERO..=Duration::ZERO,
            errors_before: 0,
            errors_after: 0,
            hangs: 0,
            hang: Self::DEFAULT_HANG,
            stale_lists: 0,
            missed_hints: 0,
        }
    }

    /// How long each call takes before its effect, by tokio's clock. Default: no time.
    #[must_use]
    pub fn latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        self.latency = latency;
        self
    }

    /// Calls that fail with `Unavailable` and have no effect. Default: 0.
    #[must_use]
    pub fn errors_before(mut self, per_mille: u16) -> Self {
        self.errors_before = per_mille;
        self
    }

    /// Calls that have their effect and then fail with `Timeout`, as when the answer is lost. Default: 0.
    #[must_use]
    pub fn errors_after(mut self, per_mille: u16) -> Self {
        self.errors_after = per_mille;
        self
    }

    /// Calls that have no effect, and fail with `Timeout` after [`hang`](Self::hang). Default: 0.
    #[must_use]
    pub fn hangs(mut self, per_mille: u16) -> Self {
        self.hangs = per_mille;
        self
    }

    /// How long a call hangs: no store may take forever. Default: 30 seconds.
    #[must_use]
    pub fn hang(mut self, hang: Duration) -> Self {
        self.hang = hang;
        self
    }

    /// Listings of ownership that show what the listing before showed, as a replica does that lags. A store
    /// may not do that, but what uses it must at least lose its claims then. Default: 0.
    #[must_use]
    pub fn stale_lists(mut self, per_mille: u16) -> Self {
        self.stale_lists = per_mille;
        self
    }

    /// Hints that do not come. Default: 0.
    #[must_use]
    pub fn missed_hints(mut self, per_mille: u16) -> Self {
        self.missed_hints = per_mille;
        self
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}
