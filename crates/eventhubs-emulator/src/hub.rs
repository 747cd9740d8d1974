//! An event hub: its partitions, its consumer groups, and who reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::condition::{ARGUMENT_OUT_OF_RANGE, Condition};
use crate::log::{Log, Retention};
use crate::partition_key;
use crate::readers::{Displaced, Reader, Readers};
use crate::sections::Sections;
use crate::trouble::Trouble;

/// An event hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) partitions: Vec<Arc<Partition>>,
    pub(crate) trouble: Trouble,
    consumer_groups: Vec<String>,
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
    pub(crate) fn new(
        name: String,
        partitions: usize,
        consumer_groups: Vec<String>,
        retention: Retention,
        clock: &Clock,
    ) -> Self {
        let partitions = (0..partitions)
            .map(|id| Arc::new(Partition::new(id.to_string(), retention, clock.clone())))
            .collect();
        Self {
            name,
            created_ms: clock.now_ms(),
            partitions,
            trouble: Trouble::default(),
            consumer_groups,
            next: AtomicUsize::new(0),
        }
    }

    pub(crate) fn partition(&self, id: &str) -> Option<&Arc<Partition>> {
        let partition = self.partitions.get(id.parse::<usize>().ok()?);
        partition.filter(|partition| partition.id == id)
    }

    /// The partition that a link is for.
    ///
    /// # Errors
    /// When there is none: what the service says then (contract §5.4).
    pub(crate) fn partition_at(&self, id: &str) -> Result<&Arc<Partition>, Condition> {
        self.partition(id).ok_or_else(|| {
            let text = format!(
                "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 \
                 and {}. Parameter name: PartitionId",
                self.partitions.len() - 1
            );
            Condition::new(ARGUMENT_OUT_OF_RANGE, text)
        })
    }

    /// The spelling of the hub for a group given in any case (contract §5.1).
    pub(crate) fn consumer_group(&self, name: &str) -> Option<&str> {
        self.consumer_groups.iter().map(String::as_str).find(|group| group.eq_ignore_ascii_case(name))
    }

    pub(crate) fn consumer_groups(&self) -> &[String] {
        &self.consumer_groups
    }

    /// The partition for a message that names none: by its partition key, else in turn.
    pub(crate) fn choose(&self, message: &Sections<'_>) -> &Partition {
        let index = match message.partition_key() {
            Some(key) => partition_key::partition_of(key, self.partitions.len()),
            None => self.next.fetch_add(1, Ordering::Relaxed) % self.partitions.len(),
        };
        &self.partitions[index]
    }
}

impl Partition {
    fn new(id: String, retention: Retention, clock: Clock) -> Self {
        let log = Mutex::new(Log::new(retention));
        Self { id, log, clock, appended: watch::Sender::new(-1), readers: Mutex::default() }
    }

    /// Keeps the messages, in order, and wakes the receivers that wait for them.
    pub(crate) fn append<'a>(&self, messages: impl IntoIterator<Item = &'a Sections<'a>>) {
        let mut log = self.log();
        for message in messages {
            log.append(message, self.clock.now_ms());
        }
        let head = log.head().sequence_number;
        drop(log);
        self.appended.send_replace(head);
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
    /// When the owner level rules refuse it (contract §5.3).
    pub(crate) fn admit(&self, group: &str, reader: Reader) -> Result<Vec<Displaced>, Condition> {
        lock(&self.readers).entry(group.to_owned()).or_default().admit(reader)
    }

    /// Who reads, with the consumer group.
    pub(crate) fn seated(&self) -> Vec<(String, Reader)> {
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

/// No code panics while it holds one of our locks; if it did, the state would still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
