//! How soon the next round follows, from what the last ones found. Pure.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::{Settings, Strategy};

/// A fleet that ramps makes as many rounds as a settled fleet of this many instances.
pub const RAMP_FLEET: u32 = 1000;

/// A fleet that is still growing is taken for this many times as large as it looks.
const GROWTH: u32 = 10;

/// After this many rounds without a change, an instance of the largest fleet looks less often; others after
/// as long a time.
pub const CALM_AFTER: u32 = 3;

/// After this many lost races in a row, an instance takes its time: a record that it cannot read is lost to
/// it forever.
const MAX_LOST_RACES: u32 = 3;

/// The most intervals between two rounds when all is calm.
pub const MAX_CALM_INTERVALS: u32 = 3;

/// So many rounds in a row follow soon because partitions stayed free; then whoever was to take them takes
/// none.
const MAX_FREE_ROUNDS: u32 = 3;

/// What one round found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Findings {
    /// How many instances hold something, this one included.
    pub(crate) owners: u32,
    pub(crate) has_won: bool,
    pub(crate) has_lost_a_race: bool,
    pub(crate) outlook: Outlook,
}

/// What is to be expected of the next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Outlook {
    /// More would have been taken, were growth not bounded.
    Growth,
    /// Partitions stay free that are for others to take.
    Free,
    #[default]
    Change,
    /// Nothing changed, nothing was to be taken, and no owner is late with a renewal.
    Quiet,
}

/// How soon the next round follows, by what the last ones found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tempo {
    pace: Pace,
    owners: u32,
    quiet_rounds: u32,
    lost_races: u32,
    free_rounds: u32,
    retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pace {
    Soon,
    /// Partitions are unread that others should take: a look sooner where few others can come.
    Free,
    Ramp {
        is_fleet_stable: bool,
    },
    #[default]
    Interval,
}

impl Tempo {
    /// A lease has run out: look soon what became of the partition.
    pub(crate) fn lapsed(&mut self) {
        self.quiet_rounds = 0;
        self.pace = Pace::Soon;
    }

    /// A store in trouble is not hurried, and given the time that it asks for.
    pub(crate) fn failed(&mut self, retry_after: Duration) {
        self.quiet_rounds = 0;
        self.pace = Pace::Interval;
        self.retry_after = retry_after;
    }

    pub(crate) fn found(&mut self, strategy: Strategy, findings: Findings) {
        let is_fleet_stable = findings.owners == 1 || findings.owners == self.owners;
        self.lost_races = if findings.has_lost_a_race { self.lost_races.saturating_add(1) } else { 0 };
        self.free_rounds =
            if findings.outlook == Outlook::Free { self.free_rounds.saturating_add(1) } else { 0 };
        self.pace = match strategy {
            Strategy::Greedy if findings.has_won => Pace::Soon,
            Strategy::Adaptive if (1..=MAX_LOST_RACES).contains(&self.lost_races) => Pace::Soon,
            Strategy::Adaptive if findings.has_won && findings.outlook == Outlook::Growth => {
                Pace::Ramp { is_fleet_stable }
            }
            Strategy::Adaptive if (1..=MAX_FREE_ROUNDS).contains(&self.free_rounds) => Pace::Free,
            _ => Pace::Interval,
        };
        let is_quiet = findings.outlook == Outlook::Quiet && is_fleet_stable;
        self.quiet_rounds = if is_quiet { self.quiet_rounds.saturating_add(1) } else { 0 };
        self.owners = findings.owners;
        self.retry_after = Duration::ZERO;
    }

    /// How many owners the last round saw.
    pub(crate) fn owners(&self) -> u32 {
        self.owners
    }

    /// Whether there are more owners than at the last round.
    pub(crate) fn sees_growth(&self, owners: usize) -> bool {
        usize::try_from(self.owners).is_ok_and(|before| before < owners)
    }

    /// The time until the next round, before jitter.
    pub(crate) fn delay(&self, settings: &Settings, crowd: Crowd) -> Duration {
        let delay = match self.pace {
            Pace::Soon => crowd.short_delay(settings),
            Pace::Free => crowd.watchful_delay(settings),
            Pace::Ramp { is_fleet_stable } => self.ramp_delay(settings, crowd, is_fleet_stable),
            Pace::Interval if settings.strategy() == Strategy::Adaptive => {
                crowd.interval(settings) * self.pauses(crowd.rounds_per_interval(settings))
            }
            Pace::Interval => settings.interval(),
        };
        delay.max(self.retry_after.min(settings.expiry()))
    }

    /// In a growing fleet everybody sees only those who came before: to hurry on what they see would cost the
    /// store a peak, and take partitions that those who come after have to steal back.
    fn ramp_delay(&self, settings: &Settings, crowd: Crowd, is_fleet_stable: bool) -> Duration {
        let growth = if is_fleet_stable { 1 } else { GROWTH };
        let instances = self.owners.saturating_mul(growth).min(RAMP_FLEET);
        let share = f64::from(instances) / f64::from(RAMP_FLEET);
        let longest = settings.interval().mul_f64(0.7);
        settings.interval().mul_f64(share).clamp(crowd.short_delay(settings), longest)
    }

    /// Whether the pause is longer than the interval for no other reason than that nothing happens.
    pub(crate) fn is_calm(&self, settings: &Settings, crowd: Crowd) -> bool {
        self.pace == Pace::Interval && self.pauses(crowd.rounds_per_interval(settings)) > 1
    }

    /// The more others there are, the less often each needs to look for somebody to see a change within an
    /// interval.
    fn pauses(&self, rounds_per_interval: u32) -> u32 {
        // Where rounds follow faster, more of them have to be quiet: it is a time in which a deploy would
        // show.
        if self.quiet_rounds < CALM_AFTER * rounds_per_interval {
            return 1;
        }
        calm_pauses(self.owners, rounds_per_interval)
    }
}

/// The most pauses between two rounds of an instance of so many, where this many pauses make an interval.
pub(crate) fn calm_pauses(owners: u32, rounds_per_interval: u32) -> u32 {
    owners.saturating_sub(1).clamp(1, MAX_CALM_INTERVALS * rounds_per_interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(findings: &[Findings]) -> Duration {
        let mut tempo = Tempo::default();
        for findings in findings {
            tempo.found(Strategy::Adaptive, *findings);
        }
        tempo.delay(&Settings::default(), Crowd::of(2000))
    }

    fn quiet(owners: u32) -> Findings {
        Findings { owners, outlook: Outlook::Quiet, ..Findings::default() }
    }

    fn growing(owners: u32) -> Findings {
        Findings { owners, has_won: true, outlook: Outlook::Growth, ..Findings::default() }
    }

    #[test]
    fn rounds_come_less_often_when_several_were_quiet_and_others_look_too() {
        assert_eq!(after(&[quiet(10); 3]), 10 * SECOND, "the first sees the fleet change");
        assert_eq!(after(&[quiet(10); 4]), 30 * SECOND);
        assert_eq!(after(&[quiet(3); 4]), 20 * SECOND);
        assert_eq!(after(&[quiet(2); 9]), 10 * SECOND);
        assert_eq!(after(&[quiet(1); 9]), 10 * SECOND);
    }

    #[test]
    fn any_change_ends_the_calm() {
        let calm = [quiet(10); 5];
        for change in [quiet(11), growing(10), Findings { owners: 10, ..Findings::default() }] {
            assert!(after(&[&calm[..], &[change]].concat()) <= 10 * SECOND, "{change:?}");
        }
        let mut tempo = Tempo::default();
        for findings in calm {
            tempo.found(Strategy::Adaptive, findings);
        }
        tempo.failed(Duration::ZERO);
        assert_eq!(tempo.delay(&Settings::default(), Crowd::of(2000)), 10 * SECOND);
    }

    #[test]
    fn a_small_fleet_ramps_fast_and_a_large_or_growing_one_slowly() {
        assert_eq!(after(&[growing(1)]), SECOND);
        assert_eq!(after(&[growing(4); 2]), SECOND);
        assert_eq!(after(&[growing(300); 2]), 3 * SECOND);
        assert_eq!(after(&[growing(2000); 2]), 7 * SECOND);
        assert_eq!(after(&[growing(40), growing(50)]), 5 * SECOND);
    }

    #[test]
    fn the_time_that_a_store_asks_for_is_given_to_it() {
        let mut tempo = Tempo::default();
        tempo.failed(25 * SECOND);
        assert_eq!(tempo.delay(&Settings::default(), Crowd::of(2000)), 25 * SECOND);
        tempo.found(Strategy::Adaptive, quiet(1));
        assert_eq!(tempo.delay(&Settings::default(), Crowd::of(2000)), 10 * SECOND);
    }
}
