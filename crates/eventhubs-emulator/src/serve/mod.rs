//! What serves clients: connections, sessions and links in tasks, the nodes of requests, and who is connected. No byte of a frame is
//! known here.

pub(crate) mod broker;
pub(crate) mod cbs;
pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod context;
pub(crate) mod farewell;
pub(crate) mod filter;
pub(crate) mod intercept;
pub(crate) mod link;
pub(crate) mod management;
pub(crate) mod node;
pub(crate) mod peers;
pub(crate) mod producer;
pub(crate) mod reading;
pub(crate) mod replies;
pub(crate) mod request_log;
pub(crate) mod response;
pub(crate) mod sasl;
pub(crate) mod session;
pub(crate) mod stop;
