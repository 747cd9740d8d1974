//! The numbers of one run, and the properties it broke.

use std::fmt;

use serde::Serialize;

use crate::Kind;

/// What a run of a scenario came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The name of the scenario.
    pub scenario: String,
    /// How many instances it began with.
    pub instances: usize,
    /// How many partitions there were.
    pub partitions: usize,
    /// The balancers of the fleet.
    pub fleet: Vec<Kind>,
    /// The seed: with it the run can be repeated to the last call.
    pub seed: u64,
    /// What was counted.
    pub numbers: Numbers,
    /// The properties that did not hold; none in a good run.
    pub violations: Vec<Violation>,
    /// A fingerprint of every claim and its outcome: equal for equal runs.
    pub trace: u64,
}

/// What was counted from the beginning of the measurement on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Numbers {
    /// Seconds from the last event to the moment from which on all partitions were owned in fair shares;
    /// `None` if that was not reached.
    pub converge_s: Option<f64>,
    /// Claims that lost.
    pub conflicts: u32,
    /// Changes of owner beyond those that the change of the shares took at least: Σ max(0, share after −
    /// share before).
    pub needless_steals: u32,
    /// Partitions that got another owner than they had last; a release is none.
    pub ownership_changes: u32,
    /// The most requests to the store within one whole second of the measurement, refused ones included.
    pub peak_rps: u32,
    /// The mean of the requests per second over the last half of the time since all was fair, two minutes at
    /// most; over the last two minutes where it is not.
    pub steady_rps: f64,
    /// The longest time in seconds that a partition had no reader.
    pub longest_unread_s: f64,
}

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Its name.
    pub property: &'static str,
    /// What was found, and what should have been.
    pub fact: String,
}

/// An outcome as one flat object, for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Row<'o> {
    scenario: &'o str,
    instances: usize,
    partitions: usize,
    seed: u64,
    converge_s: Option<f64>,
    conflicts: u32,
    needless_steals: u32,
    ownership_changes: u32,
    peak_rps: u32,
    steady_rps: f64,
}

impl Outcome {
    /// The outcome for programs: each field is part of the interface.
    pub fn row(&self) -> Row<'_> {
        let numbers = &self.numbers;
        Row {
            scenario: &self.scenario,
            instances: self.instances,
            partitions: self.partitions,
            seed: self.seed,
            converge_s: numbers.converge_s,
            conflicts: numbers.conflicts,
            needless_steals: numbers.needless_steals,
            ownership_changes: numbers.ownership_changes,
            peak_rps: numbers.peak_rps,
            steady_rps: numbers.steady_rps,
        }
    }

    /// The command that repeats this run.
    pub fn replay(&self) -> String {
        let Self { scenario, instances, partitions, seed, .. } = self;
        let fleet: Vec<_> = self.fleet.iter().map(|kind| kind.name()).collect();
        format!(
            "cargo xtask simulate --scenario {scenario} --seed {seed} --instances {instances} --partitions {partitions} \
             --fleet {}",
            fleet.join(",")
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.fact)
    }
}
