//! Events as the bytes that came: their sections, and what the broker adds.

pub(crate) mod message;
pub(crate) mod offset;
pub(crate) mod sections;
