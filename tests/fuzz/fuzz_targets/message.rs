//! A message is the same event to us and to the AMQP library, or one that cannot be decoded.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventhubs_amqp::fuzzing::message(bytes));
