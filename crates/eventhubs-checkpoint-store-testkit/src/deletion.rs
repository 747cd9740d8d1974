//! What a store promises of the operations for tools: a record is deleted by its version, and scopes are
//! listed.
//!
//! A store without them answers `Unsupported`, and then nothing is deleted.

use eventhubs_checkpoint_store::{Checkpoint, DeleteOutcome, ErrorKind, Expected, Result, Version};
use eventhubs_types::{ConsumerScope, SequenceNumber};

use crate::scene::{Scene, partition, version_of};

const CONFLICT: Option<DeleteOutcome> = Some(DeleteOutcome::Conflict);
const DELETED: Option<DeleteOutcome> = Some(DeleteOutcome::Deleted);

/// The answer, or `None` where the store says that it does not have the operation, as its capabilities say.
fn supported<T>(scene: &Scene, answer: Result<T>) -> Option<T> {
    match answer {
        Err(error) if !scene.capabilities.has_deletion => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "what a store does not have is Unsupported");
            None
        }
        answer => {
            assert!(scene.capabilities.has_deletion, "the store has more than its capabilities say");
            Some(answer.expect("what a store has it can do"))
        }
    }
}

async fn delete_checkpoint(scene: &Scene, id: &str, version: &Version) -> Option<DeleteOutcome> {
    supported(scene, scene.store.delete_checkpoint(&scene.scope, &partition(id), version).await)
}

async fn delete_ownership(scene: &Scene, id: &str, version: &Version) -> Option<DeleteOutcome> {
    supported(scene, scene.store.delete_ownership(&scene.scope, &partition(id), version).await)
}

/// What is deleted is absent on each handle, and is written again as absent; nothing else is touched.
pub async fn a_deleted_checkpoint_is_gone(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    let version = scene.write(&at("0", 7), &Expected::Absent).await;
    scene.write(&at("1", 8), &Expected::Absent).await;
    if delete_checkpoint(&scene, "0", &version).await == DELETED {
        assert_eq!(scene.read("0").await, None, "a deleted checkpoint is gone");
        scene.assert_write_conflicts(&at("0", 9), &Expected::Version(version.clone())).await;
        let again = scene.write(&at("0", 9), &Expected::Absent).await;
        assert_ne!(again, version, "a record that is created again has a new version");
        assert_eq!(delete_checkpoint(&scene, "0", &version).await, CONFLICT, "the version is of long ago");
    } else {
        assert!(!scene.capabilities.has_deletion, "a checkpoint is deleted by its version");
    }
    assert_eq!(scene.read("1").await.and_then(|read| read.sequence_number), Some(SequenceNumber::new(8)));
    assert_eq!(scene.only_record().await, owned, "the ownership record of the partition stays");
}

/// A checkpoint that was written meanwhile stays, and to delete what is not there is a conflict.
pub async fn a_checkpoint_that_changed_is_not_deleted(scene: Scene) {
    let old = scene.write(&at("0", 7), &Expected::Absent).await;
    scene.write(&at("0", 8), &Expected::Version(old.clone())).await;
    let before = scene.read("0").await;
    let expected = if scene.capabilities.has_deletion { CONFLICT } else { None };
    assert_eq!(delete_checkpoint(&scene, "0", &old).await, expected, "it has another version");
    assert_eq!(delete_checkpoint(&scene, "1", &old).await, expected, "it is not there");
    assert_eq!(scene.read("0").await, before);
}

/// What is deleted is absent on each handle. A claim by the version of the deleted record never wins.
pub async fn a_deleted_ownership_record_is_gone(scene: Scene) {
    let first = scene.claim("0", Some("a"), Expected::Absent).await;
    let kept = scene.claim("1", Some("a"), Expected::Absent).await;
    scene.write(&at("0", 7), &Expected::Absent).await;
    let Some(outcome) = delete_ownership(&scene, "0", &first.version).await else { return };
    assert_eq!(outcome, DeleteOutcome::Deleted);
    assert_eq!(scene.only_record().await, kept, "a deleted record is gone, and no other one");
    scene.assert_claim_is_lost("0", Some("a"), version_of(&first)).await;
    let again = scene.claim("0", Some("b"), Expected::Absent).await;
    assert_ne!(again.version, first.version, "a record that is created again has a new version");
    scene.assert_claim_is_lost("0", Some("a"), version_of(&first)).await;
    assert!(scene.read("0").await.is_some(), "the checkpoint of the partition stays");
}

/// A record that was renewed meanwhile stays, and to delete what is not there is a conflict.
pub async fn an_ownership_record_that_changed_is_not_deleted(scene: Scene) {
    let old = scene.claim("0", Some("a"), Expected::Absent).await;
    let renewed = scene.claim("0", Some("a"), version_of(&old)).await;
    let expected = if scene.capabilities.has_deletion { CONFLICT } else { None };
    assert_eq!(delete_ownership(&scene, "0", &old.version).await, expected, "it has another version");
    assert_eq!(delete_ownership(&scene, "1", &old.version).await, expected, "it is not there");
    assert_eq!(scene.only_record().await, renewed);
}

/// A scope is listed while it has a record of either kind, once, whatever the case of its names.
pub async fn scopes_with_records_are_listed(scene: Scene) {
    let (owning, reading) = (in_group(&scene, "owning"), in_group(&scene, "1%2F0 'x'"));
    owning.claim("0", Some("a"), Expected::Absent).await;
    // The same scope in another spelling must not be listed twice.
    owning.in_upper_case().claim("1", Some("a"), Expected::Absent).await;
    let version = reading.write(&at("0", 7), &Expected::Absent).await;
    assert_eq!(in_group(&scene, "unused").records().await, []);
    let Some(listed) = scopes(&scene).await else { return };
    let mut expected = vec![owning.scope.to_lowercase(), reading.scope.to_lowercase()];
    expected.sort();
    assert_eq!(listed, expected, "the scopes that have a record");
    assert_eq!(delete_checkpoint(&reading, "0", &version).await, DELETED);
    assert_eq!(
        scopes(&scene).await,
        Some(vec![owning.scope.to_lowercase()]),
        "a scope without a record is gone"
    );
}

/// The scopes in the place, in order; none of another test is in it.
async fn scopes(scene: &Scene) -> Option<Vec<ConsumerScope>> {
    let listed = supported(scene, scene.other.list_scopes().await)?;
    let mut listed: Vec<_> = listed.iter().map(ConsumerScope::to_lowercase).collect();
    listed.sort();
    Some(listed)
}

fn in_group(scene: &Scene, group: &str) -> Scene {
    scene.with_scope(|scope| scope.consumer_group = group.parse().expect("a valid consumer group"))
}

fn at(id: &str, number: i64) -> Checkpoint {
    Checkpoint::new(partition(id), None, Some(SequenceNumber::new(number)))
}
