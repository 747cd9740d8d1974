//! What a store promises of checkpoints: they come back as written, and a write never hides another one.

use std::collections::BTreeSet;

use eventhubs_checkpoint_store::{Checkpoint, Expected, Version};
use eventhubs_types::{Offset, SequenceNumber};
use tokio::task::JoinSet;

use crate::scene::{Scene, partition};

fn at(id: &str, offset: &str, number: i64) -> Checkpoint {
    Checkpoint::new(partition(id), Some(Offset::new(offset)), Some(SequenceNumber::new(number)))
}

/// No checkpoint is `None`, not an error.
pub async fn a_missing_checkpoint_is_none(scene: Scene) {
    assert_eq!(scene.read("0").await, None);
}

/// Offsets are opaque text, composite ones of replicated hubs included, and sequence numbers span all of
/// `i64`.
pub async fn a_checkpoint_comes_back_as_written(scene: Scene) {
    let mut expected = Expected::Absent;
    for (offset, number) in [("-1", -1), ("0", 0), ("3:1234:5678", 9), ("18446744073709551616", i64::MAX)] {
        let checkpoint = at("0", offset, number);
        let version = scene.write(&checkpoint, &expected).await;
        assert_eq!(scene.read("0").await, Some(checkpoint.with_version(version.clone())));
        expected = Expected::Version(version);
    }
}

/// Other SDKs leave out the offset or the sequence number; so may a caller.
pub async fn half_a_checkpoint_comes_back_as_written(scene: Scene) {
    let without_offset = Checkpoint::new(partition("0"), None, Some(SequenceNumber::new(7)));
    let without_number = Checkpoint::new(partition("1"), Some(Offset::new("700")), None);
    for checkpoint in [without_offset, without_number] {
        let version = scene.write(&checkpoint, &Expected::Absent).await;
        let id = checkpoint.partition.clone();
        assert_eq!(scene.read(id.as_str()).await, Some(checkpoint.with_version(version)));
    }
}

/// `Expected::Absent` writes the first checkpoint only.
pub async fn an_absent_checkpoint_is_written_once(scene: Scene) {
    scene.write(&at("0", "10", 1), &Expected::Absent).await;
    let before = scene.read("0").await;
    scene.assert_write_conflicts(&at("0", "20", 2), &Expected::Absent).await;
    assert_eq!(scene.read("0").await, before);
}

/// `Expected::Version` never creates a checkpoint.
pub async fn a_write_by_version_needs_a_checkpoint(scene: Scene) {
    let other = scene.write(&at("0", "10", 1), &Expected::Absent).await;
    scene.assert_write_conflicts(&at("1", "10", 1), &Expected::Version(other)).await;
    assert_eq!(scene.read("1").await, None);
}

/// A write by a version that is gone is a conflict, and the checkpoint is as before. Every write changes the
/// version, one that writes the same position included.
pub async fn a_write_by_an_old_version_is_a_conflict_and_changes_nothing(scene: Scene) {
    let first = scene.write(&at("0", "10", 1), &Expected::Absent).await;
    let second = scene.write(&at("0", "10", 1), &Expected::Version(first.clone())).await;
    assert_ne!(first, second, "a new version");
    let before = scene.read("0").await;
    scene.assert_write_conflicts(&at("0", "99", 99), &Expected::Version(first)).await;
    assert_eq!(scene.read("0").await, before);
}

/// A user may go back and read again: the version decides, never the position.
pub async fn a_checkpoint_may_go_back(scene: Scene) {
    let late = scene.write(&at("0", "900", 9), &Expected::Absent).await;
    let early = at("0", "-1", 0);
    let version = scene.write(&early, &Expected::Version(late)).await;
    assert_eq!(scene.read("0").await, Some(early.with_version(version)));
}

/// Versions do not repeat, so that a write cannot be applied by a version of long ago.
pub async fn no_version_of_a_checkpoint_ever_comes_back(scene: Scene) {
    let mut version = scene.write(&at("0", "10", 1), &Expected::Absent).await;
    let mut seen = BTreeSet::from([version.as_str().to_owned()]);
    for number in 0..12 {
        let next = at("0", "10", number % 2);
        version = scene.on_handle(number).write(&next, &Expected::Version(version)).await;
        assert!(seen.insert(version.as_str().to_owned()), "{version:?} came back");
    }
}

/// A new position replaces both parts of the old one; nothing of it is left.
pub async fn half_a_checkpoint_replaces_a_whole_one(scene: Scene) {
    let version = scene.write(&at("0", "10", 1), &Expected::Absent).await;
    let half = Checkpoint::new(partition("0"), None, Some(SequenceNumber::new(2)));
    let version = scene.write(&half, &Expected::Version(version)).await;
    assert_eq!(scene.read("0").await, Some(half.with_version(version)), "the old offset is gone");
}

/// The two kinds of record of one partition know nothing of each other.
pub async fn checkpoints_and_ownership_do_not_mix(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    assert_eq!(scene.read("0").await, None, "an owned partition has no checkpoint yet");
    scene.write(&at("0", "10", 1), &Expected::Absent).await;
    assert_eq!(scene.only_record().await.version, owned.version, "a checkpoint does not touch the ownership");
    scene.write(&at("1", "10", 1), &Expected::Absent).await;
    assert_eq!(scene.records().await.len(), 1, "a checkpoint owns nothing");
}

/// A listing is complete, however many pages the store needs.
pub async fn two_hundred_checkpoints_are_listed(scene: Scene) {
    let mut writes = JoinSet::new();
    for id in 0..200_i64 {
        let scene = scene.clone();
        writes.spawn(async move { write_numbered(&scene, id).await });
    }
    let mut written = writes.join_all().await;
    let mut listed = scene.checkpoints((0..200).map(|id| id.to_string())).await;
    listed.sort_by_key(|checkpoint| checkpoint.sequence_number);
    written.sort_by_key(|(id, _)| *id);
    let expected = written.into_iter().map(|(id, version)| numbered(id).with_version(version));
    assert_eq!(listed, expected.collect::<Vec<_>>(), "all of them");
}

fn numbered(id: i64) -> Checkpoint {
    at(&id.to_string(), &(id * 100).to_string(), id)
}

async fn write_numbered(scene: &Scene, id: i64) -> (i64, Version) {
    (id, scene.write(&numbered(id), &Expected::Absent).await)
}
