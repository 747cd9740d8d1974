//! Interval, expiry, strategy and assignment, and the limits that follow from them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use crate::Assignment;

/// The time between two rounds by default.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// How long an ownership lasts without a renewal by default.
pub const DEFAULT_EXPIRY: Duration = Duration::from_secs(60);

/// An expiry shorter than this many intervals is refused.
pub const MIN_EXPIRY_PER_INTERVAL: u32 = 3;

/// The longest expiry: what crashed is taken over within a day.
pub const MAX_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an instance that leaves offers its partitions by default: a round of the others at the default
/// interval, with its jitter. That leaves time of the 30 seconds that container platforms give to a process
/// that ends.
pub const DEFAULT_OFFER_TIMEOUT: Duration = Duration::from_secs(12);

/// How many intervals an owner has to hand over a partition that another instance took, before that reads in
/// any case.
///
/// One for the attach that cuts it off, which may be slow, and one for what it still has to do after that.
pub const HANDOVER_INTERVALS: u32 = 2;

/// An instance that lost all its leases at once leaves for this many intervals to others what they had.
pub const COMEBACK_INTERVALS: u32 = 2;

/// One who waits for a partition to be handed over looks this many times in an interval.
pub const LOOKS_PER_INTERVAL: u32 = 20;

/// Every delay is multiplied by a random factor of this range, so that instances do not keep in step.
pub const JITTER: Range<f64> = 0.8..1.2;

/// How an instance gets to its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// In each round as many as it has already, and one to begin with; soon again while there is more that
    /// nobody holds. Instances that start together so meet little, and one that is alone has all in a few
    /// rounds. How soon follows from the number of partitions, since no more instances than that can come.
    #[default]
    Adaptive,
    /// One partition a round: slow, and the calmest for the store and the other instances.
    Balanced,
    /// In one round all free partitions of the share, and one stolen from each owner that can spare it; after
    /// a round that won something the next one follows in a tenth of the interval.
    Greedy,
}

/// How often rounds run, and how long an ownership lasts.
///
/// All instances of a consumer group should have the same interval and expiry. The limits of a round follow
/// from them:
///
/// | limit | value | by default |
/// |---|---|---|
/// | a round | expiry / 4 | 15 s |
/// | one claim | interval / 2, at most half a round | 5 s |
/// | one listing | an interval, at most a round without the time for a claim | 10 s |
/// | the time to hand over a partition | an interval | 10 s |
/// | own lease without a renewal | 95 % of the expiry | 57 s |
///
/// ```
/// use std::time::Duration;
/// use eventhubs_load_balancer::{Settings, Strategy};
///
/// let settings = Settings::new(Duration::from_secs(5), Duration::from_secs(20))?.with_strategy(Strategy::Greedy);
/// assert_eq!(settings.interval(), Duration::from_secs(5));
///
/// let settings = Settings::default();
/// assert_eq!(settings.strategy(), Strategy::Adaptive);
/// assert_eq!((settings.interval().as_secs(), settings.expiry().as_secs()), (10, 60));
/// # Ok::<_, eventhubs_load_balancer::InvalidSettings>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    strategy: Strategy,
    interval: Duration,
    expiry: Duration,
    assignment: Assignment,
    max_partitions: Option<NonZeroUsize>,
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// The interval is zero.
    #[error("the interval is zero: rounds would follow each other without a pause")]
    ZeroInterval,
    /// The expiry is too short for the interval.
    #[error(
        "the expiry of {expiry:?} is shorter than {MIN_EXPIRY_PER_INTERVAL} intervals of {interval:?}: one late round \
         would lose partitions that are being read, and instances would take them from each other forever"
    )]
    ExpiryTooShort {
        /// The interval.
        interval: Duration,
        /// The expiry.
        expiry: Duration,
    },
    /// The expiry is longer than [`MAX_EXPIRY`](crate::defaults::MAX_EXPIRY).
    #[error(
        "the expiry of {expiry:?} is longer than {MAX_EXPIRY:?}: what crashed would be read by nobody until then"
    )]
    ExpiryTooLong {
        /// The expiry.
        expiry: Duration,
    },
    /// Ordinals count from 0.
    #[error("the ordinal {ordinal} is not below the number of instances, {instances}")]
    OrdinalTooLarge {
        /// The ordinal.
        ordinal: u32,
        /// The number of instances.
        instances: u32,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            interval: DEFAULT_INTERVAL,
            expiry: DEFAULT_EXPIRY,
            assignment: Assignment::default(),
            max_partitions: None,
        }
    }
}

impl Settings {
    /// Rounds at this interval, and ownership that lasts for `expiry` without a renewal.
    ///
    /// # Errors
    /// When the interval is zero, the expiry is shorter than three intervals, or it is longer than a day.
    pub fn new(interval: Duration, expiry: Duration) -> Result<Self, InvalidSettings> {
        if interval.is_zero() {
            return Err(InvalidSettings::ZeroInterval);
        }
        if expiry < interval.saturating_mul(MIN_EXPIRY_PER_INTERVAL) {
            return Err(InvalidSettings::ExpiryTooShort { interval, expiry });
        }
        if expiry > MAX_EXPIRY {
            return Err(InvalidSettings::ExpiryTooLong { expiry });
        }
        Ok(Self { interval, expiry, ..Self::default() })
    }

    /// Sets the strategy.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets which partitions the instance may own.
    ///
    /// # Errors
    /// When the ordinal is not below the number of instances.
    pub fn with_assignment(mut self, assignment: Assignment) -> Result<Self, InvalidSettings> {
        if let Assignment::ByOrdinal { ordinal, instances } = assignment
            && ordinal >= instances
        {
            return Err(InvalidSettings::OrdinalTooLarge { ordinal, instances });
        }
        self.assignment = assignment;
        Ok(self)
    }

    /// Sets the most partitions that the instance takes. Mind that partitions stay without an owner where the
    /// maxima of all instances do not add up to all partitions.
    #[must_use]
    pub fn with_max_partitions(mut self, max: NonZeroUsize) -> Self {
        self.max_partitions = Some(max);
        self
    }

    /// Which partitions the instance may own.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The most partitions that the instance takes.
    pub fn max_partitions(&self) -> usize {
        self.max_partitions.map_or(usize::MAX, NonZeroUsize::get)
    }

    /// How an instance gets to its share.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The time between two rounds, before jitter. An adaptive instance of an event hub with fewer than 2 000
    /// partitions makes them more often: down to a fifth of the interval with 400 and fewer.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How long an ownership lasts without a renewal, as other instances see it.
    pub fn expiry(&self) -> Duration {
        self.expiry
    }

    /// How long an own lease lasts without a renewal: less than others wait, because a reader takes time to
    /// stop, and other SDKs do not allow for a store that keeps whole seconds.
    pub(crate) fn lease(&self) -> Duration {
        let most = self.expiry.mul_f64(0.95);
        match self.expiry.checked_sub(Duration::from_secs(1)) {
            Some(shorter) if shorter >= self.expiry.mul_f64(0.6) => most.min(shorter),
            _ => most,
        }
    }

    /// A round ends well before an expiry, so that a slow store costs a round and not the partitions.
    pub(crate) fn round_limit(&self) -> Duration {
        self.expiry / 4
    }

    /// The longest time between the ends of two rounds: the longest of all delays, and a round.
    pub fn longest_between_rounds(&self) -> Duration {
        // Three intervals and their jitter where all is calm, or as long as a store that failed asks for.
        (self.interval * 4).max(self.expiry) + self.round_limit()
    }

    pub(crate) fn claim_limit(&self) -> Duration {
        (self.interval / 2).min(self.round_limit() / 2)
    }

    /// A listing leaves time for one claim.
    pub(crate) fn list_limit(&self) -> Duration {
        self.interval.min(self.round_limit().saturating_sub(self.claim_limit()))
    }

    /// A lease younger than this is not renewed again: rounds that follow fast shall not multiply the
    /// renewals, and where all is calm one renewal in two to three rounds is enough.
    pub(crate) fn renew_after(&self) -> Duration {
        match self.strategy {
            Strategy::Adaptive => self.expiry.mul_f64(0.4),
            Strategy::Balanced | Strategy::Greedy => self.interval / 2,
        }
    }

    /// However calm it is, a round comes before less than this is left of an own lease: time for two more.
    pub(crate) fn lease_left_when_due(&self) -> Duration {
        self.expiry.mul_f64(0.45)
    }

    /// An owner that has not renewed for this long may be in trouble.
    pub(crate) fn late_after(&self) -> Duration {
        self.expiry.mul_f64(0.65)
    }

    /// How long an owner has to hand over.
    pub(crate) fn handover_limit(&self) -> Duration {
        self.interval * HANDOVER_INTERVALS
    }

    /// How long after an outage others have time to come back.
    pub(crate) fn comeback_time(&self) -> Duration {
        self.interval * COMEBACK_INTERVALS
    }

    /// The pause between two rounds of one that leaves and is not told by its readers that a partition was
    /// taken.
    pub(crate) fn leaving_pause(&self) -> Duration {
        self.interval / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_expiry_below_three_intervals_is_refused_by_name() {
        let error = Settings::new(10 * SECOND, 29 * SECOND).unwrap_err();
        assert_eq!(error, InvalidSettings::ExpiryTooShort { interval: 10 * SECOND, expiry: 29 * SECOND });
        let text = error.to_string();
        assert!(text.contains("expiry of 29s") && text.contains("intervals of 10s"), "{text}");
        assert!(Settings::new(10 * SECOND, 30 * SECOND).is_ok());
    }

    #[test]
    fn an_interval_of_zero_and_endless_times_are_refused() {
        assert_eq!(Settings::new(Duration::ZERO, SECOND), Err(InvalidSettings::ZeroInterval));
        let endless = Settings::new(Duration::MAX, Duration::MAX);
        assert_eq!(endless, Err(InvalidSettings::ExpiryTooLong { expiry: Duration::MAX }));
    }

    #[test]
    fn the_limits_of_a_round_stay_below_a_third_of_the_expiry() {
        for (interval, expiry) in [(10, 60), (10, 30), (1, 86_400)] {
            let settings = Settings::new(interval * SECOND, expiry * SECOND).unwrap();
            assert!(settings.round_limit() < settings.expiry() / 3);
            assert!(settings.list_limit() + settings.claim_limit() <= settings.round_limit());
            let latest_renewal = settings.interval().mul_f64(JITTER.end) + settings.round_limit();
            assert!(latest_renewal < settings.lease(), "one late round loses nothing");
        }
    }

    #[test]
    fn the_defaults_are_valid_and_as_documented() {
        assert_eq!(Settings::new(DEFAULT_INTERVAL, DEFAULT_EXPIRY), Ok(Settings::default()));
        let settings = Settings::default();
        assert_eq!(settings.claim_limit(), 5 * SECOND);
        assert_eq!(settings.list_limit(), 10 * SECOND);
        assert_eq!(settings.round_limit(), 15 * SECOND);
        assert_eq!(settings.lease(), 57 * SECOND);
    }
}
