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
//! The feature `producer` adds a small sender, for tools, tests and dead letters.
//!
//! # Recovery
//!
//! All partitions of a client share one connection; each has a link, and a session, of its own. When any of
//! them is lost, a [`PartitionReceiver`] makes a new one and resumes after the last event that it handed out:
//! no gap and no repeat. Only what cannot be recovered from is final: a partition taken by another receiver
//! ([`ErrorKind::OwnershipLost`]), a credential that is refused twice, something that does not exist. An
//! outage that outlasts the [`RetryPolicy`] is reported, and the receiver continues when it is asked again.
//!
//! # Cancel safety
//!
//! Every future of this crate can be dropped at any await, as `select!` does: no event is lost, no link stays
//! behind, and a recovery that is under way continues. Each function documents what a drop means in detail.
//!
//! # Limits
//!
//! | What | Limit | When it is passed |
//! |---|---|---|
//! | events sent ahead, per partition | [`prefetch`](PartitionReceiverBuilder::prefetch), 300 | the service waits |
//! | frame, message | 64 KiB, 20 MiB | the connection ends |
//! | nesting of a value, elements of a collection | 32, 65 536 | the connection ends |
//! | connect, attach, request | [`try_timeout`](RetryPolicy::try_timeout), 60 s | the connection is re-established |
//! | detach, end, close | 5 s | the connection ends |
//! | silence of the service | 60 s | the connection is re-established |
//!
//! No text of an error, a log or a `Debug` holds a key, a token or the body of an event.

mod client;
mod config;
mod connection;
mod event;
mod link;
#[cfg(feature = "producer")]
mod producer;
mod receiver;
mod receiver_builder;
mod recovery;
mod runtime;
mod tap;
#[cfg(any(test, fuzzing))]
mod testing;
mod transport;

pub use client::{EventHubClient, EventHubClientBuilder};
pub use config::connection_string::ConnectionString;
pub use config::options::ConnectionOptions;
pub use config::properties::{EventHubProperties, PartitionProperties};
pub use config::token_credential::{AccessToken, TokenCredential, TokenError};
pub use event::attributes::LastEnqueuedEventProperties;
pub use event::raw_message::{RawMessage, Section};
pub use event::received::ReceivedEvent;
pub use event::trace_context::TraceContext;
#[cfg(feature = "producer")]
pub use producer::Producer;
pub use receiver::PartitionReceiver;
pub use receiver_builder::PartitionReceiverBuilder;
pub use recovery::error::{Error, Result};
pub use recovery::kind::ErrorKind;
pub use recovery::retry::RetryPolicy;

/// What the fuzz targets call; see `tests/fuzz`.
#[cfg(fuzzing)]
#[doc(hidden)]
#[allow(missing_docs, reason = "nobody else sees it")]
pub mod fuzzing {
    pub fn message(bytes: &[u8]) {
        crate::testing::oracle::agree(bytes);
    }

    pub fn library(bytes: &[u8]) {
        crate::testing::oracle::decode_what_is_let_through(bytes);
    }

    pub fn stream(bytes: &[u8]) {
        crate::tap::fuzz(bytes);
    }
}
