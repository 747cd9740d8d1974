//! The report in Markdown, `docs/simulation.md`.

use std::fmt;

use crate::outcome::Numbers;
use crate::table::time_or_never;
use crate::{Kind, Outcome, Scenario};

const INTRODUCTION: &str = "\
# What the simulator found

Written by `cargo xtask simulate --seeds N --report docs/simulation.md`, `N` as in the table; the same seeds give the same
numbers.

An eventhubs instance is the real `Balancer` with its default settings (a round every 10 s with 2 000 partitions, every 2 s with 400 and
fewer; an expiry of 60 s), on virtual time. The store is simulated: 5 to 30 ms for a call unless the scenario says otherwise. Reading is modelled: it begins when
a round reports the partition as acquired, ends when a round reports it lost, and the last to attach cuts off the one
before. Where one eventhubs instance takes over from another, it begins when that has handed over; the callback that is running then
takes 50 ms more. What a deploy or a crash costs in unread time is seen from there; the time of an attach is not in it.

* **converge**: seconds from the last event until all partitions are owned in fair shares for good; median / worst.
* **conflicts**: claims that lost. **needless**: changes of owner beyond Σ max(0, share after − share before).
  **changes**: partitions that got another owner. **peak**: most requests in one whole second of the measurement. Each the
  worst of all seeds.
* **steady**: requests per second, as a mean over the last half of the time since all was fair, two minutes at most; the
  median of all seeds. **unread**: the longest time that a partition had no reader; the worst.
* **holds**: in how many runs every property and every bound of the scenario file held. A run beyond one has failed.
* A time of *never* means: not within the time that the scenario plays.

The bound of the peak is three times what a fleet at rest asks that is not calm yet: of each instance one listing an
interval, and of each partition one renewal in 29 s, which are 169 requests/s for 1000 instances and 2000 partitions. Under
*steady* stands less: a fleet at rest gets calm within a minute, and then looks less often. Three times that calmer rate
would be 369 requests/s for the cold start, and it could be had by spreading the start: with the first round within 7 s
instead of 5 s, and the second a second later, 20 seeds had a peak of 365 instead of 485. But they took some 18 s instead
of 15 s, and one of them 26 s: the later the last ones are seen, the more often somebody takes one partition too many,
which has to be stolen back.
";

const PEERS: &str = "
## The same scenarios, with the rules of the other SDKs

The balancers of the official SDKs as docs/contract.md §8 describes them, with the strategy each has by default, but all with our
interval and expiry, so that only the rules differ. They are models: their retries, timeouts and readers are simplified,
and a real one may do better or worse. The vectors of docs/contract.md §8.4 are tests of the models. Numbers are the worst of three
seeds; the calm day is an hour here.
";

/// Outcomes as a document in Markdown.
#[derive(Debug, Clone, Copy)]
pub struct Report<'r> {
    scenarios: &'r [Scenario],
    ours: &'r [Outcome],
    peers: &'r [(Kind, Outcome)],
}

impl<'r> Report<'r> {
    /// A report on the outcomes of these scenarios, and on those of fleets of one kind each.
    pub fn new(scenarios: &'r [Scenario], ours: &'r [Outcome], peers: &'r [(Kind, Outcome)]) -> Self {
        Self { scenarios, ours, peers }
    }

    fn of<'o>(&self, scenario: &Scenario) -> Vec<&'o Outcome>
    where
        'r: 'o,
    {
        let of_scenario = self.ours.iter().filter(|outcome| outcome.scenario == scenario.name);
        of_scenario.collect()
    }

    fn write_ours(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## Ours\n")?;
        writeln!(
            f,
            "| scenario | instances × partitions | seeds | converge s | conflicts | needless | changes | peak /s | steady /s | unread s | holds |"
        )?;
        writeln!(f, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")?;
        for scenario in self.scenarios {
            let outcomes = self.of(scenario);
            let held = outcomes.iter().filter(|outcome| outcome.violations.is_empty()).count();
            let numbers = Summary::of(outcomes.iter().map(|outcome| &outcome.numbers));
            writeln!(
                f,
                "| `{}` | {} × {} | {seeds} | {} / {} | {} | {held} of {seeds} |",
                scenario.name,
                scenario.instances,
                scenario.partitions,
                numbers.median_converge(),
                numbers.worst_converge(),
                numbers.cells(),
                seeds = outcomes.len(),
            )?;
        }
        Ok(())
    }

    fn write_abouts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for scenario in self.scenarios {
            writeln!(f, "* `{}`: {}", scenario.name, scenario.about)?;
        }
        Ok(())
    }

    fn write_violations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## What did not hold\n")?;
        let broken = || self.ours.iter().filter(|outcome| !outcome.violations.is_empty());
        if broken().next().is_none() {
            return writeln!(f, "Nothing.");
        }
        for outcome in broken() {
            for violation in &outcome.violations {
                writeln!(f, "* {violation}: `{}`", outcome.replay())?;
            }
        }
        Ok(())
    }

    fn write_peers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, any)) = self.peers.first() else {
            return Ok(());
        };
        writeln!(f, "{PEERS}\nAll with {} instances and {} partitions.\n", any.instances, any.partitions)?;
        writeln!(
            f,
            "| scenario | balancer | converge s | conflicts | needless | changes | peak /s | steady /s | unread s |"
        )?;
        writeln!(f, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for scenario in self.scenarios {
            for kind in Kind::ALL {
                let is_asked =
                    |(other, outcome): &&(Kind, Outcome)| *other == kind && outcome.scenario == scenario.name;
                let played = self.peers.iter().filter(is_asked);
                let numbers = Summary::of(played.map(|(_, outcome)| &outcome.numbers));
                if !numbers.is_empty() {
                    let (name, kind) = (&scenario.name, kind.name());
                    writeln!(
                        f,
                        "| `{name}` | {kind} | {} | {} |",
                        numbers.worst_converge(),
                        numbers.cells()
                    )?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INTRODUCTION)?;
        self.write_ours(f)?;
        self.write_abouts(f)?;
        self.write_violations(f)?;
        self.write_peers(f)
    }
}

/// The numbers of several runs.
struct Summary<'n>(Vec<&'n Numbers>);

impl<'n> Summary<'n> {
    fn of(numbers: impl Iterator<Item = &'n Numbers>) -> Self {
        Self(numbers.collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said of each run, from the least to the most.
    fn sorted(&self, number: impl Fn(&Numbers) -> f64) -> Vec<f64> {
        let mut sorted: Vec<_> = self.0.iter().map(|numbers| number(numbers)).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn worst(&self, number: impl Fn(&Numbers) -> f64) -> f64 {
        self.sorted(number).last().copied().unwrap_or_default()
    }

    fn median(&self, number: impl Fn(&Numbers) -> f64) -> f64 {
        let sorted = self.sorted(number);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn median_converge(&self) -> String {
        finite(self.median(converge))
    }

    fn worst_converge(&self) -> String {
        finite(self.worst(converge))
    }

    /// All columns from the conflicts on.
    fn cells(&self) -> String {
        format!(
            "{} | {} | {} | {} | {:.0} | {:.1}",
            self.worst(|numbers| numbers.conflicts.into()),
            self.worst(|numbers| numbers.needless_steals.into()),
            self.worst(|numbers| numbers.ownership_changes.into()),
            self.worst(|numbers| numbers.peak_rps.into()),
            self.median(|numbers| numbers.steady_rps),
            self.worst(|numbers| numbers.longest_unread_s),
        )
    }
}

fn converge(numbers: &Numbers) -> f64 {
    numbers.converge_s.unwrap_or(f64::INFINITY)
}

fn finite(seconds: f64) -> String {
    time_or_never(seconds.is_finite().then_some(seconds))
}
