//! What a store promises of fences: an ownership begins with the checkpoint, and a later one has a larger
//! token.

use std::collections::BTreeSet;

use eventhubs_checkpoint_store::{Checkpoint, DeleteOutcome, Expected, FenceToken, Fenced};
use eventhubs_types::{Offset, SequenceNumber};

use crate::scene::{Scene, partition};

/// How many ownerships of one partition begin at the same time.
const AT_ONCE: i64 = 32;

fn at(number: i64) -> Checkpoint {
    Checkpoint::new(partition("0"), Some(Offset::new("3:1:5")), Some(SequenceNumber::new(number)))
}

/// Begins an ownership of partition 0. A store has a token each time or never, as it says.
async fn fence(scene: &Scene) -> Fenced {
    let fenced = scene.store.fence(&scene.scope, &partition("0")).await.expect("an ownership can begin");
    assert_eq!(fenced.token.is_some(), scene.capabilities.has_fence, "a token, unless the store has none");
    fenced
}

/// A store may keep its token in a checkpoint without a position, which counts as none here.
fn position(checkpoint: Option<&Checkpoint>) -> Option<(Option<Offset>, Option<SequenceNumber>)> {
    let checkpoint = checkpoint?;
    let position = (checkpoint.offset.clone(), checkpoint.sequence_number);
    (position != (None, None)).then_some(position)
}

/// A fence shows the last checkpoint, whichever handle wrote it, and reading it later shows the same.
pub async fn a_fence_returns_the_checkpoint(scene: Scene) {
    scene.on_other_handle().write(&at(7), &Expected::Absent).await;
    let fenced = fence(&scene).await;
    let expected = position(Some(&at(7)));
    assert_eq!(position(fenced.checkpoint.as_ref()), expected, "a fence shows the last checkpoint");
    assert_eq!(scene.read("0").await, fenced.checkpoint, "the fence and a read show one version");
}

/// A fence invents no position. The first checkpoint is written by what the fence returned.
pub async fn a_fence_without_a_checkpoint_returns_no_position(scene: Scene) {
    let fenced = fence(&scene).await;
    assert_eq!(position(fenced.checkpoint.as_ref()), None, "nobody wrote a position");
    assert_eq!(position(scene.read("0").await.as_ref()), None, "nobody wrote a position");
    scene.write(&at(1), &expected_after(&fenced)).await;
}

/// The version that a fence returned is the one to write over, and the ownership record is not touched.
pub async fn the_version_of_a_fence_can_be_written_over(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    scene.write(&at(7), &Expected::Absent).await;
    let fenced = fence(&scene).await;
    scene.write(&at(8), &expected_after(&fenced)).await;
    assert_eq!(position(fence(&scene).await.checkpoint.as_ref()), position(Some(&at(8))));
    assert_eq!(scene.only_record().await, owned, "a fence does not touch the ownership record");
}

fn expected_after(fenced: &Fenced) -> Expected {
    let version = fenced
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.version.clone().expect("a checkpoint that was read has a version"));
    version.map_or(Expected::Absent, Expected::Version)
}

/// Each ownership has a larger token than all before, on each handle and after a restart.
pub async fn tokens_grow(scene: Scene) {
    let mut last = fence(&scene).await.token;
    for _ in 0..4 {
        last = larger(last, fence(&scene.on_other_handle()).await.token);
        last = larger(last, fence(&scene).await.token);
    }
    let scene = scene.restart().await;
    if scene.capabilities.is_durable {
        larger(last, fence(&scene).await.token);
    }
}

/// A checkpoint that is deleted takes no token with it: a late transaction of an earlier owner must not look
/// like one of a later owner.
pub async fn tokens_grow_after_a_deletion(scene: Scene) {
    let mut last = fence(&scene).await.token;
    last = larger(last, fence(&scene).await.token);
    if scene.capabilities.has_deletion {
        let fenced = fence(&scene).await;
        let version = scene.write(&at(7), &expected_after(&fenced)).await;
        let deleted = scene.store.delete_checkpoint(&scene.scope, &partition("0"), &version).await;
        assert_eq!(deleted.expect("a checkpoint can be deleted"), DeleteOutcome::Deleted);
        last = larger(last, fenced.token);
    }
    let fenced = fence(&scene).await;
    assert_eq!(position(fenced.checkpoint.as_ref()), None, "a deleted checkpoint has no position");
    larger(last, fenced.token);
}

#[track_caller]
fn larger(last: Option<FenceToken>, next: Option<FenceToken>) -> Option<FenceToken> {
    assert!(
        next > last || next.is_none(),
        "the token of a later ownership is larger: {last:?}, then {next:?}"
    );
    next
}

/// Ownerships that begin at the same time have different tokens.
pub async fn no_two_ownerships_have_one_token(scene: Scene) {
    let fences = (0..AT_ONCE).map(|racer| {
        let scene = scene.on_handle(racer);
        async move { fence(&scene).await.token }
    });
    let tokens = futures_util::future::join_all(fences).await;
    let different: BTreeSet<_> = tokens.iter().flatten().collect();
    let expected = if scene.capabilities.has_fence { tokens.len() } else { 0 };
    assert_eq!(different.len(), expected, "each ownership has a token of its own: {tokens:?}");
}
