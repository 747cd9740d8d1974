//! Event processor for Azure Event Hubs.
//!
//! Write a callback, run as many instances of the program as you like, and they share the partitions of the
//! event hub out among themselves through a [`CheckpointStore`]. Begin with [`ConsumerClient`].
//!
//! ```
//! # async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use eventhubs::{ConsumerClient, StartingPosition};
//! use eventhubs_emulator::Emulator;
//!
//! let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
//! emulator.publish("orders", ["tea", "coffee", "mate"])?;
//!
//! let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;
//! let (batches, mut received) = tokio::sync::mpsc::channel(8);
//! let stop = async move {
//!     let mut events = 0;
//!     while events < 3 {
//!         events += received.recv().await.unwrap_or(3);
//!     }
//! };
//! client
//!     .receive_batch(move |context, events| {
//!         let batches = batches.clone();
//!         async move {
//!             if let Some(last) = events.last() {
//!                 context.update_checkpoint(last).await?;
//!             }
//!             batches.send(events.len()).await?;
//!             Ok(())
//!         }
//!     })
//!     .starting_position(StartingPosition::Earliest)
//!     .on_error(|context, error| async move { eprintln!("{context:?}: {error}") })
//!     .with_graceful_shutdown(stop)
//!     .await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # What happens to an event
//!
//! It is handed to the callback at least once as long as the event hub keeps it, in the order of its partition, and one
//! call at a time unless a [concurrency](Receive::concurrency) is set. It comes again while its callback fails, as the
//! [failure policy](FailurePolicy) says, and after a crash, a change of owner or a panic, if it is after the last
//! checkpoint: that of [`update_checkpoint`](PartitionContext::update_checkpoint), or of a [policy](CheckpointPolicy).
//! After a [graceful stop](Receive::with_graceful_shutdown) nothing comes again that was checkpointed.
//!
//! # Who reads what
//!
//! Each instance looks at the records of the store every
//! [interval](ConsumerClientBuilder::load_balancing_interval), renews what it owns, and takes what it is short of. What an
//! instance has not renewed for the
//! [expiry](ConsumerClientBuilder::partition_ownership_expiration_interval) may be taken by others. While the store is
//! down, reading continues until the leases run out, and checkpoints are
//! [pending](CheckpointStatus::Pending).
//!
//! # Features
//!
//! `producer` adds [`ProducerClient`](https://docs.rs/eventhubs/latest/eventhubs/struct.ProducerClient.html),
//! which sends events, and
//! [`HubDeadLetters`](https://docs.rs/eventhubs/latest/eventhubs/struct.HubDeadLetters.html), which keeps dead
//! letters in another event hub; `websocket` adds AMQP in a WebSocket and through HTTP proxies. Both are off by default.
//!
//! `ring`, which is on, and `aws-lc-rs` choose the cryptography of TLS to the event hub. A process that has
//! installed a default provider of rustls, for FIPS for example, uses that one.
//!
//! # Cancel safety
//!
//! Every future of this crate may be dropped at any time without loss; each of them documents what a drop
//! leaves undone.

mod ambient;
mod board;
mod checkpointer;
mod client;
mod context;
pub mod dead_letters;
pub mod defaults;
mod error;
mod exit;
mod gauges;
mod guarded_store;
mod handler;
mod hooks;
mod instance;
mod invalid_position;
mod log;
mod lookups;
pub mod observe;
mod observers;
mod opening;
mod options;
mod pacing;
mod policy;
mod processor;
#[cfg(feature = "producer")]
mod producer;
mod pump;
pub mod receive;
mod remaining;
mod reminder;
mod report;
mod run;
mod runner;
mod snapshot;
mod source;
pub mod status;
#[cfg(feature = "testkit")]
#[doc(hidden)]
pub mod testing;
mod thefts;
mod watchdog;

pub use checkpointer::CheckpointStatus;
pub use client::{ConsumerClient, ConsumerClientBuilder};
pub use context::PartitionContext;
#[cfg(feature = "producer")]
pub use dead_letters::HubDeadLetters;
pub use dead_letters::{DeadLetter, DeadLetterSink, FileDeadLetters};
pub use error::{Error, ErrorKind, HandlerError, HandlerResult, Result};
pub use eventhubs_amqp::{
    AccessToken, ConnectionOptions, EventHubProperties, LastEnqueuedEventProperties, PartitionProperties,
    RawMessage, ReceivedEvent, RetryPolicy, Section, TokenCredential, TokenError, TraceContext,
};
pub use eventhubs_checkpoint_store::{CheckpointStore, MemoryCheckpointStore};
pub use eventhubs_load_balancer::{Assignment, Strategy};
pub use eventhubs_types::{
    ConsumerGroup, ConsumerScope, EventBody, EventData, EventHubName, Namespace, Offset, OwnerId,
    PartitionId, SequenceNumber, StartingPosition, Value,
};
pub use handler::EventHandler;
pub use hooks::CloseReason;
pub use invalid_position::InvalidPosition;
pub use policy::checkpoints::CheckpointPolicy;
pub use policy::failure::{BatchFailed, FailurePolicy, GiveUp, Poison};
pub use policy::until::Until;
#[cfg(feature = "producer")]
pub use producer::{ProducerClient, ProducerClientBuilder};
pub use receive::Receive;
pub use report::{PartitionReport, ReceiveReport};
pub use status::{HeldBy, Status};

/// What a checkpoint store of your own is made of: the trait [`CheckpointStore`], its arguments and outcomes,
/// and its error.
pub mod store {
    pub use eventhubs_checkpoint_store::{
        Audience, BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome,
        DeleteOutcome, Error, ErrorKind, Expected, FenceToken, Fenced, Hint, Mark, MemoryCheckpointStore,
        Ownership, OwnershipList, RejectedRecord, Result, TransactionalCheckpoint, Version, async_trait,
    };
}

/// The example of the README, which runs against the emulator.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
