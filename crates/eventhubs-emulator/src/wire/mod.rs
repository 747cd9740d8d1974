//! The stream under the AMQP library, and what it does by itself: messages, credit and flow control. Nothing here knows an event hub.

pub(crate) mod attaching;
pub(crate) mod frame;
pub(crate) mod frame_writer;
pub(crate) mod inspector;
pub(crate) mod late_detaches;
pub(crate) mod link_ends;
pub(crate) mod numbers;
pub(crate) mod outbox;
pub(crate) mod pace;
pub(crate) mod receiving_link;
pub(crate) mod sending_link;
pub(crate) mod session_flow;
pub(crate) mod shared;
pub(crate) mod stream;
pub(crate) mod transfers;
