//! The facade against the emulator.

mod assignment;
mod balancing;
mod callbacks;
mod checkpoints;
mod ownership;
mod positions;
mod support;
