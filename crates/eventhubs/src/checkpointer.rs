//! The rules of a checkpoint: only forward, never ahead of the callback, only while the partition is owned,
//! and not lost to an outage of the store. Its tests at the end pin who wins when two write.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use eventhubs_amqp::ReceivedEvent;
use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Expected, FenceToken, Fenced, TransactionalCheckpoint,
    Version,
};
use eventhubs_load_balancer::Lease;
use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber, StartingPosition};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::{Error, ErrorKind, Result};

/// How often one update re-reads and tries again when others write the same checkpoint meanwhile.
const MAX_CONFLICTS: usize = 3;

/// How long one write may take, conflicts included; after that it is pending, so that a store that hangs
/// holds up no callback for longer.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// What became of [`update_checkpoint`](crate::PartitionContext::update_checkpoint).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointStatus {
    /// The store has the checkpoint.
    Written,
    /// The store has a later checkpoint already; nothing was written.
    Covered,
    /// The store cannot be reached. The checkpoint is written as soon as it can, unless a later one replaces
    /// it or ownership is lost; until then, a crash or a new owner repeats events.
    Pending,
}

/// Where reading continues, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    Nothing,
    At {
        position: StartingPosition,
        number: Option<SequenceNumber>,
    },
    /// There is a record that names no position. It must not pass for none: `Latest` would skip all that came
    /// since.
    Damaged,
}

impl Stored {
    pub(crate) fn number(&self) -> Option<SequenceNumber> {
        match self {
            Self::At { number, .. } => *number,
            Self::Nothing | Self::Damaged => None,
        }
    }
}

/// Writes the checkpoints of one partition for as long as it is owned.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    store: Arc<dyn CheckpointStore>,
    scope: ConsumerScope,
    partition: PartitionId,
    /// `None` where one partition is read without load balancing.
    lease: Option<Lease>,
    /// Taken once: what was read before it may have been changed by an earlier owner since, what is read after
    /// it may not. `None` inside where the store has no fence.
    fence: OnceLock<Option<FenceToken>>,
    /// Set once, and never taken back: the next ownership has a checkpointer of its own.
    revoked: AtomicBool,
    /// Cancelled with it, for whoever waits.
    lost: CancellationToken,
    /// The highest sequence number that the callback got; no checkpoint is ahead of it.
    delivered: AtomicI64,
    /// The sequence number of what the store held last; `i64::MIN` where it held none. For the report.
    recorded: AtomicI64,
    /// When that was read or written; `None` where there is none.
    recorded_at: SyncMutex<Option<Instant>>,
    /// Held across the calls of the store: two updates at once would write over each other's version.
    known: Mutex<Known>,
    /// Never held across an await, so that an update can be added while a write hangs.
    pending: SyncMutex<Option<Pending>>,
    has_pending: Notify,
}

/// The newest checkpoint that could not be written.
#[derive(Debug)]
struct Pending {
    checkpoint: Checkpoint,
    since: Instant,
    /// Why, until somebody was told.
    untold: Option<Error>,
}

impl Pending {
    fn keep_newest(&mut self, checkpoint: &Checkpoint) {
        if checkpoint.sequence_number > self.checkpoint.sequence_number {
            self.checkpoint = checkpoint.clone();
        }
    }
}

/// What the store is known to hold.
#[derive(Debug)]
struct Known {
    expected: Expected,
    sequence_number: Option<SequenceNumber>,
    /// The version of a checkpoint that was given up: its position cannot be read from, or the user sought another.
    forgotten: Option<Version>,
}

impl Known {
    fn covers(&self, number: SequenceNumber) -> bool {
        self.sequence_number.is_some_and(|known| known >= number)
    }

    /// Takes over what the store holds; the position, unless it was forgotten.
    fn learn<'a>(&mut self, checkpoint: Option<&'a Checkpoint>) -> Option<&'a Checkpoint> {
        let version = checkpoint.and_then(|checkpoint| checkpoint.version.clone());
        let valid = checkpoint.filter(|_| self.forgotten.is_none() || self.forgotten != version);
        self.sequence_number = valid.and_then(|checkpoint| checkpoint.sequence_number);
        self.expected = version.map_or(Expected::Absent, Expected::Version);
        valid
    }

    fn wrote(&mut self, version: Version, number: Option<SequenceNumber>) {
        *self = Self { expected: Expected::Version(version), sequence_number: number, forgotten: None };
    }
}

impl Checkpointer {
    pub(crate) fn new(
        store: Arc<dyn CheckpointStore>,
        scope: ConsumerScope,
        partition: PartitionId,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            lease,
            store,
            scope,
            partition,
            fence: OnceLock::new(),
            revoked: AtomicBool::new(false),
            lost: CancellationToken::new(),
            delivered: AtomicI64::new(i64::MIN),
            recorded: AtomicI64::new(i64::MIN),
            recorded_at: SyncMutex::new(None),
            known: Mutex::new(Known { expected: Expected::Absent, sequence_number: None, forgotten: None }),
            pending: SyncMutex::new(None),
            has_pending: Notify::new(),
        }
    }

    pub(crate) fn scope(&self) -> &ConsumerScope {
        &self.scope
    }

    pub(crate) fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// From now on the partition is not ours: every update is refused.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.lost.cancel();
    }

    /// Cancelled once the partition is not ours.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Whether the partition is ours, right now.
    pub(crate) fn is_owned(&self) -> bool {
        !self.revoked.load(Ordering::Acquire) && self.lease.as_ref().is_none_or(Lease::is_valid)
    }

    /// As [`is_owned`](Self::is_owned), but by one clock only: for each of many events that are handed out at once. The
    /// other clock shows whether the host was suspended, and is asked before and after.
    pub(crate) fn is_owned_still(&self) -> bool {
        !self.revoked.load(Ordering::Acquire)
            && self.lease.as_ref().is_none_or(Lease::is_valid_unless_suspended)
    }

    /// Waits until the lease has ended.
    pub(crate) async fn lease_ended(&self) {
        match self.lease.clone() {
            Some(mut lease) => lease.ended().await,
            None => pending().await,
        }
    }

    /// Whether no owner before may still be at work on the partition.
    pub(crate) fn is_settled(&self) -> bool {
        self.lease.as_ref().is_none_or(Lease::is_settled)
    }

    /// Waits until the owner before has handed over.
    pub(crate) async fn handed_over(&self) {
        if let Some(mut lease) = self.lease.clone() {
            lease.handed_over().await;
        }
    }

    /// The sequence number of the checkpoint in the store, as it was last read or written.
    pub(crate) fn recorded(&self) -> Option<SequenceNumber> {
        let number = self.recorded.load(Ordering::Acquire);
        (number != i64::MIN).then(|| number.into())
    }

    /// When that was.
    pub(crate) fn recorded_at(&self) -> Option<Instant> {
        *self.recorded_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, number: Option<SequenceNumber>) {
        *self.recorded_at.lock().unwrap_or_else(PoisonError::into_inner) = number.map(|_| Instant::now());
        self.recorded.store(number.map_or(i64::MIN, SequenceNumber::value), Ordering::Release);
    }

    /// Remembers that this event was handed to the callback.
    pub(crate) fn delivered(&self, event: &ReceivedEvent) {
        let number = event.sequence_number().value();
        // Only the pump writes while it reads, so there is no need to exchange.
        if number > self.delivered.load(Ordering::Relaxed) {
            self.delivered.store(number, Ordering::Release);
        }
    }

    /// For tests of handlers, where nothing was received.
    pub(crate) fn accept_any_event(&self) {
        self.delivered.store(i64::MAX, Ordering::Release);
    }

    /// Reads where an earlier owner, or an earlier attempt of this one, got to. A pending checkpoint is
    /// written first, since it is part of that.
    pub(crate) async fn stored(&self) -> Result<Stored> {
        self.flush().await?;
        let mut known = self.known.lock().await;
        let checkpoint = self.read_fenced().await?;
        self.record(checkpoint.as_ref().and_then(|checkpoint| checkpoint.sequence_number));
        let Some(checkpoint) = known.learn(checkpoint.as_ref()) else { return Ok(Stored::Nothing) };
        Ok(match checkpoint.resume_position() {
            Some(position) => Stored::At { position, number: checkpoint.sequence_number },
            None => Stored::Damaged,
        })
    }

    /// Reading begins elsewhere than at the checkpoint that was read last, perhaps before it: the next checkpoint
    /// replaces it whatever its number.
    pub(crate) async fn forget(&self) {
        let mut known = self.known.lock().await;
        known.sequence_number = None;
        known.forgotten = match &known.expected {
            Expected::Version(version) => Some(version.clone()),
            Expected::Absent => None,
        };
        self.delivered.store(i64::MIN, Ordering::Release);
    }

    /// Writes where reading begins, whatever its number, if the store still holds what was read last. Returns
    /// whether it did.
    pub(crate) async fn begin(&self, offset: Offset, number: SequenceNumber) -> Result<bool> {
        let mut known = self.known.lock().await;
        // The newest event was looked up before: whoever owns the partition by now may have got less far.
        self.check_owned()?;
        let checkpoint = Checkpoint::new(self.partition.clone(), Some(offset), Some(number));
        match self.write(&checkpoint, &known.expected).await? {
            CheckpointOutcome::Written(version) => {
                known.wrote(version, Some(number));
                self.record(Some(number));
                self.delivered.store(i64::MIN, Ordering::Release);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Writes a checkpoint, or keeps it until the store can be reached again.
    pub(crate) async fn update(&self, event: &ReceivedEvent) -> Result<CheckpointStatus> {
        self.check_delivered(event)?;
        self.update_to(event.offset().clone(), event.sequence_number()).await
    }

    /// As [`update`](Self::update), at the position of an event that was delivered.
    pub(crate) async fn update_to(&self, offset: Offset, number: SequenceNumber) -> Result<CheckpointStatus> {
        self.check_owned()?;
        let checkpoint = Checkpoint::new(self.partition.clone(), Some(offset), Some(number));
        if self.joins_pending(&checkpoint) {
            return Ok(CheckpointStatus::Pending);
        }
        match self.put(&checkpoint).await {
            Err(error) if error.is_transient() => {
                self.postpone(checkpoint, error);
                Ok(CheckpointStatus::Pending)
            }
            outcome => outcome,
        }
    }

    /// While one checkpoint is pending, later ones only replace it: a callback must not wait for a store that
    /// is away.
    fn joins_pending(&self, checkpoint: &Checkpoint) -> bool {
        self.pending().as_mut().map(|pending| pending.keep_newest(checkpoint)).is_some()
    }

    /// Looks and writes under one lock: of two updates that fail at the same time, the newer one must stay.
    fn postpone(&self, checkpoint: Checkpoint, error: Error) {
        let mut pending = self.pending();
        if let Some(pending) = &mut *pending {
            pending.keep_newest(&checkpoint);
        } else {
            *pending = Some(Pending { checkpoint, since: Instant::now(), untold: Some(error) });
            self.has_pending.notify_one();
        }
    }

    /// Writes what is pending, if anything is.
    ///
    /// # Errors
    /// As the write. After an error that is not transient nothing is pending any more, so that the next
    /// update meets it itself.
    pub(crate) async fn flush(&self) -> Result<()> {
        loop {
            let Some(checkpoint) = self.pending().as_ref().map(|pending| pending.checkpoint.clone()) else {
                return Ok(());
            };
            match self.put(&checkpoint).await {
                Ok(_) => self.written(&checkpoint),
                Err(error) => {
                    if !error.is_transient() {
                        *self.pending() = None;
                    }
                    return Err(error);
                }
            }
        }
    }

    fn written(&self, checkpoint: &Checkpoint) {
        let mut pending = self.pending();
        let Some(Pending { since, .. }) = pending.take_if(|pending| pending.checkpoint == *checkpoint) else {
            return;
        };
        tracing::info!(
            event_hub = %self.scope.event_hub,
            consumer_group = %self.scope.consumer_group,
            partition = %self.partition,
            sequence_number = checkpoint.sequence_number.map(SequenceNumber::value),
            after = ?since.elapsed(),
            "the pending checkpoint was written"
        );
    }

    /// Waits until a checkpoint is pending, and gives the reason.
    pub(crate) async fn becomes_pending(&self) -> Option<Error> {
        self.has_pending.notified().await;
        self.pending().as_mut().and_then(|pending| pending.untold.take())
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending().is_some()
    }

    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, checkpoint: &Checkpoint) -> Result<CheckpointStatus> {
        timeout(WRITE_LIMIT, self.put_unlimited(checkpoint)).await.unwrap_or_else(|_| {
            let text = format!("the checkpoint could not be written within {WRITE_LIMIT:?}");
            Err(self.error(Error::new(ErrorKind::Store, text).passing()))
        })
    }

    async fn put_unlimited(&self, checkpoint: &Checkpoint) -> Result<CheckpointStatus> {
        let mut known = self.known.lock().await;
        for _ in 0..MAX_CONFLICTS {
            // In each turn: the reads and writes before may have taken long.
            self.check_owned()?;
            if checkpoint.sequence_number.is_some_and(|number| known.covers(number)) {
                return Ok(CheckpointStatus::Covered);
            }
            let outcome = self.write(checkpoint, &known.expected).await?;
            if let CheckpointOutcome::Written(version) = outcome {
                known.wrote(version, checkpoint.sequence_number);
                self.record(checkpoint.sequence_number);
                return Ok(CheckpointStatus::Written);
            }
            let theirs = self.read().await?;
            self.record(theirs.as_ref().and_then(|checkpoint| checkpoint.sequence_number));
            known.learn(theirs.as_ref());
        }
        Err(self.error(Error::new(ErrorKind::Store, "others keep writing the same checkpoint").passing()))
    }

    fn check_owned(&self) -> Result<()> {
        if self.is_owned() {
            return Ok(());
        }
        let text = "the checkpoint was refused: the partition is not owned";
        Err(self.error(Error::new(ErrorKind::OwnershipLost, text)))
    }

    /// Whether the event is of another partition, event hub or consumer group. One that was made by hand
    /// names none; then its number decides alone.
    fn is_foreign(&self, event: &ReceivedEvent) -> bool {
        event.partition_id().is_some_and(|partition| *partition != self.partition)
            || event.event_hub().is_some_and(|event_hub| *event_hub != self.scope.event_hub)
            || event.consumer_group().is_some_and(|group| *group != self.scope.consumer_group)
    }

    fn check_delivered(&self, event: &ReceivedEvent) -> Result<()> {
        if self.is_foreign(event) || event.sequence_number().value() > self.delivered.load(Ordering::Acquire)
        {
            let text = "event: it was not received from this partition, so it cannot be its checkpoint";
            return Err(self.error(Error::invalid(text)));
        }
        Ok(())
    }

    /// A checkpoint that the callback writes itself, in a transaction of its own.
    pub(crate) fn transactional(&self, event: &ReceivedEvent) -> Result<TransactionalCheckpoint> {
        self.check_delivered(event)?;
        self.check_owned()?;
        let Some(token) = self.fence.get().copied().flatten() else {
            let text = "store: it has no transactional checkpoints; PostgreSQL and SQLite have them";
            return Err(self.error(Error::invalid(text).mistake()));
        };
        let (scope, partition) = (self.scope.clone(), self.partition.clone());
        let offset = event.offset().clone();
        Ok(TransactionalCheckpoint::new(scope, partition, offset, event.sequence_number(), token))
    }

    /// Reads the checkpoint; the first time in a way that ends all transactions of earlier owners.
    async fn read_fenced(&self) -> Result<Option<Checkpoint>> {
        if self.fence.get().is_some() {
            return self.read().await;
        }
        let fenced = self.store.fence(&self.scope, &self.partition).await;
        let Fenced { checkpoint, token, .. } = fenced.map_err(|source| self.unread(source))?;
        // The lock on `known` is held, so nobody has set it meanwhile.
        let _ = self.fence.set(token);
        Ok(checkpoint)
    }

    async fn read(&self) -> Result<Option<Checkpoint>> {
        let read = self.store.checkpoint(&self.scope, &self.partition).await;
        read.map_err(|source| self.unread(source))
    }

    fn unread(&self, source: eventhubs_checkpoint_store::Error) -> Error {
        self.error(Error::store("the checkpoint could not be read", source))
    }

    async fn write(&self, checkpoint: &Checkpoint, expected: &Expected) -> Result<CheckpointOutcome> {
        let written = self.store.update_checkpoint(&self.scope, checkpoint, expected).await;
        written.map_err(|source| self.error(Error::store("the checkpoint could not be written", source)))
    }

    fn error(&self, error: Error) -> Error {
        error.on_partition(&self.partition)
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::MemoryCheckpointStore;
    use eventhubs_types::EventData;

    use super::*;

    fn event(number: i64) -> ReceivedEvent {
        ReceivedEvent::from_parts(EventData::new(""), format!("offset {number}"), number, None)
    }

    fn checkpointer(store: &Arc<MemoryCheckpointStore>) -> Checkpointer {
        let scope =
            ConsumerScope::new("ns".parse().unwrap(), "hub".parse().unwrap(), "group".parse().unwrap());
        let checkpointer = Checkpointer::new(Arc::clone(store) as _, scope, "0".parse().unwrap(), None);
        checkpointer.delivered(&event(100));
        checkpointer
    }

    /// What the store holds after another instance wrote its checkpoint behind our back, and then we ours.
    async fn after(theirs: i64, ours: i64) -> i64 {
        let store = Arc::new(MemoryCheckpointStore::new());
        let (us, them) = (checkpointer(&store), checkpointer(&store));
        us.update(&event(1)).await.unwrap();
        them.stored().await.unwrap();
        them.update(&event(theirs)).await.unwrap();
        us.update(&event(ours)).await.unwrap();
        us.read().await.unwrap().unwrap().sequence_number.unwrap().value()
    }

    #[tokio::test]
    async fn of_two_writers_the_higher_checkpoint_stays() {
        assert_eq!(after(7, 5).await, 7);
        assert_eq!(after(5, 7).await, 7);
        assert_eq!(after(7, 7).await, 7);
    }

    /// As a fail-over of Redis may lose it. With `Latest` events would be skipped if it stayed away.
    #[tokio::test]
    async fn a_first_checkpoint_that_the_store_lost_is_written_back() {
        let store = Arc::new(MemoryCheckpointStore::new());
        let us = checkpointer(&store);
        us.begin(Offset::new("-1"), SequenceNumber::new(-1)).await.unwrap();
        let first = us.read().await.unwrap().unwrap();
        store.delete_checkpoint(us.scope(), us.partition(), &first.version.unwrap()).await.unwrap();
        us.delivered(&event(1));
        assert_eq!(us.update(&event(1)).await.unwrap(), CheckpointStatus::Written);
        assert_eq!(us.read().await.unwrap().unwrap().sequence_number, Some(1.into()));
    }

    #[tokio::test]
    async fn an_event_that_was_not_delivered_is_no_checkpoint() {
        let checkpointer = checkpointer(&Arc::new(MemoryCheckpointStore::new()));
        let error = checkpointer.update(&event(101)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(checkpointer.stored().await.unwrap(), Stored::Nothing);
    }

    #[tokio::test]
    async fn reading_goes_on_behind_the_checkpoint() {
        let checkpointer = checkpointer(&Arc::new(MemoryCheckpointStore::new()));
        checkpointer.update(&event(3)).await.unwrap();
        let position = StartingPosition::after_offset("offset 3");
        assert_eq!(checkpointer.stored().await.unwrap(), Stored::At { position, number: Some(3.into()) });
    }
}
