//! Who of a consumer group reads which partition: a pure [`plan`], and one round of it against a checkpoint
//! store.
//!
//! ```text
//! round:  list ─▶ LeaseObserver ─▶ View ─▶ plan ─▶ renew, claim, steal ─▶ Round { acquired, lost, asked, .. }
//! ```
//!
//! [`LeaseObserver`], [`View`] and [`plan`] know no clock, no I/O and no randomness but what they are given,
//! so they can be checked case by case; [`Balancer`] is the thin shell that calls the store.

mod assignment;
mod balancer;
mod calls;
mod comeback;
mod crowd;
mod fence;
mod handover;
mod hints;
mod holdings;
mod lease;
mod note;
mod passive;
mod plan;
mod report;
mod round;
mod settings;
mod sorted;
mod tempo;
mod twin;
mod view;

pub use assignment::Assignment;
pub use balancer::Balancer;
pub use fence::Lease;
pub use lease::LeaseObserver;
pub use plan::{Plan, plan};
pub use report::{ClaimCounts, Failure, LossReason, Operation, Origin, Round};
pub use settings::{InvalidSettings, Settings, Strategy};
pub use view::{Peer, View};

/// The limits and defaults, each as a constant.
pub mod defaults {
    pub use crate::calls::MAX_IN_FLIGHT;
    pub use crate::settings::{
        COMEBACK_INTERVALS, DEFAULT_EXPIRY, DEFAULT_INTERVAL, DEFAULT_OFFER_TIMEOUT, HANDOVER_INTERVALS,
        JITTER, LOOKS_PER_INTERVAL, MAX_EXPIRY, MIN_EXPIRY_PER_INTERVAL,
    };
    pub use crate::tempo::{CALM_AFTER, MAX_CALM_INTERVALS, RAMP_FLEET};
}
