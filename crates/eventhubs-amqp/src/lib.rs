//! AMQP 1.0 consumer for Azure Event Hubs: from a connection string to the events of one partition.
//!
//! ```
//! use eventhubs_amqp::{ConnectionString, EventHubClient};
//! use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
//! # use eventhubs_emulator::Emulator;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let emulator = Emulator::builder().event_hub("readings", 1).start().await?;
//! # emulator.publish_to("readings", "0", ["21.5 °C", "21.7 °C"])?;
//! # let text = emulator.connection_string("readings");
//! let client = EventHubClient::builder(ConnectionString::parse(&text)?).build()?;
//! let mut receiver = client
//!     .partition_receiver(ConsumerGroup::default(), PartitionId::new("0")?)
//!     .starting_position(StartingPosition::Earliest)
//!     .open()
//!     .await?;
//! for event in receiver.receive_batch(100, None).await? {
//!     println!("#{} {}", event.sequence_number(), event.body_as_str()?);
//! }
//! receiver.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! All partitions of a client share one connection; each has a link, and a session, of its own. What comes in is checked
//! before it is decoded, what waits for the service is bounded in time, and no text of an error or a log holds a secret.

mod ambient;
mod attempts;
mod cbs;
mod client;
mod connection;
mod connection_string;
mod credential;
mod decode;
mod engine;
mod error;
mod event;
mod filter;
mod frame;
mod link;
mod management;
mod message;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod raw_peer;
mod receiver;
mod receiver_builder;
mod recovery;
mod request;
mod retry;
mod scan;
mod session;
mod source;
mod stream;
mod tap;
mod tap_source;
#[cfg(test)]
mod tap_tests;
mod task;
mod transport;
mod value;
mod wire;
mod wire_error;

pub use client::{EventHubClient, EventHubClientBuilder, EventHubProperties, PartitionProperties};
pub use connection_string::ConnectionString;
pub use error::{Error, ErrorKind, Result};
pub use event::{LastEnqueuedEventProperties, ReceivedEvent};
pub use receiver::PartitionReceiver;
pub use receiver_builder::PartitionReceiverBuilder;
pub use retry::RetryPolicy;
