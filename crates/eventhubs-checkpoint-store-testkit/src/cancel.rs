//! What a store promises of calls that are dropped: a write is applied whole or not at all, and the store
//! works on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use eventhubs_checkpoint_store::{Checkpoint, CheckpointOutcome, ClaimOutcome, Expected, Ownership};
use eventhubs_types::{Offset, SequenceNumber};

use crate::scene::{Scene, claim_of, owner, partition, version_of};

/// The last of a call's awaits at which it is dropped, if it has this many.
const MAX_POLLS: usize = 24;

/// How often a write is tried while one that was dropped may still come.
const ATTEMPTS: usize = 8;

/// A claim that is dropped at any await leaves the old record or the new one, and the next listing tells
/// which.
pub async fn a_dropped_claim_is_applied_whole_or_not_at_all(scene: Scene) {
    let mut record = scene.claim("0", Some("a"), Expected::Absent).await;
    for polls in 1..=MAX_POLLS {
        let claim = claim_of("0", Some("b"), version_of(&record));
        let is_done = drop_after(polls, scene.store.claim_ownership(&scene.scope, &claim)).await;
        // By one listing: the dropped write may still come, and a second listing would rightly show another
        // record.
        let listed = &scene.records_of_one_handle().await[0];
        let was_applied = listed.version != record.version;
        assert_eq!(listed.owner, Some(owner(if was_applied { "b" } else { "a" })), "owner and version match");
        // By the other handle, so that a lock which the dropped call left cannot be taken for granted.
        record = renew_as(&scene.on_other_handle(), "0", "a").await;
        if is_done {
            break;
        }
    }
}

/// Of claims at once that are dropped, each is applied whole or not at all.
pub async fn dropped_claims_at_once_are_each_applied_whole_or_not_at_all(scene: Scene) {
    let ids = ["0", "1", "2", "3"];
    for id in ids {
        scene.claim(id, Some("a"), Expected::Absent).await;
    }
    for polls in 1..=MAX_POLLS {
        let before = scene.records_of_one_handle().await;
        let claims: Vec<_> =
            ids.iter().zip(&before).map(|(id, old)| claim_of(id, Some("b"), version_of(old))).collect();
        let is_done = drop_after(polls, scene.claim_in_chunks(&claims)).await;
        let after = scene.records_of_one_handle().await;
        assert_eq!(after.len(), ids.len(), "no record is lost");
        for (old, new) in before.iter().zip(&after) {
            let expected = if old.version == new.version { "a" } else { "b" };
            assert_eq!(new.owner, Some(owner(expected)), "owner and version match");
        }
        for id in ids {
            renew_as(&scene.on_other_handle(), id, "a").await;
        }
        if is_done {
            break;
        }
    }
}

/// A checkpoint that is dropped at any await is the old one or the new one, never a mixture of the two.
pub async fn a_dropped_checkpoint_is_written_whole_or_not_at_all(scene: Scene) {
    for (polls, number) in (1..=MAX_POLLS).zip(1..) {
        let before = settled_write(&scene, number * 10).await;
        let new = at(number * 10 + 1);
        let expected = Expected::Version(before.version.clone().expect("it was read"));
        let write = scene.store.update_checkpoint(&scene.scope, &new, &expected);
        let is_done = drop_after(polls, write).await;
        let read = read_once(&scene).await.expect("a checkpoint is never lost");
        let kept = if read.version == before.version { &before } else { &new };
        assert_eq!(
            (&read.offset, read.sequence_number),
            (&kept.offset, kept.sequence_number),
            "never a mixture"
        );
        if is_done {
            break;
        }
    }
}

/// A read that is dropped at any await disturbs no later call.
pub async fn a_dropped_read_disturbs_no_later_call(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    let version = scene.write(&at(7), &Expected::Absent).await;
    for polls in 1..=MAX_POLLS {
        let is_listed = drop_after(polls, scene.store.list_ownership(&scene.scope)).await;
        let is_read = drop_after(polls, scene.store.checkpoint(&scene.scope, &partition("0"))).await;
        if is_listed && is_read {
            break;
        }
    }
    assert_eq!(scene.only_record().await, owned);
    assert_eq!(scene.read("0").await, Some(at(7).with_version(version)));
}

/// Polls the work as often as it asks for it, at most `polls` times, and tells whether it was done by then.
async fn drop_after(polls: usize, work: impl Future) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Claims the partition from whatever the listing shows; a dropped write may still come in between.
async fn renew_as(scene: &Scene, id: &str, name: &str) -> Ownership {
    for _ in 0..ATTEMPTS {
        let expected = scene.expected_of(id).await;
        if let ClaimOutcome::Won(record) = scene.try_claim(id, Some(name), expected).await {
            return record;
        }
    }
    panic!("a claim by the listed version is won once the dropped write has settled");
}

/// Writes over whatever is there, as above.
async fn settled_write(scene: &Scene, number: i64) -> Checkpoint {
    for _ in 0..ATTEMPTS {
        let old = read_once(scene).await.and_then(|read| read.version);
        let expected = old.map_or(Expected::Absent, Expected::Version);
        if let CheckpointOutcome::Written(version) = scene.try_write(&at(number), &expected).await {
            return at(number).with_version(version);
        }
    }
    panic!("a write by the version read is applied once the dropped write has settled");
}

async fn read_once(scene: &Scene) -> Option<Checkpoint> {
    scene.store.checkpoint(&scene.scope, &partition("0")).await.expect("a checkpoint can be read")
}

fn at(number: i64) -> Checkpoint {
    let offset = Offset::new((number * 100).to_string());
    Checkpoint::new(partition("0"), Some(offset), Some(SequenceNumber::new(number)))
}
