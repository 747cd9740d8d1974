//! An encoded message as an event, read on demand. Nothing here knows the AMQP library.

pub(crate) mod attributes;
mod descriptor;
pub(crate) mod message;
pub(crate) mod position;
pub(crate) mod raw_message;
pub(crate) mod reader;
pub(crate) mod received;
pub(crate) mod trace_context;
