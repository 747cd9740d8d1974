//! Event processor for Azure Event Hubs.
//!
//! Write a callback, run as many instances of the program as you like, and they share the partitions of the event hub
//! out among themselves through a [`CheckpointStore`]. See [`ConsumerClient`].

mod checkpointer;
mod client;
mod context;
mod error;
mod hooks;
mod pacing;
mod processor;
mod pump;
mod receive;
mod run;

pub use client::{ConsumerClient, ConsumerClientBuilder};
pub use context::PartitionContext;
pub use error::{Error, ErrorKind, HandlerError, HandlerResult, Result};
pub use eventhubs_amqp::{
    EventHubProperties, LastEnqueuedEventProperties, PartitionProperties, ReceivedEvent, RetryPolicy,
};
pub use eventhubs_checkpoint_store::{CheckpointStore, MemoryCheckpointStore};
pub use eventhubs_load_balancer::{Assignment, Strategy};
pub use eventhubs_types::{
    ConsumerGroup, ConsumerScope, EventBody, EventHubName, Namespace, Offset, OwnerId, PartitionId,
    SequenceNumber, StartingPosition, Value,
};
pub use hooks::CloseReason;
pub use receive::{Batches, Events, Receive};

/// The example of the README, which runs against the emulator.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
