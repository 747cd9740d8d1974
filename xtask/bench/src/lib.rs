//! What receiving costs, for us and for others: `cargo xtask bench receive`; what slow handlers and idle receivers cost: `bench
//! slow`, `bench idle`; and what the emulator costs: `bench emulator`.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "statistics of one run, and counters of the wire that wrap by its rules"
)]

pub mod amqp;
pub mod clock;
pub mod common;
pub mod contest;
pub mod emulator;
mod histogram;
pub mod idle;
pub mod machine;
mod median;
pub mod meter;
pub mod reader;
pub mod replayer;
pub mod slow;
pub mod template;
