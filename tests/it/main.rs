//! Everything together: the processor, the emulator, the stores, and foreign SDKs as witnesses.

mod bad_input;
mod broker_faults;
mod store_outage;
mod two_languages;
mod two_processes;
