//! Whatever a peer sends, and in whatever pieces: only whole and sound frames reach the AMQP library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventhubs_amqp::fuzzing::stream(bytes));
