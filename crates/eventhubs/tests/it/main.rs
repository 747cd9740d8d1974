//! The facade against the emulator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod assignment;
mod balancing;
mod blocking;
mod bounded;
mod bounded_fleet;
mod callbacks;
mod checkpoint_policy;
mod checkpoints;
mod concurrency;
mod credentials;
mod dead_letters;
mod failure_policy;
mod faulty_store;
mod groups;
mod handover;
mod log;
mod logs;
mod odd_answers;
mod optional_operations;
mod ownership;
mod positions;
mod recreation;
mod reports;
mod resuming;
mod seek;
mod sending;
mod status;
mod support;
