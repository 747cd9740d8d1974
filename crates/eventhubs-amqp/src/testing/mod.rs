//! What unit tests and fuzz targets share: peers that are told what to say, and what the AMQP library makes of a message.

pub(crate) mod oracle;
#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
pub(crate) mod raw_peer;
