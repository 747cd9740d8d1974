//! The load balancer against a store in memory, whole and broken, on a paused clock; and its plan, case by
//! case.

mod adaptive;
mod assignment;
mod delays;
mod faults;
mod faulty_store;
mod fleet;
mod handover;
mod hints;
mod plan_exhaustive;
mod plan_random;
mod plan_vectors;
mod rounds;
mod setup;
