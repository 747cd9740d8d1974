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

mod address;
mod admin;
mod attaching;
mod broker;
mod builder;
mod cbs;
mod clock;
mod condition;
mod connection;
mod consumer_link;
#[cfg(feature = "persistence")]
mod disk;
mod emulator;
mod encoded;
mod error;
mod fault;
mod faults;
mod filter;
mod frame;
mod frame_writer;
mod hosts;
mod hub;
mod hubs;
mod inspect;
mod intercept;
mod late;
mod line;
mod link;
mod link_ends;
mod log;
mod management;
mod message;
mod nesting;
mod node;
mod offset;
mod outbox;
mod pace;
mod partition_key;
mod peers;
mod producer_link;
mod readers;
mod reading;
mod receiving_link;
mod request;
mod requests;
mod retention;
mod sas;
mod sasl;
mod schedule;
mod sections;
mod sending_link;
mod session;
mod session_flow;
mod stop;
mod storage;
mod tap;
#[cfg(feature = "tls")]
mod tls;
mod transfers;
mod transport;
mod trouble;
mod value;
#[cfg(feature = "websocket")]
mod websocket;
mod wire;

pub use builder::Builder;
pub use emulator::Emulator;
pub use error::{Error, ErrorKind, Result};
pub use fault::Fault;
pub use hosts::AllowedHosts;
pub use inspect::{
    AttachedReceiver, ConnectedClient, EventHubProperties, PartitionProperties, PublishedEvent,
};
pub use intercept::{Request, RequestKind, Verdict};
pub use requests::ReceivedRequest;
pub use schedule::{Schedule, ScheduleSettings};
pub use trouble::Throttle;
