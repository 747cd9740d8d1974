//! What unit tests and fuzz targets share: peers that are told what to say, and what the AMQP library makes
//! of a message.

pub(crate) mod library_message;
pub(crate) mod oracle;
#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
pub(crate) mod plain_source;
#[cfg(test)]
pub(crate) mod raw_peer;
