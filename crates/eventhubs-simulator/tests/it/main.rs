//! Whole runs: the catalog at a small size, the faults of the store, and what shows that the simulator can
//! fail.
#![cfg(test)]

mod determinism;
mod files;
mod interface;
mod small;
mod witnesses;

use eventhubs_simulator::{Scenario, catalog};

/// The scenario of that name, at this size.
fn scenario(name: &str, instances: usize, partitions: usize) -> Scenario {
    let mut all = catalog().into_iter();
    let found = all.find(|scenario| scenario.name == name);
    let scenario = found.expect("the catalog has it");
    scenario.with_size(instances, partitions).expect("a valid size")
}
