//! Fleets of the load balancer of `eventhubs` on virtual time, against a store that misbehaves.
//!
//! ```text
//! Scenario ─▶ Fleet: Balancer, Balancer, modelled peers … ─▶ World: records, latency, faults ─▶ Ledger ─▶ Outcome
//! ```
//!
//! An eventhubs instance is the real [`Balancer`](eventhubs_load_balancer::Balancer), called as the processor
//! calls it; all time is tokio's paused clock and all randomness comes from one seed, so a run can be
//! repeated to the last call. What the instances believe is compared with what the ledger knows.

mod batch;
mod catalog;
mod check;
mod claim;
mod fleet;
mod history;
mod instance;
mod ledger;
mod outcome;
mod peer;
mod records;
mod report;
mod run;
mod scenario;
mod store;
pub mod table;
mod trace;

pub use batch::simulate_all;
pub use catalog::catalog;
pub use outcome::{Numbers, Outcome, Row, Violation};
pub use peer::Kind;
pub use report::Report;
pub use run::simulate;
pub use scenario::{Action, Clocks, Event, Expect, Scenario, ScenarioError, StoreModel};

/// The limits of a scenario, each as a constant.
pub mod limits {
    pub use crate::scenario::{MAX_DURATION, MAX_INSTANCES, MAX_PARTITIONS};
}
