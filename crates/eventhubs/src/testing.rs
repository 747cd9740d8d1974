//! What the crate `eventhubs-testkit` is made of: the real pumps of a run, fed by a script and ordered about by a test.
//! There is no event hub, no balancer and no socket. May change at any time; use that crate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use eventhubs_amqp::ReceivedEvent;
use eventhubs_checkpoint_store::CheckpointStore as _;
use eventhubs_types::{EventData, PartitionId, SequenceNumber, StartingPosition};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::exit::{Ended, Order};
use crate::pump::Pump;
use crate::run::Run;
use crate::{Error, ErrorKind, HeldBy, PartitionContext, Receive, ReceiveReport, Result};

/// The events of all partitions, which are never removed: a partition that is opened again is read again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<BTreeMap<PartitionId, Feed>>>);

/// The events of one partition.
#[derive(Debug, Default)]
struct Feed {
    events: watch::Sender<Vec<ReceivedEvent>>,
    /// Whether nothing comes over the link that was opened last.
    is_stalled: Arc<AtomicBool>,
}

/// Reads one partition of a script.
#[derive(Debug)]
pub(crate) struct ScriptedReceiver {
    events: watch::Receiver<Vec<ReceivedEvent>>,
    /// How many of them were read, or are before the starting position.
    read: usize,
    is_stalled: Arc<AtomicBool>,
}

impl Script {
    fn with<T>(&self, partition: &PartitionId, act: impl FnOnce(&mut Feed) -> T) -> T {
        let mut partitions: MutexGuard<'_, _> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(partitions.entry(partition.clone()).or_default())
    }

    fn push(&self, partition: &PartitionId, data: EventData, enqueued: Option<SystemTime>) -> SequenceNumber {
        self.with(partition, |Feed { events, .. }| {
            let mut number = 0;
            events.send_modify(|events| {
                number = i64::try_from(events.len()).unwrap_or(i64::MAX);
                // Not the number, so that a test finds out where one is taken for the other.
                let offset = format!("{}", number.saturating_mul(100));
                events.push(ReceivedEvent::from_parts(data, offset, number, enqueued));
            });
            number.into()
        })
    }

    pub(crate) fn open(&self, partition: &PartitionId, position: &StartingPosition) -> ScriptedReceiver {
        self.with(partition, |Feed { events, is_stalled }| {
            let read = events.borrow().iter().take_while(|event| is_before(event, position)).count();
            *is_stalled = Arc::default();
            ScriptedReceiver { events: events.subscribe(), read, is_stalled: Arc::clone(is_stalled) }
        })
    }

    fn stall(&self, partition: &PartitionId) {
        self.with(partition, |feed| feed.is_stalled.store(true, Ordering::Relaxed));
    }

    pub(crate) fn newest(&self, partition: &PartitionId) -> Option<SequenceNumber> {
        self.with(partition, |Feed { events, .. }| events.borrow().last().map(ReceivedEvent::sequence_number))
    }

    /// The position after the newest event.
    pub(crate) fn end(&self, partition: &PartitionId) -> StartingPosition {
        self.newest(partition).map_or(StartingPosition::Earliest, StartingPosition::after_sequence_number)
    }
}

/// Whether the event comes before a position.
fn is_before(event: &ReceivedEvent, position: &StartingPosition) -> bool {
    match position {
        StartingPosition::Earliest => false,
        StartingPosition::SequenceNumber { number, inclusive } => {
            event.sequence_number() < *number || (!inclusive && event.sequence_number() == *number)
        }
        StartingPosition::Offset { offset, inclusive } => {
            let value = |offset: &str| offset.parse::<i64>().unwrap_or(i64::MIN);
            let (own, limit) = (value(event.offset().as_str()), value(offset.as_str()));
            own < limit || (!inclusive && own == limit)
        }
        StartingPosition::EnqueuedTime { time, inclusive } => {
            event.enqueued_time().is_some_and(|own| own < *time || (!inclusive && own == *time))
        }
        _ => true,
    }
}

impl ScriptedReceiver {
    pub(crate) async fn receive_batch(&mut self, most: usize, wait: Option<Duration>) -> Vec<ReceivedEvent> {
        let (read, is_stalled) = (self.read, Arc::clone(&self.is_stalled));
        let more = self.events.wait_for(|events| events.len() > read && !is_stalled.load(Ordering::Relaxed));
        let wait = wait.unwrap_or(Duration::MAX);
        let Ok(Ok(events)) = timeout(wait, more).await else { return Vec::new() };
        let events = events.iter().skip(read).take(most).cloned().collect::<Vec<_>>();
        self.read += events.len();
        events
    }
}

/// What a partition is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The run stops.
    Stop,
    /// Another instance takes the partition over, and waits for its end.
    HandOver,
    /// The ownership has ended.
    Revoke,
}

/// The pumps of a run, without a balancer.
#[derive(Debug)]
pub struct TestRun {
    run: Arc<Run>,
    script: Script,
    partitions: BTreeMap<PartitionId, Running>,
}

#[derive(Debug)]
struct Running {
    context: PartitionContext,
    orders: watch::Sender<Order>,
    task: JoinHandle<Ended>,
}

impl TestRun {
    /// Takes over a run before it has begun.
    ///
    /// # Errors
    /// When an option cannot be used.
    pub fn new<M>(receive: Receive<M>) -> Result<Self> {
        let script = Script::default();
        let mut run = receive.into_run()?;
        run.script = Some(script.clone());
        Ok(Self { run: Arc::new(run), script, partitions: BTreeMap::new() })
    }

    /// Begins to read a partition, unless it is being read.
    pub fn open(&mut self, partition: &PartitionId) {
        if self.is_open(partition) {
            return;
        }
        let context = self.run.context(partition, None);
        let (orders, received) = watch::channel(Order::Run);
        let pump = Pump::new(Arc::clone(&self.run), context.clone(), received, None);
        let task = tokio::spawn(pump.run());
        self.partitions.insert(partition.clone(), Running { context, orders, task });
    }

    /// Whether the partition is being read.
    pub fn is_open(&self, partition: &PartitionId) -> bool {
        self.partitions.get(partition).is_some_and(|running| !running.task.is_finished())
    }

    /// Adds an event to a partition, and returns its sequence number.
    pub fn push(
        &mut self,
        partition: &PartitionId,
        data: EventData,
        enqueued: Option<SystemTime>,
    ) -> SequenceNumber {
        self.script.push(partition, data, enqueued)
    }

    /// From now on nothing comes over the link of a partition, until it is opened again.
    pub fn stall(&self, partition: &PartitionId) {
        self.script.stall(partition);
    }

    /// Tells a partition something; nothing if it is not read.
    pub fn command(&self, partition: &PartitionId, command: Command) {
        let Some(running) = self.partitions.get(partition) else { return };
        let order = match command {
            Command::Stop => Order::Shutdown,
            Command::HandOver => Order::HandOver,
            Command::Revoke => Order::OwnershipLost,
        };
        if command == Command::Revoke {
            running.context.checkpointer().revoke();
        }
        running.orders.send_replace(order);
    }

    /// The event that holds a partition, if one does.
    pub fn held_by(&self, partition: &PartitionId) -> Option<HeldBy> {
        self.partitions.get(partition)?.context.held_by()
    }

    /// The partitions that were ever read.
    pub fn partitions(&self) -> Vec<PartitionId> {
        self.partitions.keys().cloned().collect()
    }

    /// Returns the sequence number of the checkpoint in the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn checkpoint(&self, partition: &PartitionId) -> Result<Option<SequenceNumber>> {
        let instance = &self.run.instance;
        let checkpoint = instance.store.checkpoint(&instance.scope, partition).await;
        let checkpoint =
            checkpoint.map_err(|source| Error::store("the checkpoint could not be read", source))?;
        Ok(checkpoint.and_then(|checkpoint| checkpoint.sequence_number))
    }

    /// The errors that were reported so far.
    pub fn errors(&self) -> Vec<(ErrorKind, Option<PartitionId>, String)> {
        self.run.reported.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What became of the events, of the partitions that are not read any more.
    pub fn report(&self) -> ReceiveReport {
        self.run.report_so_far()
    }

    /// Waits until a partition is not read any more.
    ///
    /// # Errors
    /// The error that ended it for good, if one did.
    pub async fn closed(&mut self, partition: &PartitionId) -> Result<()> {
        let Some(running) = self.partitions.remove(partition) else { return Ok(()) };
        match running.task.await {
            Ok(Ended::Refused(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::handler("a pump ended unexpectedly", error.into())),
        }
    }
}
