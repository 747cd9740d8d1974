//! What arrives at the exporters of the SDK, of clients that read an emulated event hub.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "the counts of a test are small and exact"
)]

mod exported;
mod foreign;
mod metrics;
mod secrets;
mod spans;
