//! The catalog at a small size, with the seeds that every change is checked with.

use std::fmt::Write as _;

use eventhubs_simulator::{Scenario, catalog, simulate_all};

const SEEDS: u64 = 40;

/// A day is a matter of `cargo xtask simulate`.
const LONGEST_S: f64 = 3_600.0;

fn small(scenario: Scenario) -> Scenario {
    let mut scenario = scenario.with_size(10, 32).expect("a valid size");
    scenario.duration_s = scenario.duration_s.min(LONGEST_S);
    scenario
}

#[test]
fn every_scenario_holds_with_forty_seeds() {
    let scenarios: Vec<_> = catalog().into_iter().map(small).collect();
    let with_seeds =
        |scenario: &Scenario| (1..=SEEDS).map(|seed| (scenario.clone(), seed)).collect::<Vec<_>>();
    let runs: Vec<_> = scenarios.iter().flat_map(with_seeds).collect();
    let mut broken = String::new();
    for outcome in simulate_all(&runs, 2, |_| {}) {
        for violation in &outcome.violations {
            let _ = writeln!(broken, "{violation}\n  {}", outcome.replay());
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}
