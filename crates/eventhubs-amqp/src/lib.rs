//! AMQP 1.0 consumer for Azure Event Hubs: from a connection string to the events of one partition.
//!
//! ```no_run
//! use eventhubs_amqp::{ConnectionString, EventHubClient};
//! use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
//!
//! # async fn run(text: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let client = EventHubClient::builder(ConnectionString::parse(text)?).build()?;
//! let mut receiver = client
//!     .partition_receiver(ConsumerGroup::default(), PartitionId::new("0")?)
//!     .starting_position(StartingPosition::Earliest)
//!     .open()
//!     .await?;
//! for event in receiver.receive_batch(100, None).await? {
//!     println!("#{} {}", event.sequence_number(), event.body_as_str()?);
//! }
//! # Ok(())
//! # }
//! ```

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
mod receiver;
mod receiver_builder;
mod recovery;
mod request;
mod retry;
mod scan;
mod session;
mod source;
mod stream;
mod task;
mod transport;
mod value;
mod wire_error;

pub use client::{EventHubClient, EventHubClientBuilder, EventHubProperties, PartitionProperties};
pub use connection_string::ConnectionString;
pub use error::{Error, ErrorKind, Result};
pub use event::{LastEnqueuedEventProperties, ReceivedEvent};
pub use receiver::PartitionReceiver;
pub use receiver_builder::PartitionReceiverBuilder;
pub use retry::RetryPolicy;
