//! AMQP values as bytes.

pub(crate) mod encoded;
pub(crate) mod library_value;
