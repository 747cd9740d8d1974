//! The facade against the emulator.

mod balancing;
mod callbacks;
mod checkpoints;
mod positions;
mod support;
