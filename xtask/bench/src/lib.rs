//! What receiving costs, for us and for others: `cargo xtask bench receive`.

pub mod amqp;
pub mod clock;
pub mod contest;
mod histogram;
pub mod machine;
pub mod meter;
pub mod reader;
pub mod replayer;
pub mod template;
