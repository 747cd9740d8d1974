//! An embedded emulator of Azure Event Hubs: an AMQP 1.0 broker in the process, on a loopback port.
//!
//! It speaks to the official SDKs of all languages: claims-based security, `$management`, receivers with filters, credit
//! and owner levels, producers with partition keys and batches. Events live in memory, or in a folder. It needs no container
//! and starts in milliseconds; it is made for tests, examples and development, not for data that matters.
//!
//! Features: `tls` lets clients speak TLS on the same port, with a certificate made at start; `websocket` lets them wrap
//! AMQP in a WebSocket there; `persistence` keeps events in a folder.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eventhubs_emulator::Result<()> {
//! use eventhubs_emulator::Emulator;
//!
//! let emulator = Emulator::builder().event_hub("orders", 4).start().await?;
//! emulator.publish_to("orders", "2", ["tea", "coffee"])?;
//! assert_eq!(emulator.partition("orders", "2")?.event_count, 2);
//! emulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod auth;
mod builder;
mod clock;
mod codec;
mod condition;
mod emulator;
mod error;
mod event;
mod hub;
mod serve;
mod sync;
mod transport;
mod wire;

pub use api::fault::Fault;
pub use api::inspect::{
    AttachedReceiver, ConnectedClient, EventHubProperties, PartitionProperties, PublishedEvent,
};
pub use api::schedule::{Schedule, ScheduleSettings};
pub use builder::Builder;
pub use emulator::Emulator;
pub use error::{Error, ErrorKind, Result};
pub use hub::faults::Throttle;
pub use serve::intercept::{Request, RequestKind, Verdict};
pub use serve::request_log::ReceivedRequest;
pub use transport::hosts::AllowedHosts;
