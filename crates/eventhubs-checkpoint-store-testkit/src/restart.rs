//! What a store promises of a restart: what was answered is still there when all handles are gone.

use eventhubs_checkpoint_store::{Checkpoint, Claim, ClaimOutcome, Expected, Mark};
use eventhubs_types::{Offset, SequenceNumber};

use crate::scene::{Scene, owner, partition, version_of};

/// Owners, releases, marks and versions survive, and versions from before the restart still win. A store that
/// keeps nothing starts empty.
pub async fn ownership_survives_a_restart(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    let released = scene.claim("1", None, Expected::Absent).await;
    let marked = Claim::new(partition("2"), Some(owner("b")), Expected::Absent);
    let marked = marked.with_mark(Some(Mark::new("kept")));
    let outcome = scene.store.claim_ownership(&scene.scope, &marked).await;
    assert!(matches!(outcome, ClaimOutcome::Won(_)), "an absent record is claimed, not {outcome:?}");
    let before = scene.records().await;
    let scene = scene.restart().await;
    let is_durable = scene.capabilities.is_durable;
    assert_eq!(scene.records().await, if is_durable { before } else { Vec::new() }, "after the restart");
    if is_durable {
        scene.claim("0", Some("a"), version_of(&owned)).await;
        scene.claim("1", Some("a"), version_of(&released)).await;
        scene.assert_claim_is_lost("0", Some("c"), version_of(&owned)).await;
    }
}

/// Checkpoints and their versions survive. A store that keeps nothing starts empty.
pub async fn checkpoints_survive_a_restart(scene: Scene) {
    let checkpoint =
        Checkpoint::new(partition("0"), Some(Offset::new("3:12:7")), Some(SequenceNumber::new(7)));
    let version = scene.write(&checkpoint, &Expected::Absent).await;
    let before = scene.read("0").await;
    let scene = scene.restart().await;
    let is_durable = scene.capabilities.is_durable;
    assert_eq!(scene.read("0").await, if is_durable { before } else { None }, "after the restart");
    if is_durable {
        scene.assert_write_conflicts(&checkpoint, &Expected::Absent).await;
        scene.write(&checkpoint, &Expected::Version(version)).await;
    }
}

/// A version from before a restart names no later record: a counter that starts again would let an old claim
/// win.
pub async fn no_version_comes_back_after_a_restart(scene: Scene) {
    let mut record = scene.claim("0", Some("a"), Expected::Absent).await;
    let mut seen = vec![record.version.clone()];
    for _ in 0..3 {
        record = scene.claim("0", Some("a"), version_of(&record)).await;
        seen.push(record.version.clone());
    }
    let scene = scene.restart().await;
    if !scene.capabilities.is_durable {
        // Nobody is left who knows an old version: all handles were in the process that ended.
        return scene.assert_claim_is_lost("0", Some("a"), version_of(&record)).await;
    }
    record = scene.claim("0", Some("b"), version_of(&record)).await;
    for _ in 0..seen.len() {
        assert!(!seen.contains(&record.version), "{:?} came back", record.version);
        record = scene.claim("0", Some("b"), version_of(&record)).await;
    }
}
