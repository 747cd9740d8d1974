//! An event hub: its partitions, its consumer groups, and who reads.

#[cfg(feature = "persistence")]
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod log;
pub(crate) mod partition_key;
pub(crate) mod readers;
pub(crate) mod registry;
pub(crate) mod retention;
pub(crate) mod storage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::condition::{ARGUMENT_OUT_OF_RANGE, Condition};
use crate::event::sections::Sections;
use crate::hub::faults::HubFaults;
use crate::hub::log::Log;
use crate::hub::readers::{Displaced, Reader, Readers};
use crate::hub::storage::SavedHub;
use crate::sync::lock;

/// An event hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    /// Only ever grows; replaced as a whole, so that readers take a list that does not change under them.
    partitions: Mutex<Arc<[Arc<Partition>]>>,
    pub(crate) faults: HubFaults,
    deleted: AtomicBool,
    consumer_groups: Mutex<Vec<String>>,
    /// Counts the messages that go round.
    next: AtomicUsize,
}

/// One partition: its events, and the readers of each consumer group.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) id: String,
    log: Mutex<Log>,
    clock: Clock,
    /// The sequence number of the last event, for those who wait for the next one.
    appended: watch::Sender<i64>,
    /// By consumer group, in the spelling of the hub.
    readers: Mutex<BTreeMap<String, Readers>>,
}

impl Hub {
    pub(crate) fn new(saved: SavedHub, partitions: Vec<Arc<Partition>>) -> Self {
        Self {
            name: saved.name,
            created_ms: saved.created_ms,
            partitions: Mutex::new(partitions.into()),
            faults: HubFaults::default(),
            consumer_groups: Mutex::new(saved.consumer_groups),
            next: AtomicUsize::new(0),
            deleted: AtomicBool::new(false),
        }
    }

    /// The partitions at this moment.
    pub(crate) fn partitions(&self) -> Arc<[Arc<Partition>]> {
        Arc::clone(&lock(&self.partitions))
    }

    /// Appends partitions to those that are there.
    pub(crate) fn add_partitions(&self, more: Vec<Arc<Partition>>) {
        let mut partitions = lock(&self.partitions);
        *partitions = partitions.iter().cloned().chain(more).collect();
    }

    /// What has to outlive the process.
    pub(crate) fn saved(&self) -> SavedHub {
        SavedHub {
            name: self.name.clone(),
            partitions: u32::try_from(self.partitions().len()).unwrap_or(u32::MAX),
            created_ms: self.created_ms,
            consumer_groups: self.consumer_groups(),
            era: self.era(),
        }
    }

    /// How often it has failed over.
    pub(crate) fn era(&self) -> u16 {
        self.partitions().first().map_or(0, |partition| partition.log().era())
    }

    /// Takes no more events, and no links that look whether it is deleted from now on.
    pub(crate) fn delete(&self) {
        // The flag first: a link that was admitted before it is set can append only until its log is closed
        // below.
        self.deleted.store(true, Ordering::SeqCst);
        for partition in self.partitions().iter() {
            partition.log().delete();
        }
    }

    /// # Errors
    /// When the hub was deleted: what the service says then.
    pub(crate) fn still_exists(&self) -> Result<(), Condition> {
        let deleted = self.deleted.load(Ordering::SeqCst);
        if deleted { Err(Condition::entity_not_found(&self.name)) } else { Ok(()) }
    }

    pub(crate) fn partition(&self, id: &str) -> Option<Arc<Partition>> {
        let partition = self.partitions().get(id.parse::<usize>().ok()?).cloned();
        // `01` and `+1` parse as 1 and are no ids.
        partition.filter(|partition| partition.id == id)
    }

    /// The partition that a link is for.
    ///
    /// # Errors
    /// When there is none: what the service says then (docs/contract.md §5.4).
    pub(crate) fn partition_at(&self, id: &str) -> Result<Arc<Partition>, Condition> {
        self.partition(id).ok_or_else(|| {
            let text = format!(
                "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 \
                 and {}. Parameter name: PartitionId",
                self.partitions().len() - 1
            );
            Condition::new(ARGUMENT_OUT_OF_RANGE, text)
        })
    }

    /// The spelling of the hub for a group given in any case (docs/contract.md §5.1).
    pub(crate) fn consumer_group(&self, name: &str) -> Option<String> {
        lock(&self.consumer_groups).iter().find(|group| group.eq_ignore_ascii_case(name)).cloned()
    }

    /// Adds those that are not there.
    pub(crate) fn add_consumer_groups(&self, groups: Vec<String>) {
        for group in groups {
            if self.consumer_group(&group).is_none() {
                lock(&self.consumer_groups).push(group);
            }
        }
    }

    pub(crate) fn consumer_groups(&self) -> Vec<String> {
        lock(&self.consumer_groups).clone()
    }

    /// The partition for a message that names none: by its partition key, else in turn.
    pub(crate) fn choose(&self, message: &Sections<'_>) -> Arc<Partition> {
        let partitions = self.partitions();
        let index = match message.partition_key() {
            Some(key) => partition_key::partition_of(key, partitions.len()),
            None => self.next.fetch_add(1, Ordering::Relaxed) % partitions.len(),
        };
        Arc::clone(&partitions[index])
    }
}

impl Partition {
    pub(crate) fn new(id: u32, log: Log, clock: Clock) -> Self {
        let appended = watch::Sender::new(log.head().sequence_number);
        Self { id: id.to_string(), log: Mutex::new(log), clock, appended, readers: Mutex::default() }
    }

    /// Keeps the messages, in order, and wakes the receivers that wait for them.
    ///
    /// # Errors
    /// When they cannot be kept; then none of them is.
    pub(crate) fn append(&self, messages: &[Sections<'_>]) -> Result<(), Condition> {
        let mut log = self.log();
        log.append(messages, self.clock.now_ms())?;
        // Under the lock: of two appends at once, the earlier one would else announce its head last, and readers of the later events
        // would wait for the next append.
        self.appended.send_replace(log.head().sequence_number);
        Ok(())
    }

    /// Returns as soon as the event with this sequence number is there.
    pub(crate) async fn reaches(&self, sequence_number: i64) {
        // the sender lives in self, so the wait cannot fail
        let _ = self.appended.subscribe().wait_for(|head| *head >= sequence_number).await;
    }

    /// The events that are not too old; never held across an await.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        let mut log = lock(&self.log);
        log.drop_expired(self.clock.now_ms());
        log
    }

    /// Takes a reader in and says who has to leave for it.
    ///
    /// # Errors
    /// When the owner level rules refuse it (docs/contract.md §5.3).
    pub(crate) fn admit(&self, group: &str, reader: Reader) -> Result<Vec<Displaced>, Condition> {
        lock(&self.readers).entry(group.to_owned()).or_default().admit(reader)
    }

    /// Who reads, with the consumer group.
    pub(crate) fn attached_readers(&self) -> Vec<(String, Reader)> {
        let readers = lock(&self.readers);
        let of_group = |(group, readers): (&String, &Readers)| {
            readers.all().iter().map(|reader| (group.clone(), reader.clone())).collect::<Vec<_>>()
        };
        readers.iter().flat_map(of_group).collect()
    }

    /// Forgets a reader.
    pub(crate) fn leave(&self, group: &str, reader: u64) {
        if let Some(readers) = lock(&self.readers).get_mut(group) {
            readers.leave(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use eventhubs_types::EventData;

    use super::*;
    use crate::event::message;
    use crate::hub::retention::Retention;
    use crate::hub::storage::{Memory, State};

    /// A reader waits for the announced head: of one that is too low it learns with the next append, which may never come.
    #[test]
    fn the_announced_head_is_that_of_the_last_of_many_concurrent_appends() {
        let retention = Retention { events: 100, bytes: 1 << 20, age_ms: 60_000 };
        let log = Log::new(retention, Box::new(Memory::default()), State::default());
        let partition = Partition::new(0, log, Clock::default());
        let message = message::from_event(EventData::new("event")).unwrap();
        for _ in 0..500 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| partition.append(&[message::sections(&message)]).unwrap());
                }
            });
            assert_eq!(*partition.appended.borrow(), partition.log().head().sequence_number);
        }
    }
}
