//! The link to one partition: how it is attached, and where its events come from.

pub(crate) mod attach;
pub(crate) mod filter;
pub(crate) mod source;
pub(crate) mod tap_source;
