//! The options of a run that say how events are handled: failures, deadlines, checkpoints, and order. What each does is
//! in `policy/`.

use std::hash::Hash;
use std::time::Duration;

use eventhubs_amqp::ReceivedEvent;

use super::{Batches, Events, Receive};
use crate::{CheckpointPolicy, FailurePolicy, Until};

impl<M> Receive<M> {
    /// Sets what becomes of an event whose callback fails. Default: the callback is called with the same event again,
    /// forever, with exponential backoff; see [`FailurePolicy`].
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// use eventhubs::{FailurePolicy, GiveUp};
    ///
    /// let policy = FailurePolicy::default().attempts(5).then(GiveUp::Skip);
    /// let receive = client.receive(handle).on_failure(policy);
    /// # read(receive).await }
    /// ```
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.options.failure = policy;
        self
    }

    /// Sets how long one call of the callback may take. Default: no limit.
    ///
    /// A call that takes longer is dropped at its next await, and counts as failed with
    /// [`Timeout`](crate::ErrorKind::Timeout). One that blocks its thread cannot be dropped; it is reported in the log
    /// after 5 seconds.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).deadline(Duration::from_secs(30));
    /// # read(receive).await }
    /// ```
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.options.deadline = Some(limit);
        self
    }

    /// Sets after which time a call of the callback or of a hook counts as stalled. Default: 5 minutes.
    ///
    /// A stall is logged as a warning with its partition and sequence number, told to
    /// [observers](crate::observe::Observer), and shown by the [status](crate::ConsumerClient::status), where it makes
    /// [`is_alive`](crate::Status::is_alive) `false` after a time. The call itself continues; a
    /// [`deadline`](Self::deadline) ends it.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).stall_after(Duration::from_secs(60));
    /// # read(receive).await }
    /// ```
    pub fn stall_after(mut self, limit: Duration) -> Self {
        self.options.stall_after = limit;
        self
    }

    /// Sets when checkpoints are written without a call of
    /// [`update_checkpoint`](crate::PartitionContext::update_checkpoint). Default: never, except with a
    /// [`concurrency`](Receive::concurrency) of more than one, where it is every 10 seconds.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// use eventhubs::CheckpointPolicy;
    ///
    /// let policy = CheckpointPolicy::every(Duration::from_secs(10)).or_events(1_000);
    /// let receive = client.receive(import).checkpoint(policy);
    /// # read(receive).await }
    /// ```
    pub fn checkpoint(mut self, policy: CheckpointPolicy) -> Self {
        self.options.checkpoints = Some(policy);
        self
    }
}

impl<M> Receive<M> {
    /// Ends the run when its partitions are read up to a bound. Default: it runs until it is told to stop.
    ///
    /// A partition that is there is closed with [`CloseReason::Bounded`](crate::CloseReason::Bounded), after the calls
    /// that are under way, with a last checkpoint where a [policy](Self::checkpoint) writes them. It stays owned and is
    /// not opened again. When all are there, the run releases them and ends; the [`ReceiveReport`](crate::ReceiveReport)
    /// says how far it got. A partition that is there from the beginning, since it is empty or its checkpoint is at the
    /// bound, ends at once.
    ///
    /// Each event up to the bound is handled as in any run: a failed one is retried, and the run does not end before it
    /// is handled or given up. Partitions that the event hub gets during the run are not read.
    ///
    /// It works with a [`partition_id`](Self::partition_id), with a fixed
    /// [assignment](crate::ConsumerClientBuilder::assignment), and with one balanced instance. Where another live
    /// instance owns one of the partitions, at the start or later, the run ends with
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).starting_position(StartingPosition::Earliest);
    /// let report = receive.until(Until::now()).await?;
    /// assert!(report.is_complete());
    /// # Ok(()) }
    /// ```
    pub fn until(mut self, until: Until) -> Self {
        self.options.until = Some(until);
        self
    }
}

impl Receive<Events> {
    /// Sets how many calls of the callback there may be at once per partition. Default: 1.
    ///
    /// With more than one, [`keyed_by`](Self::keyed_by) or [`unordered`](Self::unordered) says which events are kept in
    /// order, and checkpoints are written by a [policy](Receive::checkpoint): never beyond an event that is not
    /// handled, with all those before it. [`update_checkpoint`](crate::PartitionContext::update_checkpoint) is refused.
    ///
    /// Calls that wait cost a task each; calls that compute for longer than some microseconds run on the cores that the runtime
    /// has.
    ///
    /// A clean stop and a hand-over finish what was begun, so that nothing comes twice. After a crash, what was handled
    /// beyond the checkpoint comes again: what [`max_ahead`](Self::max_ahead) allows, and what the policy had not
    /// written.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client
    ///     .receive(import)
    ///     .concurrency(16)
    ///     .keyed_by(|event| event.partition_key().map(str::to_owned));
    /// # read(receive).await }
    /// ```
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.options.concurrency.calls = calls;
        self
    }

    /// Handles events with equal keys one after the other, in the order of their partition; see
    /// [`concurrency`](Self::concurrency). An event that fails holds up only those with the same key.
    ///
    /// A key is what two events must not overtake each other for, for example the number of an order. It is computed
    /// once per event.
    pub fn keyed_by<K: Hash>(mut self, key: impl Fn(&ReceivedEvent) -> K + Send + Sync + 'static) -> Self {
        self.options.concurrency.keyed_by(key);
        self
    }

    /// Handles events in any order; see [`concurrency`](Self::concurrency).
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(import).concurrency(4).unordered();
    /// # read(receive).await }
    /// ```
    pub fn unordered(mut self) -> Self {
        self.options.concurrency.unordered();
        self
    }

    /// Sets how many events of a partition may be in memory, from the lowest one that is not handled on, with a
    /// [`concurrency`](Self::concurrency) of more than one. Default: 1,000 events.
    ///
    /// It bounds the memory, and what comes again after a crash. While an event that fails is retried, the others of
    /// its partition continue only as far as this allows; limit its [`attempts`](FailurePolicy::attempts) if it must
    /// not hold them. [`prefetch_bytes`](Receive::prefetch_bytes) limits the same events by their bytes.
    pub fn max_ahead(mut self, events: usize) -> Self {
        self.options.concurrency.max_ahead = events;
        self
    }
}

impl Receive<Batches> {
    /// Sets how many events a call waits for. Default: 1, so that a call gets what has arrived.
    ///
    /// The callback is called as soon as this many events have arrived, or
    /// [`max_wait_time`](Receive::max_wait_time) after the first of them. That has to be set. With
    /// `min_batch_size` equal to [`max_batch_size`](Receive::max_batch_size), both mean what `receive_batch` of the
    /// SDK for Python means by them.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive_batch(handle_batch).min_batch_size(100).max_wait_time(Duration::from_secs(1));
    /// # read(receive).await }
    /// ```
    pub fn min_batch_size(mut self, events: usize) -> Self {
        self.options.min_batch_size = events;
        self
    }
}
