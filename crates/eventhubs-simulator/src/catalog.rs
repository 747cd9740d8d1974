//! The scenarios that come with the simulator.

use crate::Scenario;

const FILES: [&str; 16] = [
    include_str!("../scenarios/cold_start.toml"),
    include_str!("../scenarios/staggered_start.toml"),
    include_str!("../scenarios/join.toml"),
    include_str!("../scenarios/crash.toml"),
    include_str!("../scenarios/rolling_deploy.toml"),
    include_str!("../scenarios/rolling_deploy_released.toml"),
    include_str!("../scenarios/sawtooth.toml"),
    include_str!("../scenarios/slow_store.toml"),
    include_str!("../scenarios/store_outage.toml"),
    include_str!("../scenarios/faulty_store.toml"),
    include_str!("../scenarios/skewed_clocks.toml"),
    include_str!("../scenarios/mixed_fleet.toml"),
    include_str!("../scenarios/calm_day.toml"),
    include_str!("../scenarios/lone.toml"),
    include_str!("../scenarios/trio.toml"),
    include_str!("../scenarios/one_joins_one.toml"),
];

/// The scenarios that come with the simulator, in the order of the report.
///
/// # Panics
/// Never: a test reads all of them.
pub fn catalog() -> Vec<Scenario> {
    let parse = |text| Scenario::parse(text).expect("a test reads every scenario of the catalog");
    FILES.map(parse).into()
}
