//! Nothing that the check of frames lets through makes the AMQP library panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventhubs_amqp::fuzzing::library(bytes));
