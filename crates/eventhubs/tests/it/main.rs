//! The facade against the emulator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancing;
mod callbacks;
mod checkpoints;
mod positions;
mod support;
