use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use eventhubs_amqp::ReceivedEvent;
use eventhubs_checkpoint_store::{Checkpoint, CheckpointOutcome, CheckpointStore, Expected, Version};
use eventhubs_load_balancer::Lease;
use eventhubs_types::{ConsumerScope, PartitionId, SequenceNumber, StartingPosition};
use tokio::sync::Mutex;

use crate::{Error, ErrorKind, Result};

/// How often one update re-reads and tries again when others write the same checkpoint meanwhile.
const MAX_CONFLICTS: usize = 3;

/// Writes the checkpoints of one partition for as long as it is owned: only forward, never ahead of the callback.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    store: Arc<dyn CheckpointStore>,
    scope: ConsumerScope,
    partition: PartitionId,
    /// `None` where one partition is read without load balancing.
    lease: Option<Lease>,
    revoked: AtomicBool,
    delivered: AtomicI64,
    known: Mutex<Known>,
}

/// What the store is known to hold.
#[derive(Debug)]
struct Known {
    expected: Expected,
    sequence_number: Option<SequenceNumber>,
    /// The version of a checkpoint whose position the service does not know.
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

    fn wrote(&mut self, version: Version, number: SequenceNumber) {
        *self = Self { expected: Expected::Version(version), sequence_number: Some(number), forgotten: None };
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
            revoked: AtomicBool::new(false),
            delivered: AtomicI64::new(i64::MIN),
            known: Mutex::new(Known { expected: Expected::Absent, sequence_number: None, forgotten: None }),
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
    }

    /// Whether the partition is ours, right now.
    pub(crate) fn is_owned(&self) -> bool {
        !self.revoked.load(Ordering::Acquire) && self.lease.as_ref().is_none_or(Lease::is_valid)
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

    /// Waits until no owner before may still be at work on the partition.
    pub(crate) async fn settled(&self) {
        if let Some(mut lease) = self.lease.clone() {
            lease.settled().await;
        }
    }

    /// Remembers that this event was handed to the callback.
    pub(crate) fn delivered(&self, event: &ReceivedEvent) {
        self.delivered.fetch_max(event.sequence_number().value(), Ordering::Release);
    }

    /// Reads where an earlier owner, or an earlier attempt of ours, got to.
    pub(crate) async fn resume_position(&self) -> Result<Option<StartingPosition>> {
        let mut known = self.known.lock().await;
        let checkpoint = self.read().await?;
        Ok(known.learn(checkpoint.as_ref()).and_then(Checkpoint::resume_position))
    }

    /// The service does not know the position of the checkpoint that was read last: the numbers begin anew, and the next
    /// checkpoint replaces it whatever its number.
    pub(crate) async fn forget(&self) {
        let mut known = self.known.lock().await;
        known.sequence_number = None;
        known.forgotten = match &known.expected {
            Expected::Version(version) => Some(version.clone()),
            Expected::Absent => None,
        };
        self.delivered.store(i64::MIN, Ordering::Release);
    }

    pub(crate) async fn update(&self, event: &ReceivedEvent) -> Result<()> {
        self.check_delivered(event)?;
        let number = event.sequence_number();
        let checkpoint = Checkpoint::new(self.partition.clone(), Some(event.offset().clone()), Some(number));
        let mut known = self.known.lock().await;
        for _ in 0..MAX_CONFLICTS {
            self.check_owned()?;
            if known.covers(number) {
                return Ok(());
            }
            match self.write(&checkpoint, &known.expected).await? {
                CheckpointOutcome::Written(version) => {
                    known.wrote(version, number);
                    return Ok(());
                }
                _ => _ = known.learn(self.read().await?.as_ref()),
            }
        }
        Err(self.error(Error::new(ErrorKind::Store, "others keep writing the same checkpoint")))
    }

    fn check_owned(&self) -> Result<()> {
        if self.is_owned() {
            return Ok(());
        }
        let text = "the checkpoint was refused: the partition is not owned";
        Err(self.error(Error::new(ErrorKind::OwnershipLost, text)))
    }

    fn check_delivered(&self, event: &ReceivedEvent) -> Result<()> {
        if event.sequence_number().value() > self.delivered.load(Ordering::Acquire) {
            let text = "event: it was not received from this partition, so it cannot be its checkpoint";
            return Err(self.error(Error::invalid(text)));
        }
        Ok(())
    }

    async fn read(&self) -> Result<Option<Checkpoint>> {
        let read = self.store.checkpoint(&self.scope, &self.partition).await;
        read.map_err(|source| self.error(Error::store("the checkpoint could not be read", source)))
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
        let scope = ConsumerScope {
            namespace: "ns".parse().unwrap(),
            event_hub: "hub".parse().unwrap(),
            consumer_group: "group".parse().unwrap(),
        };
        let checkpointer = Checkpointer::new(Arc::clone(store) as _, scope, "0".parse().unwrap(), None);
        checkpointer.delivered(&event(100));
        checkpointer
    }

    /// What the store holds after another instance wrote its checkpoint behind our back, and then we ours.
    async fn after(theirs: i64, ours: i64) -> i64 {
        let store = Arc::new(MemoryCheckpointStore::new());
        let (us, them) = (checkpointer(&store), checkpointer(&store));
        us.update(&event(1)).await.unwrap();
        them.resume_position().await.unwrap();
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

    #[tokio::test]
    async fn an_event_that_was_not_delivered_is_no_checkpoint() {
        let checkpointer = checkpointer(&Arc::new(MemoryCheckpointStore::new()));
        let error = checkpointer.update(&event(101)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(checkpointer.resume_position().await.unwrap(), None);
    }

    #[tokio::test]
    async fn reading_goes_on_behind_the_checkpoint() {
        let checkpointer = checkpointer(&Arc::new(MemoryCheckpointStore::new()));
        checkpointer.update(&event(3)).await.unwrap();
        let position = checkpointer.resume_position().await.unwrap();
        assert_eq!(position, Some(StartingPosition::after_offset("offset 3")));
    }
}
