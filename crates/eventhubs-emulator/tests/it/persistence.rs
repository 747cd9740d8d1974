//! What a folder holds when the next emulator opens it.

use std::fs;
use std::path::{Path, PathBuf};

use eventhubs_emulator::{Builder, Emulator, ErrorKind};
use fe2o3_amqp::types::messaging::Body;
use fe2o3_amqp::types::primitives::Value;
use tempfile::TempDir;

use crate::client::{Client, Reading, annotation, next, sequence_number, start, text, within};

fn orders_in(folder: &Path) -> Builder {
    Emulator::builder().event_hub("orders", 2).consumer_group("orders", "billing").data_dir(folder)
}

async fn texts(emulator: &Emulator, filter: Option<&'static str>, count: usize) -> Vec<String> {
    let mut client = Client::connect(emulator).await;
    let mut receiver = client.read("0", Reading { filter, ..Reading::default() }).await.unwrap();
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(text(&next(&mut receiver).await));
    }
    texts
}

#[tokio::test]
async fn numbers_and_offsets_go_on_where_they_ended() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path())).await;
    emulator.publish_to("orders", "0", ["a", "bb", "ccc"]).unwrap();
    let before = emulator.partition("orders", "0").unwrap();
    within(emulator.stop()).await;

    let emulator = start(orders_in(folder.path())).await;
    assert_eq!(emulator.partition("orders", "0").unwrap(), before);
    assert_eq!(emulator.partition("orders", "1").unwrap().event_count, 0);
    emulator.publish_to("orders", "0", ["dddd"]).unwrap();
    let mut client = Client::connect(&emulator).await;
    let after = format!("amqp.annotation.x-opt-offset > '{}'", before.last_enqueued_offset);
    let reading = Reading { filter: Some(after.leak()), ..Reading::default() };
    let event = next(&mut client.read("0", reading).await.unwrap()).await;
    assert_eq!((text(&event), sequence_number(&event)), ("dddd".to_owned(), 3));
    let offset = 3 * 64 + 6;
    assert_eq!(annotation(&event, "x-opt-offset"), Some(&offset.to_string().into()));
}

#[tokio::test]
async fn a_hub_that_grew_is_as_large_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path())).await;
    emulator.grow_event_hub("orders", 4).unwrap();
    emulator.publish_to("orders", "3", ["kept"]).unwrap();
    within(emulator.stop()).await;

    let emulator = start(Emulator::builder().data_dir(folder.path())).await;
    assert_eq!(emulator.partitions("orders").unwrap().len(), 4);
    assert_eq!(emulator.partition("orders", "3").unwrap().event_count, 1);
}

#[tokio::test]
async fn hubs_and_groups_of_the_folder_need_not_be_described_again() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path())).await;
    emulator.create_event_hub("late", 3, ["audit"]).unwrap();
    emulator.publish_to("late", "2", ["kept"]).unwrap();
    emulator.publish_to("orders", "0", ["kept too"]).unwrap();
    within(emulator.stop()).await;

    let emulator = start(Emulator::builder().data_dir(folder.path())).await;
    assert_eq!(texts(&emulator, None, 1).await, ["kept too"]);
    let mut client = Client::connect(&emulator).await;
    let mut receiver =
        client.receiver("late/ConsumerGroups/Audit/Partitions/2", Reading::default()).await.unwrap();
    assert_eq!(text(&next(&mut receiver).await), "kept");
}

#[tokio::test]
async fn what_retention_or_deletion_removes_leaves_the_folder() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path()).retention(4, 1 << 20)).await;
    emulator.publish_to("orders", "0", ["0", "1", "2", "3"]).unwrap();
    emulator.create_event_hub("gone", 1, [""; 0]).unwrap();
    emulator.publish_to("gone", "0", ["x"]).unwrap();
    emulator.delete_event_hub("gone").unwrap();
    within(emulator.stop()).await;

    let emulator = start(orders_in(folder.path()).event_hub("gone", 1)).await;
    assert_eq!(texts(&emulator, None, 2).await, ["2", "3"]);
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 2);
    assert_eq!(emulator.partition("gone", "0").unwrap().last_enqueued_sequence_number.value(), -1);
}

#[tokio::test]
async fn a_hub_that_is_created_anew_starts_over_in_the_folder() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path())).await;
    emulator.publish_to("orders", "1", ["old"]).unwrap();
    emulator.recreate_event_hub("orders", 1).unwrap();
    emulator.publish_to("orders", "0", ["new"]).unwrap();
    within(emulator.stop()).await;

    let other_count = orders_in(folder.path()).start().await.unwrap_err();
    assert_eq!(other_count.kind(), ErrorKind::InvalidArgument);
    assert!(
        other_count.to_string().contains("has event hub \"orders\" with 1 partitions, not 2"),
        "{other_count}"
    );
    let emulator = start(Emulator::builder().data_dir(folder.path())).await;
    assert_eq!(texts(&emulator, None, 1).await, ["new"]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let folder = TempDir::new().unwrap();
    let _emulator = start(orders_in(folder.path())).await;
    let error = orders_in(folder.path()).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("is used by another process"), "{error}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Whatever is in the files, it is an error or an emulator, never a panic.
#[tokio::test]
async fn a_damaged_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path()).retention(1000, 1 << 20)).await;
    for _ in 0..10 {
        emulator.publish_to("orders", "0", (0..100).map(|n| format!("event {n}"))).unwrap();
    }
    within(emulator.stop()).await;
    let files = files(folder.path());
    let mut names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    names.sort_unstable();
    let events = ["00000000000000000000.events", "00000000000000000000.index", "first"];
    assert_eq!(names, [events.as_slice(), &["hubs.jsonl", "lock"]].concat());
    for file in files.iter().filter(|file| !file.ends_with("lock")) {
        let good = fs::read(file).unwrap();
        let mut changed = good.clone();
        let end = changed.len().saturating_sub(100);
        changed[end..].fill(0x5a);
        for damaged in [b"no events".to_vec(), changed, good[..good.len() / 2].to_vec()] {
            fs::write(file, damaged).unwrap();
            let error = orders_in(folder.path()).start().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage);
            let text = error.to_string();
            assert!(text.contains(folder.path().to_str().unwrap()), "{file:?}: {text}");
        }
        fs::write(file, good).unwrap();
    }
    start(orders_in(folder.path())).await;
}

/// What is not looked at when the folder is opened is found out by its reader.
#[tokio::test]
async fn a_damaged_event_is_never_delivered() {
    let folder = TempDir::new().unwrap();
    let emulator = start(orders_in(folder.path())).await;
    emulator.publish_to("orders", "0", (0..10).map(|n| format!("event {n}"))).unwrap();
    within(emulator.stop()).await;
    let events = folder.path().join("events/1/0/00000000000000000000.events");
    let mut bytes = fs::read(&events).unwrap();
    let at = bytes.windows(7).position(|text| text == b"event 4").unwrap();
    bytes[at + 6] = b'5';
    fs::write(&events, bytes).unwrap();
    let emulator = start(orders_in(folder.path())).await;
    assert_eq!(emulator.events("orders", "0", 0.into(), 100).unwrap().len(), 4);
    assert_eq!(emulator.events("orders", "0", 5.into(), 100).unwrap().len(), 5);
    let error = emulator.events("orders", "0", 4.into(), 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let damage = format!("{} is damaged at event 4", events.display());
    assert!(error.to_string().contains(&damage), "{error}");
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.read("0", Reading::default()).await.unwrap();
    for n in 0..4 {
        assert_eq!(text(&next(&mut receiver).await), format!("event {n}"));
    }
    let refusal = within(receiver.recv::<Body<Value>>()).await.unwrap_err();
    assert!(format!("{refusal:?}").contains("is damaged at event 4"), "{refusal:?}");
}

#[tokio::test]
async fn a_folder_of_another_version_is_refused_by_its_number() {
    let folder = TempDir::new().unwrap();
    within(start(orders_in(folder.path())).await.stop()).await;
    fs::write(folder.path().join("hubs.jsonl"), "{\"version\":3,\"checksum\":0}\n").unwrap();
    let error = orders_in(folder.path()).start().await.unwrap_err();
    assert!(error.to_string().contains("has version 3; this is a program for version 2"), "{error}");
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("events.redb"), "").unwrap();
    let error = orders_in(folder.path()).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("was written by an earlier version of this program"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = orders_in(&folder.path().join("file")).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("cannot be made"), "{error}");
}
