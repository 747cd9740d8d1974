//! What a client is told: how the service is reached, and what proves that it may read.

pub(crate) mod connection_string;
pub(crate) mod credential;
pub(crate) mod endpoint;
pub(crate) mod options;
pub(crate) mod properties;
#[cfg(feature = "websocket")]
pub(crate) mod proxy;
pub(crate) mod token_credential;
