//! A scenario: the fleet, the store, what happens to both, and what is expected.

mod valid;

use std::time::Duration;

use eventhubs_load_balancer::Settings;
use serde::Deserialize;

use crate::peer::Kind;

pub use valid::ScenarioError;
use valid::invalid;

/// The most instances that a scenario may begin with.
pub const MAX_INSTANCES: usize = 5_000;

/// The most partitions of a scenario: more than any tier of the service allows.
pub const MAX_PARTITIONS: usize = 5_000;

/// The longest that a scenario may last in virtual time.
pub const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is played: a fleet, a store, and what happens to both.
///
/// ```
/// use eventhubs_simulator::{Scenario, simulate};
///
/// let scenario = Scenario::parse(
///     r#"
///     name = "two_join"
///     about = "Two instances join two others."
///     instances = 2
///     partitions = 8
///     settle_s = 60
///     duration_s = 60
///     [[event]]
///     do = "join"
///     fraction = 1.0
///     "#,
/// )?;
/// let outcome = simulate(&scenario, 7);
/// assert!(outcome.violations.is_empty());
/// assert_eq!(outcome.numbers.ownership_changes, 4);
/// # Ok::<_, eventhubs_simulator::ScenarioError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// Its name on the command line.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// How many instances it begins with.
    pub instances: usize,
    /// How many partitions the event hub has.
    pub partitions: usize,
    /// The time within which the first instances start, each at a random moment of it.
    #[serde(default = "defaults::start_over_s")]
    pub start_over_s: f64,
    /// How long the fleet runs before anything is measured; zero measures the start.
    #[serde(default)]
    pub settle_s: f64,
    /// How long is measured.
    pub duration_s: f64,
    /// The time between the rounds of an instance.
    #[serde(default = "defaults::interval_s")]
    pub interval_s: f64,
    /// How long an ownership lasts without a renewal.
    #[serde(default = "defaults::expiry_s")]
    pub expiry_s: f64,
    /// The balancers of the fleet, in turn: instance `i` runs the `i`-th of them, and all over again.
    #[serde(default = "defaults::fleet")]
    pub fleet: Vec<Kind>,
    /// The clocks of the instances.
    #[serde(default)]
    pub clocks: Clocks,
    /// The store on a usual day.
    #[serde(default)]
    pub store: StoreModel,
    /// What happens, in the order of time.
    #[serde(default, rename = "event")]
    pub events: Vec<Event>,
    /// What has to hold beyond the properties that always hold.
    #[serde(default)]
    pub expect: Expect,
}

/// How wrong the wall clocks of the instances are.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Clocks {
    /// A skewed clock is as much before or behind.
    pub skew_s: f64,
    /// The part of the instances that have one, in turn before and behind.
    pub fraction: f64,
}

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct StoreModel {
    /// The shortest and the longest time of a call; evenly distributed on a logarithmic scale.
    pub latency_ms: [f64; 2],
    /// The part of the calls that fail and have no effect.
    pub errors: f64,
    /// The part of the claims that have their effect, and then fail.
    pub errors_after_effect: f64,
    /// The part of the calls that are never answered.
    pub hangs: f64,
    /// How old a listing may be.
    pub stale_ms: f64,
    /// Beyond so many requests in a second the store refuses; zero is no limit.
    pub throttle_rps: u32,
    /// Whether listings tell the time of the store.
    pub has_clock: bool,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// When, since the measurement began.
    #[serde(default)]
    pub at_s: f64,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// What happens at an event. Fractions are of the instances that run at that time.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// New instances start.
    Join {
        /// How many.
        fraction: f64,
        /// Within which time, each at a random moment.
        #[serde(default = "defaults::over_s")]
        over_s: f64,
    },
    /// Instances end without a word.
    Crash {
        /// How many.
        fraction: f64,
    },
    /// Instances stop gracefully.
    Leave {
        /// How many.
        fraction: f64,
        /// Within which time.
        #[serde(default = "defaults::over_s")]
        over_s: f64,
        /// Whether they offer their partitions and read on, where their balancer can.
        #[serde(default = "defaults::offers")]
        offers: bool,
    },
    /// All instances are replaced, group by group: the new ones of a group start, then the old ones stop.
    Deploy {
        /// The size of a group.
        fraction: f64,
        /// The time between two groups.
        every_s: f64,
        /// The time between the start of the new ones and the stop of the old ones.
        overlap_s: f64,
        /// Whether the old ones offer their partitions and read on, where their balancer can.
        #[serde(default = "defaults::offers")]
        offers: bool,
    },
    /// The store is another one for a time.
    Store {
        /// How long.
        for_s: f64,
        /// How it is then.
        model: StoreModel,
    },
}

/// Limits of the numbers of a run, where a scenario has any.
///
/// All but the ownership changes and the unread time are meant for the size that the file says.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Expect {
    /// The longest way to a fair fleet. Without it the formula of property P8 counts.
    pub converge_s: Option<f64>,
    /// The most lost claims, as a part of the partitions.
    pub conflicts: Option<f64>,
    /// The most needless steals, as a part of the partitions.
    pub needless_steals: Option<f64>,
    /// The most changes of owner.
    pub ownership_changes: Option<u32>,
    /// The most requests in one second.
    pub peak_rps: Option<u32>,
    /// The most requests per second at rest.
    pub steady_rps: Option<f64>,
    /// The longest time that a partition was read by nobody.
    pub unread_s: Option<f64>,
}

mod defaults {
    use crate::peer::Kind;

    pub(super) fn start_over_s() -> f64 {
        10.0
    }

    pub(super) fn over_s() -> f64 {
        5.0
    }

    pub(super) fn offers() -> bool {
        true
    }

    pub(super) fn interval_s() -> f64 {
        eventhubs_load_balancer::defaults::DEFAULT_INTERVAL.as_secs_f64()
    }

    pub(super) fn expiry_s() -> f64 {
        eventhubs_load_balancer::defaults::DEFAULT_EXPIRY.as_secs_f64()
    }

    pub(super) fn fleet() -> Vec<Kind> {
        vec![Kind::Ours]
    }
}

impl Default for StoreModel {
    fn default() -> Self {
        Self {
            latency_ms: [5.0, 30.0],
            errors: 0.0,
            errors_after_effect: 0.0,
            hangs: 0.0,
            stale_ms: 0.0,
            throttle_rps: 0,
            has_clock: true,
        }
    }
}

impl Scenario {
    /// Reads and checks a scenario file.
    ///
    /// # Errors
    /// When the text is no TOML, has a field that a scenario does not have, or one that makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::Syntax(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The same scenario with another size.
    ///
    /// # Errors
    /// When a size is zero or above its limit.
    pub fn with_size(mut self, instances: usize, partitions: usize) -> Result<Self, ScenarioError> {
        if (self.instances, self.partitions) != (instances, partitions) {
            self.expect = self.expect.of_any_size();
        }
        (self.instances, self.partitions) = (instances, partitions);
        self.check()?;
        Ok(self)
    }

    /// The same scenario with a fleet that runs these balancers.
    ///
    /// # Errors
    /// When there is none.
    pub fn with_fleet(mut self, fleet: Vec<Kind>) -> Result<Self, ScenarioError> {
        self.fleet = fleet;
        self.check()?;
        Ok(self)
    }

    pub(crate) fn settings(&self) -> Result<Settings, ScenarioError> {
        let (interval, expiry) = (seconds(self.interval_s), seconds(self.expiry_s));
        Settings::new(interval, expiry).map_err(|error| invalid("interval_s", format!("is wrong: {error}")))
    }
}

impl Expect {
    /// What does not depend on the size: a single lost race is much in a small fleet, and a herd small in
    /// none.
    fn of_any_size(self) -> Self {
        Self { ownership_changes: self.ownership_changes, unread_s: self.unread_s, ..Self::default() }
    }
}

/// A time of a scenario that was checked.
pub(crate) fn seconds(time: f64) -> Duration {
    Duration::from_secs_f64(time)
}
