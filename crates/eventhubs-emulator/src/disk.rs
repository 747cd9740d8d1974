//! Events in a folder, so that they outlive the process.
//!
//! One file of redb, which locks it, knows the version of its format, and finds broken pages by their checksums. Nothing waits for the
//! device: what a killed process has written is in the page cache and survives it; the loss of power is not what an emulator is for.

use std::fs::{self, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableTable, StorageBackend, StorageError, TableDefinition, WriteTransaction,
};

use crate::error::{Error, ErrorKind};
use crate::log::{Entry, State};
use crate::offset::Offset;
use crate::sections::{Stamp, StampedMessage};
use crate::shelf::{SavedHub, Shelf, ShelfError, Storage, StoredEvent, within_limits};

const FILE: &str = "events.redb";
/// Of the tables below.
const VERSION: u64 = 1;
/// How much of the file is kept in memory, in bytes.
const CACHE: usize = 32 * 1024 * 1024;

/// Hub, partition, sequence number.
type EventKey = (u32, u32, i64);
/// Position, time, size, length of the header section, message.
type EventRow = (i64, i64, u32, u32, &'static [u8]);
/// Id, partitions, creation in milliseconds since 1970, consumer groups.
type HubRow = (u32, u32, i64, Vec<&'static str>);

/// The key of the highest id that a hub was ever given.
const LAST_ID: &str = "last hub id";

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// By name.
const HUBS: TableDefinition<'_, &str, HubRow> = TableDefinition::new("hubs");
/// By name: how often it has failed over. Folders from before there was this table do not say.
const ERAS: TableDefinition<'_, &str, u16> = TableDefinition::new("eras");
/// By hub and partition: sequence number, position and time of the last event, and the position of the next one.
const HEADS: TableDefinition<'_, (u32, u32), (i64, i64, i64, i64)> = TableDefinition::new("heads");
const EVENTS: TableDefinition<'_, EventKey, EventRow> = TableDefinition::new("events");

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The folder of one emulator.
#[derive(Debug)]
struct Disk {
    path: PathBuf,
    /// `None` while it is opened again.
    database: RwLock<Option<Database>>,
}

impl Disk {
    fn open(folder: &Path) -> Result<Self, Error> {
        let failed =
            |why: &str| Error::new(ErrorKind::Storage, format!("the data folder {} {why}", folder.display()));
        fs::create_dir_all(folder).map_err(|error| failed("cannot be made").with_source(error))?;
        let path = folder.join(FILE);
        let database = open(&path).map_err(|error| failed(explain(&error)).with_source(error))?;
        let disk = Self { path, database: RwLock::new(Some(database)) };
        let version = disk.version().map_err(|ShelfError(why)| failed("cannot be read").with_source(why))?;
        if version != VERSION {
            return Err(failed(&format!("has version {version}; this is a program for version {VERSION}")));
        }
        Ok(disk)
    }

    /// The version of the tables, which are made if they are not there.
    fn version(&self) -> Result<u64, ShelfError> {
        self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            let known = meta.get("version")?.map(|version| version.value());
            transaction.open_table(HUBS)?;
            transaction.open_table(ERAS)?;
            transaction.open_table(HEADS)?;
            transaction.open_table(EVENTS)?;
            if known.is_none() {
                meta.insert("version", VERSION)?;
            }
            Ok(known.unwrap_or(VERSION))
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Database) -> Result<T, Failed>) -> Result<T, ShelfError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| self.failed(&"it could not be opened again"))?;
        read(database).map_err(|error| self.failed(&error))
    }

    /// Writes in one transaction. When that fails, the file is opened again, since redb takes nothing any more after an I/O error.
    fn write<T>(&self, write: impl FnOnce(&WriteTransaction) -> Result<T, Failed>) -> Result<T, ShelfError> {
        let written = self.read(|database| {
            let transaction = database.begin_write()?;
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        written.inspect_err(|_| self.open_again())
    }

    fn open_again(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // first, for it holds the lock of the file
        *database = None;
        *database = open(&self.path).ok();
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> ShelfError {
        ShelfError(format!("{}: {why}", self.path.display()))
    }
}

/// A folder, shared by all partitions in it.
#[derive(Debug)]
pub(crate) struct DiskStorage(Arc<Disk>);

impl DiskStorage {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// When another process uses it, or what is in it cannot be used.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        Disk::open(folder).map(|disk| Self(Arc::new(disk)))
    }
}

impl Storage for DiskStorage {
    fn hubs(&self) -> Result<Vec<SavedHub>, ShelfError> {
        self.0.read(|database| {
            let transaction = database.begin_read()?;
            let (hubs, eras) = (transaction.open_table(HUBS)?, transaction.open_table(ERAS)?);
            let mut saved = Vec::new();
            for entry in hubs.iter()? {
                let (name, hub) = entry?;
                let (_, partitions, created_ms, groups) = hub.value();
                let consumer_groups = groups.into_iter().map(str::to_owned).collect();
                let name = name.value().to_owned();
                let era = eras.get(name.as_str())?.map_or(0, |era| era.value());
                saved.push(SavedHub { name, partitions, created_ms, consumer_groups, era });
            }
            Ok(saved)
        })
    }

    fn save_hub(&self, hub: &SavedHub) -> Result<(), ShelfError> {
        self.0.write(|transaction| {
            let mut hubs = transaction.open_table(HUBS)?;
            let id = match hub_id(&hubs, &hub.name)? {
                Some(id) => id,
                None => unused_id(transaction, &hubs)?,
            };
            let groups: Vec<&str> = hub.consumer_groups.iter().map(String::as_str).collect();
            hubs.insert(hub.name.as_str(), (id, hub.partitions, hub.created_ms, groups))?;
            transaction.open_table(ERAS)?.insert(hub.name.as_str(), hub.era)?;
            Ok(())
        })
    }

    fn delete_hub(&self, name: &str) -> Result<(), ShelfError> {
        self.0.write(|transaction| {
            let id = transaction.open_table(HUBS)?.remove(name)?.map(|hub| hub.value().0);
            transaction.open_table(ERAS)?.remove(name)?;
            if let Some(id) = id {
                transaction.open_table(HEADS)?.retain_in((id, 0)..=(id, u32::MAX), |_, _| false)?;
                let events = (id, 0, i64::MIN)..=(id, u32::MAX, i64::MAX);
                transaction.open_table(EVENTS)?.retain_in(events, |_, _| false)?;
            }
            Ok(())
        })
    }

    fn partition(&self, hub: &str, partition: u32) -> Result<(Box<dyn Shelf>, State), ShelfError> {
        let (events, state) = self.0.read(|database| {
            let transaction = database.begin_read()?;
            let hub = hub_id(&transaction.open_table(HUBS)?, hub)?.unwrap_or_default();
            let kept = DiskShelf { disk: Arc::clone(&self.0), hub, partition };
            let mut state = State::default();
            if let Some(head) = transaction.open_table(HEADS)?.get((hub, partition))? {
                let (sequence_number, position, enqueued_ms, next_position) = head.value();
                state.head = Stamp { sequence_number, offset: Offset { era: 0, position }, enqueued_ms };
                state.next_position = next_position;
            }
            for entry in transaction.open_table(EVENTS)?.range(kept.keys(i64::MIN, i64::MAX))? {
                let (position, enqueued_ms, size, _, _) = entry?.1.value();
                state.index.push_back(Entry { position, enqueued_ms, size });
            }
            Ok((kept, state))
        })?;
        Ok((Box::new(events), state))
    }
}

fn hub_id(hubs: &impl ReadableTable<&'static str, HubRow>, name: &str) -> Result<Option<u32>, StorageError> {
    Ok(hubs.get(name)?.map(|hub| hub.value().0))
}

/// An id that no hub has had, not even a deleted one: a link to that may still read and drop by it.
fn unused_id(
    transaction: &WriteTransaction,
    hubs: &impl ReadableTable<&'static str, HubRow>,
) -> Result<u32, Failed> {
    let mut meta = transaction.open_table(META)?;
    let given = meta.get(LAST_ID)?.map_or(0, |id| id.value());
    // Folders from before the number was kept have only the hubs themselves.
    let last = hubs
        .iter()?
        .try_fold(given, |last, entry| Ok::<_, StorageError>(last.max(entry?.1.value().0.into())))?;
    meta.insert(LAST_ID, last + 1)?;
    Ok(u32::try_from(last + 1)?)
}

/// What redb panics about is damage too.
fn open(path: &Path) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let backend = Unsynced(FileBackend::new(file)?);
    let mut builder = Database::builder();
    let open = AssertUnwindSafe(|| builder.set_cache_size(CACHE).create_with_backend(backend));
    let damaged = |_| DatabaseError::Storage(StorageError::Corrupted("its pages make no sense".into()));
    catch_unwind(open).unwrap_or_else(|panic| Err(damaged(panic)))
}

fn explain(error: &DatabaseError) -> &'static str {
    match error {
        DatabaseError::DatabaseAlreadyOpen => "is used by another process",
        DatabaseError::UpgradeRequired(_) => "was written by another version of this program",
        _ => "cannot be read",
    }
}

/// A file that does not wait for the device.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// The events of one partition.
#[derive(Debug)]
struct DiskShelf {
    disk: Arc<Disk>,
    hub: u32,
    partition: u32,
}

impl DiskShelf {
    fn key(&self, sequence_number: i64) -> (u32, u32, i64) {
        (self.hub, self.partition, sequence_number)
    }

    fn keys(&self, first: i64, last: i64) -> std::ops::RangeInclusive<(u32, u32, i64)> {
        self.key(first)..=self.key(last)
    }
}

impl Shelf for DiskShelf {
    fn append(
        &mut self,
        events: &[Arc<StoredEvent>],
        next_position: i64,
        first_kept: Option<i64>,
    ) -> Result<(), ShelfError> {
        let Some(last) = events.last() else { return Ok(()) };
        self.disk.write(|transaction| {
            let mut table = transaction.open_table(EVENTS)?;
            for StoredEvent { stamp, size, message } in events.iter().map(AsRef::as_ref) {
                let value =
                    (stamp.offset.position, stamp.enqueued_ms, *size, message.header, message.bytes.as_ref());
                table.insert(self.key(stamp.sequence_number), value)?;
            }
            if let Some(first) = first_kept {
                table.retain_in(self.key(i64::MIN)..self.key(first), |_, _| false)?;
            }
            let Stamp { sequence_number, offset, enqueued_ms } = last.stamp;
            let head = (sequence_number, offset.position, enqueued_ms, next_position);
            transaction.open_table(HEADS)?.insert((self.hub, self.partition), head)?;
            Ok(())
        })
    }

    fn read(&self, from: i64, limit: usize) -> Result<Vec<Arc<StoredEvent>>, ShelfError> {
        self.disk.read(|database| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            let mut fits = within_limits(limit);
            let mut events = Vec::new();
            for entry in table.range(self.keys(from, i64::MAX))? {
                let (key, value) = entry?;
                let (position, enqueued_ms, size, header, bytes) = value.value();
                if !fits(bytes.len()) {
                    break;
                }
                let offset = Offset { era: 0, position };
                let stamp = Stamp { sequence_number: key.value().2, offset, enqueued_ms };
                let message = StampedMessage { header, bytes: bytes.to_vec().into() };
                events.push(Arc::new(StoredEvent { stamp, size, message }));
            }
            Ok(events)
        })
    }

    fn drop_before(&mut self, sequence_number: i64) -> Result<(), ShelfError> {
        self.disk.write(|transaction| {
            let gone = self.key(i64::MIN)..self.key(sequence_number);
            transaction.open_table(EVENTS)?.retain_in(gone, |_, _| false)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::log::{Log, Retention};
    use crate::message;

    const RETENTION: Retention = Retention { events: 100, bytes: 1 << 20, age_ms: i64::MAX };

    /// A device that is full now and then.
    #[derive(Debug)]
    struct Full(Unsynced, Arc<AtomicBool>);

    impl StorageBackend for Full {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
            self.0.read(offset, len)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self, eventual: bool) -> io::Result<()> {
            self.0.sync_data(eventual)
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            if self.1.load(Ordering::Relaxed) {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                self.0.write(offset, data)
            }
        }
    }

    #[test]
    fn a_full_device_refuses_events_until_there_is_room() {
        let folder = TempDir::new().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let storage = DiskStorage::open(folder.path()).unwrap();
        let hub =
            SavedHub { name: "orders".into(), partitions: 1, created_ms: 0, consumer_groups: vec![], era: 0 };
        storage.save_hub(&hub).unwrap();
        *storage.0.database.write().unwrap() = None;
        let file = OpenOptions::new().read(true).write(true).open(&storage.0.path).unwrap();
        let backend = Full(Unsynced(FileBackend::new(file).unwrap()), Arc::clone(&full));
        *storage.0.database.write().unwrap() =
            Some(Database::builder().create_with_backend(backend).unwrap());
        let (events, state) = storage.partition("orders", 0).unwrap();
        let mut log = Log::new(RETENTION, events, state);
        let message = message::from_event("event".into()).unwrap();
        let append = |log: &mut Log| log.append(&[message::sections(&message)], 0);
        append(&mut log).unwrap();
        full.store(true, Ordering::Relaxed);
        let refusal = append(&mut log).unwrap_err();
        assert_eq!(refusal.symbol, "amqp:internal-error");
        // opened again, on a device that is not full
        append(&mut log).unwrap();
        let numbers: Vec<_> =
            log.read(0, 10).unwrap().iter().map(|event| event.stamp.sequence_number).collect();
        assert_eq!(numbers, [0, 1]);
    }

    #[test]
    fn a_folder_of_a_later_version_is_refused() {
        let folder = TempDir::new().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        disk.write(|transaction| Ok(transaction.open_table(META)?.insert("version", 2)?.map(drop))).unwrap();
        drop(disk);
        let error = Disk::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("has version 2; this is a program for version 1"), "{error}");
    }

    #[test]
    fn the_id_of_a_deleted_hub_is_never_given_again() {
        let folder = TempDir::new().unwrap();
        let hub = |name: &str| SavedHub {
            name: name.to_owned(),
            partitions: 1,
            created_ms: 0,
            consumer_groups: Vec::new(),
            era: 0,
        };
        let mut ids = Vec::new();
        for _ in 0..2 {
            // Opened again: the folder has to remember, not the process.
            let storage = DiskStorage::open(folder.path()).unwrap();
            for name in ["orders", "returns"] {
                storage.save_hub(&hub(name)).unwrap();
                let id = storage.0.read(|database| {
                    let transaction = database.begin_read()?;
                    Ok(hub_id(&transaction.open_table(HUBS)?, name)?)
                });
                ids.extend(id.unwrap());
                storage.delete_hub(name).unwrap();
            }
        }
        assert_eq!(ids, [1, 2, 3, 4]);
    }
}
