//! One AMQP connection: its sessions, its tokens, and the requests that are made over it.

pub(crate) mod cbs;
pub(crate) mod engine;
pub(crate) mod library_error;
pub(crate) mod library_value;
pub(crate) mod management;
pub(crate) mod requests;
pub(crate) mod session;
pub(crate) mod shared;
