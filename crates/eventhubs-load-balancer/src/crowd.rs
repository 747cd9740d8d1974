//! How fast the instances of an event hub may hurry, from how many of them there can be.

use std::time::Duration;

use crate::{Settings, Strategy};

/// The most partitions that an event hub has. With so many, as many instances can come, and the delays are
/// the longest.
const MOST_PARTITIONS: f64 = 2_000.0;

/// A small fleet looks so much more often at most; with fewer partitions each instance would only cost the
/// store more.
const MOST_OFTEN: f64 = 0.2;

/// The size of the largest fleet that an event hub can have, as a part of the largest of all: there are no
/// more readers than partitions.
///
/// Instances spread their first rounds, grow step by step and look seldom so that a thousand of them do not
/// meet, and do not flood the store. The fewer can come, the less there is to spread, and the sooner the
/// partitions are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Crowd(f64);

impl Crowd {
    /// Of a hub with this many partitions; of the largest hub if the number is unknown.
    pub(crate) fn of(partitions: usize) -> Self {
        match u32::try_from(partitions) {
            Ok(0) | Err(_) => Self(1.0),
            Ok(partitions) => Self((f64::from(partitions) / MOST_PARTITIONS).min(1.0)),
        }
    }

    /// The longest wait before the first round.
    pub(crate) fn start_spread(self, settings: &Settings) -> Duration {
        match settings.strategy() {
            Strategy::Adaptive => settings.interval().mul_f64(0.5 * self.0),
            Strategy::Balanced | Strategy::Greedy => settings.interval() / 10,
        }
    }

    /// The pause while there is more to get.
    pub(crate) fn short_delay(self, settings: &Settings) -> Duration {
        let longest = settings.interval() / 10;
        match settings.strategy() {
            Strategy::Adaptive => longest.mul_f64(self.0).max(settings.interval() / 200),
            Strategy::Balanced | Strategy::Greedy => longest,
        }
    }

    /// The pause while partitions are free that are for others: an interval in the largest fleet.
    pub(crate) fn watchful_delay(self, settings: &Settings) -> Duration {
        settings.interval().mul_f64(self.0).max(self.short_delay(settings))
    }

    /// The pause when there is nothing to get.
    pub(crate) fn interval(self, settings: &Settings) -> Duration {
        match settings.strategy() {
            Strategy::Adaptive => settings.interval().mul_f64(self.0.max(MOST_OFTEN)),
            Strategy::Balanced | Strategy::Greedy => settings.interval(),
        }
    }

    /// How many such pauses make an interval of the settings: 1 in the largest fleet, 5 in a small one.
    pub(crate) fn rounds_per_interval(self, settings: &Settings) -> u32 {
        let rounds = settings.interval().as_secs_f64() / self.interval(settings).as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 1 and 5"
        )]
        let rounds = rounds.round() as u32;
        rounds
    }

    /// The pause between two looks whether a partition was handed over.
    pub(crate) fn look_again_after(self, settings: &Settings) -> Duration {
        self.interval(settings) / crate::settings::LOOKS_PER_INTERVAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tempo::MAX_CALM_INTERVALS;

    #[test]
    fn a_small_hub_is_shared_out_fast_and_the_largest_carefully() {
        let settings = Settings::default();
        let delays = |partitions| {
            let crowd = Crowd::of(partitions);
            let delays =
                [crowd.start_spread(&settings), crowd.short_delay(&settings), crowd.interval(&settings)];
            delays.map(|delay| delay.as_millis())
        };
        assert_eq!(delays(1), [2, 50, 2_000]);
        assert_eq!(delays(32), [80, 50, 2_000]);
        assert_eq!(delays(400), [1_000, 200, 2_000]);
        assert_eq!(delays(1_000), [2_500, 500, 5_000]);
        assert_eq!(delays(2_000), [5_000, 1_000, 10_000]);
        assert_eq!(delays(9_999), delays(2_000));
        assert_eq!(delays(0), delays(2_000), "not known");
    }

    #[test]
    fn the_calmest_pause_is_the_same_in_every_hub() {
        let settings = Settings::default();
        for partitions in [1, 32, 400, 2_000] {
            let crowd = Crowd::of(partitions);
            let pauses = MAX_CALM_INTERVALS * crowd.rounds_per_interval(&settings);
            let calmest = crowd.interval(&settings) * pauses;
            assert_eq!(calmest, settings.interval() * MAX_CALM_INTERVALS, "{partitions}");
        }
    }

    #[test]
    fn other_strategies_keep_the_delays_of_other_sdks() {
        let settings = Settings::default().with_strategy(Strategy::Greedy);
        let crowd = Crowd::of(4);
        assert_eq!(crowd.interval(&settings), settings.interval());
        assert_eq!(crowd.start_spread(&settings), settings.interval() / 10);
        assert_eq!(crowd.short_delay(&settings), settings.interval() / 10);
    }
}
