//! One run of receiving: its options, and how it is awaited. [`ConsumerClient`](crate::ConsumerClient) makes
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::{PartitionId, StartingPosition};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::hooks::{Hooks, OnEvents, boxed1, boxed2, in_slot};
use crate::instance::Instance;
use crate::invalid_position::InvalidPosition;
use crate::options::Options;
use crate::policy::concurrency::Concurrency;
use crate::run::Run;
use crate::{
    CloseReason, Error, FailurePolicy, HandlerResult, PartitionContext, ReceiveReport, Result, defaults,
    runner,
};

mod policies;

/// A time limit that is practically unlimited, but within the range of the clock on every platform.
const NO_LIMIT: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Marks a [`Receive`] whose callback gets one event a call.
#[derive(Debug)]
pub enum Events {}

/// Marks a [`Receive`] whose callback gets several events per call.
#[derive(Debug)]
pub enum Batches {}

/// One run of receiving: set its options, then await it.
///
/// It ends with a [`ReceiveReport`] when the signal given to
/// [`with_graceful_shutdown`](Self::with_graceful_shutdown) comes or the bound of [`until`](Self::until) is reached, or
/// with an error when the very first contact shows that what the client was given cannot work: an event hub,
/// consumer group, partition or container that does not exist, a wrong key; or with
/// [`OwnerIdInUse`](crate::ErrorKind::OwnerIdInUse) when another live instance has its owner id; or with
/// [`Closed`](crate::ErrorKind::Closed) when the client is closed. Other errors go to
/// [`on_error`](Self::on_error) and are retried.
///
/// # Cancel safety
/// A run that is dropped is cut off like a process that crashed: no event is lost, but its partitions are
/// taken over only when their leases expire, and events after the last checkpoints are processed again.
/// Prefer [`with_graceful_shutdown`](Self::with_graceful_shutdown).
#[must_use = "receiving starts when this is awaited"]
pub struct Receive<M> {
    instance: Arc<Instance>,
    on_events: OnEvents,
    hooks: Hooks,
    options: Options,
    stop: BoxFuture<'static, ()>,
    mode: PhantomData<M>,
}

impl<M> Receive<M> {
    fn new(instance: Arc<Instance>, on_events: OnEvents) -> Self {
        let options = Options {
            partition: None,
            starting_position: StartingPosition::default(),
            starting_positions: BTreeMap::new(),
            owner_level: None,
            prefetch: defaults::PREFETCH,
            prefetch_bytes: defaults::PREFETCH_BYTES,
            invalid_position: InvalidPosition::default(),
            track_last_enqueued: false,
            max_wait_time: None,
            max_batch_size: defaults::MAX_BATCH_SIZE,
            min_batch_size: 1,
            offer_timeout: defaults::OFFER_TIMEOUT,
            shutdown_timeout: defaults::SHUTDOWN_TIMEOUT,
            failure: FailurePolicy::default(),
            deadline: None,
            stall_after: defaults::STALL_AFTER,
            checkpoints: None,
            concurrency: Concurrency::default(),
            until: None,
        };
        let stop = futures::future::pending().boxed();
        Self { instance, on_events, hooks: Hooks::default(), options, stop, mode: PhantomData }
    }

    /// Where a partition without a checkpoint is read from. Default: [`StartingPosition::Latest`].
    ///
    /// With `Latest`, a balanced run writes the newest event at its first attach as the first checkpoint of a
    /// partition, so that nothing that comes after it is skipped, by this run or a later one of the group. A
    /// partition that the event hub gets during the run is read from its beginning.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).starting_position(StartingPosition::Earliest);
    /// # run(receive).await }
    /// ```
    pub fn starting_position(mut self, position: StartingPosition) -> Self {
        self.options.starting_position = position;
        self
    }

    /// Where one partition without a checkpoint is read from, instead of the common position.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client
    ///     .receive(handle)
    ///     .starting_position_of("0".parse()?, StartingPosition::from_sequence_number(0));
    /// # read(receive).await }
    /// ```
    pub fn starting_position_of(mut self, partition: PartitionId, position: StartingPosition) -> Self {
        self.options.starting_positions.insert(partition, position);
        self
    }

    /// Reads this one partition only, without load balancing; the store serves for checkpoints.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).partition_id("1".parse()?);
    /// # read(receive).await }
    /// ```
    pub fn partition_id(mut self, partition: PartitionId) -> Self {
        self.options.partition = Some(partition);
        self
    }

    /// The owner level (epoch) of the readers. Of two readers of a partition in a group the one with the
    /// higher level stays, of equal ones the later. A balanced run reads with level 0 unless this is set; a
    /// run on one partition reads without a level, alongside other readers.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).partition_id("1".parse()?).owner_level(7);
    /// # read(receive).await }
    /// ```
    pub fn owner_level(mut self, level: i64) -> Self {
        self.options.owner_level = Some(level);
        self
    }

    /// How many events the service may send ahead, per partition. Default: 300.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).prefetch(1_000);
    /// # read(receive).await }
    /// ```
    pub fn prefetch(mut self, events: u32) -> Self {
        self.options.prefetch = events;
        self
    }

    /// How many bytes of events there may be in memory per partition, in the callback or waiting for it.
    /// Default: 8 MiB. One event is always let through.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).prefetch_bytes(64 * 1024 * 1024);
    /// # read(receive).await }
    /// ```
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.options.prefetch_bytes = bytes;
        self
    }

    /// What to do when the service does not know the position of a checkpoint. Default:
    /// [`InvalidPosition::Retry`].
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).on_invalid_position(InvalidPosition::Earliest);
    /// # read(receive).await }
    /// ```
    pub fn on_invalid_position(mut self, policy: InvalidPosition) -> Self {
        self.options.invalid_position = policy;
        self
    }

    /// Whether the service reports the newest event of a partition with each event that it sends; see
    /// [`PartitionContext::last_enqueued_event_properties`].
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(|context, event| async move {
    ///     if let Some(newest) = context.last_enqueued_event_properties() {
    ///         let behind = newest.sequence_number.value() - event.sequence_number().value();
    ///         println!("partition {}: {behind} events behind", context.partition_id());
    ///     }
    ///     handle(context, event).await
    /// });
    /// let receive = receive.track_last_enqueued_event_properties(true);
    /// # read(receive).await }
    /// ```
    pub fn track_last_enqueued_event_properties(mut self, track: bool) -> Self {
        self.options.track_last_enqueued = track;
        self
    }

    /// How long a callback may still run after its partition was told to stop; then it is dropped at its next
    /// await. Default: 10 seconds; no limit with [`Duration::MAX`]. The partition is kept that long; if
    /// another eventhubs instance takes it anyway, that one waits for up to one load-balancing interval.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).shutdown_timeout(Duration::from_secs(5));
    /// # read(receive).await }
    /// ```
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.options.shutdown_timeout = limit.min(NO_LIMIT);
        self
    }

    /// How long a run that is told to stop continues to read while other eventhubs instances take over its
    /// partitions. Default: 12 seconds. What is not taken by then is released, as is all at once where no
    /// such instance runs, or with zero.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).offer_timeout(Duration::ZERO);
    /// # read(receive).await }
    /// ```
    pub fn offer_timeout(mut self, limit: Duration) -> Self {
        self.options.offer_timeout = limit.min(NO_LIMIT);
        self
    }

    /// Called before the first event of a partition, each time this instance begins to read it.
    ///
    /// An error is reported as one of the callback is: the partition is closed with
    /// [`HandlerFailed`](CloseReason::HandlerFailed), and after a growing pause it is opened and the hook
    /// called again.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).on_partition_initialize(|context| async move {
    ///     println!("reading partition {}", context.partition_id());
    ///     Ok(())
    /// });
    /// # read(receive).await }
    /// ```
    pub fn on_partition_initialize<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PartitionContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.hooks.initialize = Some(boxed1(hook));
        self
    }

    /// Called with each error; with the partition if it is the trouble of one partition, else with `None`.
    /// The run continues by itself. Errors are logged whether there is a hook or not. A partition waits for
    /// the hook, so a call that takes longer than the [`shutdown_timeout`](Self::shutdown_timeout) is
    /// dropped.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).on_error(|context, error| async move {
    ///     let partition = context.map(|context| context.partition_id().to_string());
    ///     eprintln!("partition {partition:?}, {:?}: {error}", error.kind());
    /// });
    /// # read(receive).await }
    /// ```
    pub fn on_error<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Option<PartitionContext>, Error) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.error = Some(boxed2(hook));
        self
    }

    /// Called after the last event of a partition, before others may read it. With [`CloseReason::Shutdown`]
    /// and [`CloseReason::HandedOver`] a checkpoint can still be written, as with every reason after which the partition
    /// is still owned.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).on_partition_close(|context, reason| async move {
    ///     println!("partition {} is closed: {reason:?}", context.partition_id());
    /// });
    /// # read(receive).await }
    /// ```
    pub fn on_partition_close<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PartitionContext, CloseReason) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.close = Some(boxed2(hook));
        self
    }

    /// Stops when `signal` completes: the partitions are offered to other instances and read on until each is
    /// taken over or [`offer_timeout`](Self::offer_timeout) is over. Then running callbacks finish, the links
    /// are detached, and the rest is released for other instances to take in their next round. Nothing is
    /// processed twice.
    ///
    /// With the defaults a stop takes at most 12 s for the offer, 10 s for callbacks, and 5 s to detach and
    /// release: 27 s, which fits into the 30 s that container platforms give to a process that ends. Whoever
    /// sets a longer [`shutdown_timeout`](Self::shutdown_timeout) also sets the grace period of the platform.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let stop = async {
    ///     // tokio::signal::ctrl_c(), or SIGTERM: see the example graceful_shutdown
    /// };
    /// client.receive(handle).with_graceful_shutdown(stop).await?;
    /// # Ok(()) }
    /// ```
    pub fn with_graceful_shutdown(mut self, signal: impl Future + Send + 'static) -> Self {
        self.stop = signal.map(drop).boxed();
        self
    }

    fn validate(&self) -> Result<()> {
        self.options.mistake().map_or(Ok(()), |mistake| Err(Error::invalid(mistake)))
    }
}

impl Receive<Events> {
    pub(crate) fn each<F, Fut>(instance: Arc<Instance>, on_event: F) -> Self
    where
        F: Fn(PartitionContext, ReceivedEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        Self::new(instance, OnEvents::Each { event: in_slot(on_event), idle: None })
    }

    /// Calls `on_idle` whenever a partition had no event for `limit`.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(handle).max_wait_time(Duration::from_secs(30), |context| async move {
    ///     println!("partition {} has been idle for 30 seconds", context.partition_id());
    ///     Ok(())
    /// });
    /// # read(receive).await }
    /// ```
    pub fn max_wait_time<F, Fut>(mut self, limit: Duration, on_idle: F) -> Self
    where
        F: Fn(PartitionContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.options.max_wait_time = Some(limit);
        if let OnEvents::Each { idle, .. } = &mut self.on_events {
            *idle = Some(boxed1(on_idle));
        }
        self
    }
}

impl Receive<Batches> {
    pub(crate) fn batches<F, Fut>(instance: Arc<Instance>, on_batch: F) -> Self
    where
        F: Fn(PartitionContext, Vec<ReceivedEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        Self::new(instance, OnEvents::Batch(in_slot(on_batch)))
    }

    /// How many events one call gets at most. Default: 300. A batch is what has arrived: a call does not wait
    /// for a full one, unless [`min_batch_size`](Self::min_batch_size) says so.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive_batch(handle_batch).max_batch_size(50);
    /// # read(receive).await }
    /// ```
    pub fn max_batch_size(mut self, events: usize) -> Self {
        self.options.max_batch_size = events;
        self
    }

    /// Calls back with an empty batch whenever a partition had no event for `limit`.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive_batch(handle_batch).max_wait_time(Duration::from_secs(30));
    /// # read(receive).await }
    /// ```
    pub fn max_wait_time(mut self, limit: Duration) -> Self {
        self.options.max_wait_time = Some(limit);
        self
    }
}

#[cfg(feature = "testkit")]
impl<M> Receive<M> {
    /// The run that this would be, for a test that drives its pumps itself.
    pub(crate) fn into_run(self) -> Result<Run> {
        self.validate()?;
        Ok(Run::new(self.instance, self.on_events, self.hooks, self.options))
    }
}

impl<M> IntoFuture for Receive<M> {
    type Output = Result<ReceiveReport>;
    type IntoFuture = BoxFuture<'static, Result<ReceiveReport>>;

    fn into_future(self) -> Self::IntoFuture {
        let valid = self.validate();
        let run = Arc::new(Run::new(self.instance, self.on_events, self.hooks, self.options));
        let stop = self.stop;
        async move {
            valid?;
            runner::receive(run, stop).await
        }
        .boxed()
    }
}

impl<M> fmt::Debug for Receive<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receive")
            .field("instance", &self.instance)
            .field("hooks", &self.hooks)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
