//! The whole product, and foreign SDKs, against the emulator.

mod bad_input;
mod broker_faults;
mod store_outage;
mod two_languages;
mod two_processes;
