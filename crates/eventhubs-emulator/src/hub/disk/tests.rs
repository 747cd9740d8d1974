//! What a folder holds after kills, damage and full devices. What becomes of many segments is tested in `tests/segments.rs`, the layout
//! itself in `record.rs`.

mod segments;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::DiskStorage;
use super::open_files::OpenFiles;
use super::partition::PartitionStore;
use super::record::{APPEND_HEADER, ENTRY};
use crate::event::message;
use crate::event::offset::Offset;
use crate::event::sections::{Stamp, StampedMessage};
use crate::hub::log::Log;
use crate::hub::retention::Retention;
use crate::hub::storage::{EventStore, SavedHub, State, Storage, StorageError, StoredEvent};

const RETENTION: Retention = Retention { events: 100, bytes: 1 << 20, age_ms: i64::MAX };
const EVENTS: &str = "00000000000000000000.events";
const INDEX: &str = "00000000000000000000.index";

fn open(folder: &Path) -> Result<(PartitionStore, State), StorageError> {
    PartitionStore::open(folder.to_owned(), &Arc::new(OpenFiles::default()))
}

/// Each event is 10 bytes for offsets, whatever the length of its message.
fn event(number: i64, length: usize) -> StoredEvent {
    let offset = Offset { era: 0, position: 74 * number };
    let stamp = Stamp { sequence_number: number, offset, enqueued_ms: 1000 + number };
    let mut bytes = number.to_string();
    bytes.extend(std::iter::repeat_n(' ', length - bytes.len()));
    let bytes = bytes.into();
    StoredEvent { stamp, size: 10, message: StampedMessage { header: 0, bytes } }
}

fn append(store: &mut PartitionStore, numbers: std::ops::Range<i64>) -> Result<(), StorageError> {
    store.append(numbers.map(|number| event(number, 5)).collect(), 0)
}

/// Reads all events, each of which has to be as it was written.
fn numbers(store: &PartitionStore, from: i64) -> Result<Vec<i64>, StorageError> {
    let number = |read: &StoredEvent| {
        let number = read.stamp.sequence_number;
        let text = std::str::from_utf8(&read.message.bytes).unwrap().trim();
        assert_eq!((text, read.entry()), (number.to_string().as_str(), event(number, 5).entry()));
        number
    };
    Ok(store.read(from, usize::MAX)?.iter().map(number).collect())
}

fn write_both(folder: &Path, events: &[u8], index: &[u8]) {
    fs::write(folder.join(EVENTS), events).unwrap();
    fs::write(folder.join(INDEX), index).unwrap();
}

fn read_both(folder: &Path) -> [Vec<u8>; 2] {
    [EVENTS, INDEX].map(|file| fs::read(folder.join(file)).unwrap())
}

#[test]
fn an_append_torn_at_any_byte_is_there_as_a_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append(&mut store, 0..2).unwrap();
    let [events_before, index_before] = read_both(folder.path());
    append(&mut store, 2..5).unwrap();
    drop(store);
    let [events, index] = read_both(folder.path());
    let torn_events = (events_before.len()..events.len()).map(|length| (length, index_before.len()));
    let torn_index = (index_before.len()..=index.len()).map(|length| (events.len(), length));
    for (events_length, index_length) in torn_events.chain(torn_index) {
        write_both(folder.path(), &events[..events_length], &index[..index_length]);
        let (mut store, state) = open(folder.path()).unwrap();
        let end = if index_length == index.len() { 5 } else { 2 };
        let at = format!("{events_length} bytes of events, {index_length} of the index");
        assert_eq!((state.head.sequence_number, state.next_position), (end - 1, 74 * end), "{at}");
        append(&mut store, end..end + 2).unwrap();
        assert_eq!(numbers(&store, 0), Ok((0..end + 2).collect()), "{at}");
        let (store, _) = open(folder.path()).unwrap();
        assert_eq!(numbers(&store, 0), Ok((0..end + 2).collect()), "{at}");
    }
}

#[test]
fn a_large_append_that_is_torn_is_looked_past() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append(&mut store, 0..3).unwrap();
    append(&mut store, 3..5000).unwrap();
    drop(store);
    let [events, mut index] = read_both(folder.path());
    index.truncate(index.len() - 1);
    write_both(folder.path(), &events, &index);
    let (store, state) = open(folder.path()).unwrap();
    assert_eq!(state.head.sequence_number, 2);
    assert_eq!(numbers(&store, 0), Ok(vec![0, 1, 2]));
}

#[test]
fn a_partition_that_was_killed_before_its_first_append_is_empty() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append(&mut store, 0..2).unwrap();
    drop(store);
    let [events, _] = read_both(folder.path());
    write_both(folder.path(), &events, b"");
    fs::write(folder.path().join("first"), "").unwrap();
    let (mut store, state) = open(folder.path()).unwrap();
    assert_eq!((state.head.sequence_number, state.first), (-1, 0));
    append(&mut store, 0..1).unwrap();
    assert_eq!(numbers(&store, 0), Ok(vec![0]));
}

/// Opens a damaged folder and reads all of it.
fn survey(folder: &Path) -> Result<Vec<i64>, StorageError> {
    let (store, state) = open(folder)?;
    let mut all = Vec::new();
    while all.len() <= usize::try_from(state.head.sequence_number).unwrap() {
        all.extend(numbers(&store, i64::try_from(all.len()).unwrap())?);
    }
    Ok(all)
}

#[test]
fn damage_anywhere_is_an_error_with_the_folder_and_never_a_wrong_event() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    for first in [0, 3, 4] {
        append(&mut store, first..first + 3 - first % 2 * 2).unwrap();
    }
    drop(store);
    let all: Vec<_> = (0..7).collect();
    let [events, index] = read_both(folder.path());
    assert_eq!(survey(folder.path()), Ok(all.clone()));
    let path = folder.path().display().to_string();
    let mut unnoticed = 0;
    for byte in 0..events.len() + index.len() {
        let (mut events, mut index) = (events.clone(), index.clone());
        let damaged = if byte < events.len() { &mut events[byte] } else { &mut index[byte - events.len()] };
        *damaged ^= 0x10;
        write_both(folder.path(), &events, &index);
        match survey(folder.path()) {
            // Nobody reads the header of an append after it is committed.
            Ok(read) => {
                assert_eq!(read, all, "byte {byte}");
                unnoticed += 1;
            }
            Err(StorageError(why)) => assert!(why.contains(&path), "{why}"),
        }
    }
    assert_eq!(unnoticed, 3 * APPEND_HEADER);
}

#[test]
fn a_file_that_lost_its_end_is_an_error() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    for first in 0..4 {
        append(&mut store, first..first + 1).unwrap();
    }
    drop(store);
    let [events, index] = read_both(folder.path());
    for length in 0..events.len() {
        write_both(folder.path(), &events[..length], &index);
        assert!(open(folder.path()).is_err(), "{length} bytes of events");
    }
    // Without the entries of one append, the folder is as a kill leaves it; without those of more, it is not.
    for length in 0..3 * ENTRY {
        write_both(folder.path(), &events, &index[..length]);
        assert!(open(folder.path()).is_err(), "{length} bytes of the index");
    }
    fs::write(folder.path().join(EVENTS), &events).unwrap();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    let StorageError(why) = open(folder.path()).unwrap_err();
    assert!(why.contains("has lost the index of event 0"), "{why}");
}

fn hub(name: &str) -> SavedHub {
    SavedHub { name: name.into(), partitions: 1, created_ms: 0, consumer_groups: vec![], era: 0 }
}

#[test]
fn a_full_device_refuses_events_until_there_is_room() {
    let folder = TempDir::new().unwrap();
    let storage = DiskStorage::open(folder.path()).unwrap();
    storage.save_hub(&hub("orders")).unwrap();
    let (events, state) = storage.partition("orders", 0).unwrap();
    let mut log = Log::new(RETENTION, events, state);
    let message = message::from_event("event".into()).unwrap();
    let append = |log: &mut Log, count| {
        let messages: Vec<_> = (0..count).map(|_| message::sections(&message)).collect();
        log.append(&messages, 0)
    };
    append(&mut log, 1).unwrap();
    storage.files.full.store(true, Ordering::Relaxed);
    for count in [1, 10] {
        let refusal = append(&mut log, count).unwrap_err();
        assert_eq!(refusal.symbol, "amqp:internal-error");
        assert!(refusal.description.contains(&folder.path().display().to_string()), "{refusal:?}");
    }
    // What is there can be read, and found again.
    assert_eq!(log.read(0, 10).unwrap().len(), 1);
    let (events, _) = storage.partition("orders", 0).unwrap();
    assert_eq!(events.read(0, 10).unwrap().len(), 1);
    storage.files.full.store(false, Ordering::Relaxed);
    append(&mut log, 2).unwrap();
    let numbers: Vec<_> = log.read(0, 10).unwrap().iter().map(|event| event.stamp.sequence_number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(log.bytes(), 15);
}

#[test]
fn the_events_of_a_deleted_hub_are_gone_after_the_next_start() {
    let folder = TempDir::new().unwrap();
    let storage = DiskStorage::open(folder.path()).unwrap();
    for name in ["kept", "deleted"] {
        storage.save_hub(&hub(name)).unwrap();
        let (mut events, _) = storage.partition(name, 0).unwrap();
        events.append(vec![event(0, 5)], 0).unwrap();
    }
    storage.delete_hub("deleted").unwrap();
    let of_hub = |id: &str| folder.path().join("events").join(id);
    assert!(of_hub("1").exists() && !of_hub("2").exists());
    drop(storage);
    fs::create_dir_all(of_hub("2").join("0")).unwrap();
    DiskStorage::open(folder.path()).unwrap();
    assert!(of_hub("1").exists() && !of_hub("2").exists());
}
