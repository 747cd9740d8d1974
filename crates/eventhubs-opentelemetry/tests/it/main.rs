//! What arrives at the exporters of the SDK, of clients that read an emulated event hub.

mod exported;
mod metrics;
mod spans;
