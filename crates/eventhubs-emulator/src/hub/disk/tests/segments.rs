//! What a partition reads, removes and opens when it has several segments.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::{INDEX, append, event, numbers, open};
use crate::hub::disk::open_files::OpenFiles;
use crate::hub::disk::partition::PartitionStore;
use crate::hub::storage::{EventStore, StorageError};

/// Appends events of 1 MiB, which is room for eight in a segment.
fn append_large(store: &mut PartitionStore, numbers: std::ops::Range<i64>) {
    for number in numbers {
        store.append(vec![event(number, 1 << 20)], 0).unwrap();
    }
}

fn segments(folder: &Path) -> usize {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "index")).count()
}

#[test]
fn events_are_read_across_segments_as_far_as_the_limits_allow() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append_large(&mut store, 0..8);
    append(&mut store, 8..12).unwrap();
    append(&mut store, 12..13).unwrap();
    assert_eq!(segments(folder.path()), 2);
    assert_eq!(numbers(&store, 0), Ok(vec![0]));
    assert_eq!(numbers(&store, 6), Ok(vec![6]));
    assert_eq!(numbers(&store, 8), Ok(vec![8, 9, 10, 11, 12]));
    assert_eq!(store.read(10, 2).unwrap().len(), 2);
    assert_eq!(numbers(&store, 13), Ok(vec![]));
    for number in [0, 7, 8, 12, 3] {
        assert_eq!(store.entry(number), Ok(event(number, 5).entry()));
    }
}

#[test]
fn retention_removes_whole_segments_and_numbers_continue_after_all() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append_large(&mut store, 0..20);
    assert_eq!(segments(folder.path()), 3);
    store.drop_before(7).unwrap();
    assert_eq!(segments(folder.path()), 3);
    store.drop_before(9).unwrap();
    assert_eq!(segments(folder.path()), 2);
    let (mut store, state) = open(folder.path()).unwrap();
    assert_eq!((state.first, state.oldest), (9, Some(event(9, 5).entry())));
    store.drop_before(20).unwrap();
    assert_eq!(segments(folder.path()), 1);
    let (mut store, state) = open(folder.path()).unwrap();
    assert_eq!((state.first, state.oldest, state.head.sequence_number), (20, None, 19));
    append(&mut store, 20..21).unwrap();
    assert_eq!(numbers(&store, 20), Ok(vec![20]));
}

#[test]
fn a_lost_segment_is_an_error() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append_large(&mut store, 0..20);
    store.drop_before(17).unwrap();
    append_large(&mut store, 20..30);
    drop(store);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_str().unwrap().contains("16.")) {
            fs::remove_file(path).unwrap();
        }
    }
    let StorageError(why) = open(folder.path()).unwrap_err();
    assert!(why.contains("has lost the events 17 to 23"), "{why}");
}

#[test]
fn what_a_kill_leaves_of_a_removed_or_begun_segment_is_removed() {
    let folder = TempDir::new().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    append_large(&mut store, 0..9);
    store.drop_before(8).unwrap();
    drop(store);
    fs::write(folder.path().join(INDEX), "half removed").unwrap();
    fs::write(folder.path().join(format!("{:020}.events", 9)), "").unwrap();
    fs::write(folder.path().join(format!("{:020}.index", 9)), "").unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    assert_eq!(segments(folder.path()), 1);
    append(&mut store, 9..10).unwrap();
    assert_eq!(numbers(&store, 9), Ok(vec![9]));
}

#[test]
fn a_failed_append_in_a_new_segment_does_not_cost_the_numbers() {
    let folder = TempDir::new().unwrap();
    let files = Arc::new(OpenFiles::default());
    let (mut store, _) = PartitionStore::open(folder.path().to_owned(), &files).unwrap();
    append_large(&mut store, 0..8);
    files.full.store(true, Ordering::Relaxed);
    append(&mut store, 8..9).unwrap_err();
    files.full.store(false, Ordering::Relaxed);
    store.drop_before(8).unwrap();
    let (_, state) = open(folder.path()).unwrap();
    assert_eq!((state.first, state.head.sequence_number), (8, 7));
}
