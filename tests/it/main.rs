//! The whole product, and foreign SDKs, against the emulator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what is measured is read with `--nocapture`")]

mod bad_input;
mod broker_faults;
mod deploys;
mod every_store;
mod exactly_once;
mod fail_over;
mod handlers;
mod health;
mod misuse;
mod odd_bodies;
mod proxies;
mod schedules;
mod small_fleet;
mod store_outage;
mod take_over;
mod tls;
mod two_languages;
mod witnesses;
mod zombie;
