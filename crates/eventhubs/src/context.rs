//! What a callback gets besides the event: its partition, checkpoints, pause and resume, seek.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eventhubs_amqp::{LastEnqueuedEventProperties, ReceivedEvent};
use eventhubs_checkpoint_store::{CheckpointStore, TransactionalCheckpoint};
use eventhubs_types::{ConsumerGroup, ConsumerScope, EventHubName, Namespace, PartitionId, StartingPosition};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::checkpointer::{CheckpointStatus, Checkpointer};
use crate::defaults;
use crate::gauges::Gauges;
use crate::status::HeldBy;
use crate::{Error, ErrorKind, Result};

/// The partition that a callback is called for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PartitionContext {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    checkpointer: Checkpointer,
    gauges: Arc<Gauges>,
    last_enqueued: Mutex<Option<LastEnqueuedEventProperties>>,
    /// Asked for each event.
    is_paused: AtomicBool,
    resumed: Notify,
    sought: Sought,
    held_by: Mutex<Option<HeldBy>>,
    /// Whether several events of the partition are handled at once: then a callback does not know whether those before
    /// its own are handled.
    is_concurrent: bool,
}

/// Where the user wants to read on.
#[derive(Debug, Default)]
struct Sought {
    position: Mutex<Option<StartingPosition>>,
    /// Whether there is one: asked before each call, without the lock.
    is_there: AtomicBool,
    news: Notify,
}

impl PartitionContext {
    pub(crate) fn new(checkpointer: Checkpointer, gauges: Arc<Gauges>, is_concurrent: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                checkpointer,
                gauges,
                last_enqueued: Mutex::new(None),
                is_paused: AtomicBool::new(false),
                resumed: Notify::new(),
                sought: Sought::default(),
                held_by: Mutex::new(None),
                is_concurrent,
            }),
        }
    }

    /// A context for tests of a handler: its checkpoints go to this store. Events may be checkpointed in any
    /// order; a lower one than the last is [covered](crate::CheckpointStatus::Covered) by it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// use std::sync::Arc;
    ///
    /// use eventhubs::{CheckpointStore, ConsumerGroup, ConsumerScope, EventData, HandlerResult, MemoryCheckpointStore};
    /// use eventhubs::{PartitionContext, ReceivedEvent};
    ///
    /// async fn handle(context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
    ///     if event.body_as_str()?.starts_with("order") {
    ///         context.update_checkpoint(&event).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let namespace = "contoso.servicebus.windows.net".parse()?;
    /// let scope = ConsumerScope::new(namespace, "orders".parse()?, ConsumerGroup::default());
    /// let store = Arc::new(MemoryCheckpointStore::new());
    /// let context = PartitionContext::for_tests(Arc::clone(&store), scope.clone(), "0".parse()?);
    /// handle(context, ReceivedEvent::from_parts(EventData::new("order 1"), "4096", 7, None)).await?;
    /// let written = store.checkpoint(&scope, &"0".parse()?).await?.expect("a checkpoint");
    /// assert_eq!(written.sequence_number, Some(7.into()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_tests(store: impl CheckpointStore, scope: ConsumerScope, partition: PartitionId) -> Self {
        let gauges = Arc::new(Gauges::new(defaults::STALL_AFTER));
        let checkpointer = Checkpointer::new(Arc::new(store), scope, partition, None);
        checkpointer.accept_any_event();
        Self::new(checkpointer, gauges, false)
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.inner.gauges
    }

    /// Whether this is the same ownership of the same partition.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn checkpointer(&self) -> &Checkpointer {
        &self.inner.checkpointer
    }

    pub(crate) fn set_last_enqueued(&self, properties: LastEnqueuedEventProperties) {
        self.gauges().set_newest(properties.sequence_number);
        *self.inner.last_enqueued.lock().unwrap_or_else(PoisonError::into_inner) = Some(properties);
    }

    /// The host name of the namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.checkpointer().scope().namespace
    }

    /// The event hub.
    pub fn event_hub(&self) -> &EventHubName {
        &self.checkpointer().scope().event_hub
    }

    /// The consumer group.
    pub fn consumer_group(&self) -> &ConsumerGroup {
        &self.checkpointer().scope().consumer_group
    }

    /// The partition.
    pub fn partition_id(&self) -> &PartitionId {
        self.checkpointer().partition()
    }

    /// What the service last said about the newest event of the partition; `None` unless
    /// [`track_last_enqueued_event_properties`](crate::Receive::track_last_enqueued_event_properties) is on
    /// and an event has arrived.
    pub fn last_enqueued_event_properties(&self) -> Option<LastEnqueuedEventProperties> {
        self.inner.last_enqueued.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops delivering events of this partition until [`resume`](Self::resume). A running callback finishes.
    ///
    /// The partition stays owned, and the link open: what the service has sent ahead is kept, and no more is
    /// asked for. The pause survives a failed callback and ends when the ownership is lost.
    pub fn pause(&self) {
        self.inner.is_paused.store(true, Ordering::Release);
    }

    /// Continues after a [`pause`](Self::pause) where it stopped.
    pub fn resume(&self) {
        self.inner.is_paused.store(false, Ordering::Release);
        self.inner.resumed.notify_waiters();
    }

    /// Whether the partition is paused.
    pub fn is_paused(&self) -> bool {
        self.inner.is_paused.load(Ordering::Acquire)
    }

    /// Reads on at another position of this partition, earlier or later: the running call ends, the link is detached, and
    /// the next event is the first one at `position`. What was received and not handled is dropped.
    ///
    /// It may be called by the callback, by a hook, or by any task that has the context, also while no event comes. With a
    /// [`concurrency`](crate::Receive::concurrency) of more than one, the calls that are under way end first. The
    /// partition is closed with [`CloseReason::Sought`](crate::CloseReason::Sought) and initialized again, unless
    /// [`on_partition_initialize`](crate::Receive::on_partition_initialize) seeks: then it begins there. Of several
    /// positions, the last one counts that is given before the link is opened again.
    ///
    /// The checkpoint stays as it is until the next one, which may be lower. After a crash before that, or with a new
    /// owner, reading continues at the checkpoint. A store refuses a lower
    /// [`transactional_checkpoint`](Self::transactional_checkpoint) as that of an event that is done.
    ///
    /// A position that the service refuses is reported as
    /// [`InvalidPosition`](crate::ErrorKind::InvalidPosition), and reading continues where it was.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let receive = client.receive(|context, event| async move {
    ///     if event.body_as_str()? == "start over" {
    ///         context.seek(StartingPosition::Earliest)?;
    ///     }
    ///     handle(context, event).await
    /// });
    /// # read(receive).await }
    /// ```
    ///
    /// # Errors
    /// [`OwnershipLost`](crate::ErrorKind::OwnershipLost) when the partition is not owned, or is closed for good.
    pub fn seek(&self, position: StartingPosition) -> Result<()> {
        if !self.is_owned() {
            let error =
                Error::new(ErrorKind::OwnershipLost, "the position was refused: the partition is not owned");
            return Err(error.on_partition(self.partition_id()));
        }
        let sought = &self.inner.sought;
        let mut wanted = sought.position.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = Some(position);
        sought.is_there.store(true, Ordering::Release);
        drop(wanted);
        sought.news.notify_waiters();
        Ok(())
    }

    /// Whether reading is to continue elsewhere.
    pub(crate) fn is_sought(&self) -> bool {
        self.inner.sought.is_there.load(Ordering::Acquire)
    }

    /// Waits until reading is to continue elsewhere.
    pub(crate) async fn sought(&self) {
        let news = self.inner.sought.news.notified();
        // The waiter counts from its creation, so that no call of `seek` falls between the question and the wait.
        if !self.is_sought() {
            news.await;
        }
    }

    pub(crate) fn take_sought(&self) -> Option<StartingPosition> {
        let mut position = self.inner.sought.position.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.sought.is_there.store(false, Ordering::Release);
        position.take()
    }

    /// Returns the event that holds the partition, if one does. With a [`concurrency`](crate::Receive::concurrency) of
    /// more than one, an event that fails holds its partition only once [`max_ahead`](crate::Receive::max_ahead) is used
    /// up.
    pub fn held_by(&self) -> Option<HeldBy> {
        *self.inner.held_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_held_by(&self, event: Option<HeldBy>) {
        *self.inner.held_by.lock().unwrap_or_else(PoisonError::into_inner) = event;
    }

    /// Returns whether the partition is still owned, right now. Cheap: asks neither the store nor the service.
    ///
    /// A callback that takes long asks it between two steps, and stops where it is `false`: another instance may
    /// handle the same events by then.
    pub fn is_owned(&self) -> bool {
        self.checkpointer().is_owned()
    }

    /// Waits until the partition is not owned any more: another instance has it, or the lease could not be renewed in
    /// time. Also ends when the partition is closed for another reason.
    ///
    /// ```
    /// # use eventhubs::{HandlerResult, PartitionContext, ReceivedEvent};
    /// # async fn import(_: &ReceivedEvent) -> HandlerResult { Ok(()) }
    /// async fn handle(context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
    ///     tokio::select! {
    ///         imported = import(&event) => imported,
    ///         () = context.ownership_lost() => Err("the partition has another owner".into()),
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn ownership_lost(&self) {
        self.checkpointer().lost().cancelled().await;
    }

    /// Returns a token that is cancelled when [`ownership_lost`](Self::ownership_lost) ends, for libraries that take
    /// one.
    pub fn cancellation_token(&self) -> CancellationToken {
        self.checkpointer().lost().child_token()
    }

    pub(crate) async fn resumed(&self) {
        loop {
            // Registered before the look: a resume between the two would be missed otherwise.
            let resumed = self.inner.resumed.notified();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }

    /// Records that everything up to and including `event` is done: after a restart or a change of owner,
    /// reading continues after it.
    ///
    /// A checkpoint never moves backward: if a later event is recorded already, nothing is written.
    ///
    /// While the store cannot be reached, the checkpoint is [`Pending`](CheckpointStatus::Pending): the
    /// newest one is written as soon as the store is back, and at the latest before the partition is handed
    /// over. The first of them waits for the store for up to 5 seconds, the others do not wait. The result
    /// can be ignored.
    ///
    /// # Errors
    /// [`OwnershipLost`](crate::ErrorKind::OwnershipLost) when another instance owns the partition by now,
    /// [`Store`](crate::ErrorKind::Store) when the store refused the write for a reason that does not pass by
    /// itself, such as a wrong key. [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the event was
    /// not handed to the callback of this partition. With a [`concurrency`](crate::Receive::concurrency) of more than
    /// one it is always that, and a callback that returns it ends the run with it, since the next event would fare no
    /// better: [`Receive::checkpoint`](crate::Receive::checkpoint) says there what is written.
    ///
    /// # Cancel safety
    /// If dropped, the checkpoint may or may not have been written; the next update finds out.
    pub async fn update_checkpoint(&self, event: &ReceivedEvent) -> Result<CheckpointStatus> {
        self.check_may_write()?;
        self.checkpointer().update(event).await
    }

    /// Returns the checkpoint at `event` as plain data, to be written in the same database transaction as what
    /// the event led to. Rows and checkpoint are then there together or not at all: rows written in this way
    /// appear exactly once, also after kills, takeovers and an owner that was cut off and does not know it.
    ///
    /// The crate of the store says how to write it. Where another instance owns the partition by then, or the
    /// event was already done, the database refuses, and the transaction rolls back. A callback that writes all
    /// its checkpoints in this way needs no [`update_checkpoint`](Self::update_checkpoint).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the store has no transactional checkpoints, or
    /// several events are handled at once ([`concurrency`](crate::Receive::concurrency)): a callback that returns
    /// either ends the run with it. Also when the event was not handed to the callback of this partition.
    /// [`OwnershipLost`](crate::ErrorKind::OwnershipLost) when another instance owns the partition by now.
    pub fn transactional_checkpoint(&self, event: &ReceivedEvent) -> Result<TransactionalCheckpoint> {
        self.check_may_write()?;
        self.checkpointer().transactional(event)
    }

    fn check_may_write(&self) -> Result<()> {
        if self.inner.is_concurrent {
            let text = "concurrency: the checkpoint policy decides what is written, since events before this one may not be handled";
            return Err(Error::invalid(text).mistake().on_partition(self.partition_id()));
        }
        Ok(())
    }
}
