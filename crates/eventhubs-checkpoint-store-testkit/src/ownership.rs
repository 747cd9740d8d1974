//! What a store promises of ownership records: every write is a compare-and-swap.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use eventhubs_checkpoint_store::{Claim, ClaimOutcome, Expected, Mark, Ownership};
use tokio::task::JoinSet;

use crate::scene::{Scene, owner, partition, version_of};

/// A scope that nobody wrote to is empty, and is no error.
pub async fn an_unknown_scope_has_no_records(scene: Scene) {
    assert_eq!(scene.records().await, []);
    assert_eq!(scene.checkpoints(["0".to_owned()]).await, []);
}

/// `Expected::Absent` wins the first time only, and the listing shows what was won.
pub async fn an_absent_record_is_claimed_once(scene: Scene) {
    let won = scene.claim("0", Some("a"), Expected::Absent).await;
    scene.assert_claim_is_lost("0", Some("b"), Expected::Absent).await;
    scene.assert_claim_is_lost("0", Some("a"), Expected::Absent).await;
    let listed = scene.only_record().await;
    assert_eq!((listed.owner, listed.version), (won.owner, won.version));
}

/// `Expected::Version` never creates a record.
pub async fn a_claim_by_version_needs_a_record(scene: Scene) {
    let other = scene.claim("0", Some("a"), Expected::Absent).await;
    scene.assert_claim_is_lost("1", Some("a"), version_of(&other)).await;
    assert_eq!(scene.only_record().await.partition, other.partition);
}

/// A renewal writes the same owner, and still gives a new version.
pub async fn a_renewal_is_won_and_changes_the_version(scene: Scene) {
    let first = scene.claim("0", Some("a"), Expected::Absent).await;
    let second = scene.claim("0", Some("a"), version_of(&first)).await;
    assert_ne!(first.version, second.version, "a new version");
    scene.assert_claim_is_lost("0", Some("a"), version_of(&first)).await;
    assert_eq!(scene.only_record().await.version, second.version);
}

/// Versions do not repeat, so that a claim cannot be won by a version of long ago.
pub async fn no_version_ever_comes_back(scene: Scene) {
    let mut record = scene.claim("0", Some("a"), Expected::Absent).await;
    let mut seen = BTreeSet::from([record.version.as_str().to_owned()]);
    for turn in 0..12 {
        let next = [Some("a"), Some("b"), None][turn % 3];
        record = scene.claim("0", next, version_of(&record)).await;
        assert!(seen.insert(record.version.as_str().to_owned()), "{:?} came back", record.version);
    }
}

/// A claim by a version that is gone is lost, and the record is as before.
pub async fn a_claim_by_an_old_version_is_lost_and_changes_nothing(scene: Scene) {
    let old = scene.claim("0", Some("a"), Expected::Absent).await;
    scene.claim("0", Some("b"), version_of(&old)).await;
    let before = scene.only_record().await;
    scene.assert_claim_is_lost("0", Some("c"), version_of(&old)).await;
    scene.assert_claim_is_lost("0", None, version_of(&old)).await;
    assert_eq!(scene.only_record().await, before);
}

/// Who knows the version takes the partition, whoever the owner is; the owner's renewal is then lost.
pub async fn a_steal_is_a_claim_by_version(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    scene.claim("0", Some("b"), version_of(&owned)).await;
    scene.assert_claim_is_lost("0", Some("a"), version_of(&owned)).await;
    assert_eq!(scene.only_record().await.owner, Some(owner("b")));
}

/// A release is listed as a record without an owner: it is taken by its version, not as absent.
pub async fn a_released_record_stays_and_has_no_owner(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    scene.claim("0", None, version_of(&owned)).await;
    let released = scene.only_record().await;
    assert_eq!(released.owner, None);
    assert_ne!(released.version, owned.version);
    scene.assert_claim_is_lost("0", Some("b"), Expected::Absent).await;
    scene.claim("0", Some("b"), version_of(&released)).await;
    assert_eq!(scene.only_record().await.owner, Some(owner("b")));
}

/// A mark is told with the record until the next claim that is won; one that is lost changes nothing of it.
pub async fn a_mark_stays_until_the_next_claim_is_won(scene: Scene) {
    let mark = Some(Mark::new("1 ask instance 7/x"));
    let plain = scene.claim("0", Some("a"), Expected::Absent).await;
    assert_eq!((plain.mark.clone(), scene.only_record().await.mark), (None, None));
    let marked = |version| Claim::new(partition("0"), Some(owner("a")), version).with_mark(mark.clone());
    let ClaimOutcome::Won(won) = scene.store.claim_ownership(&scene.scope, &marked(version_of(&plain))).await
    else {
        panic!("a claim by the listed version is won");
    };
    assert_eq!((&won.mark, &scene.only_record().await.mark), (&mark, &mark));
    scene.assert_claim_is_lost("0", Some("b"), version_of(&plain)).await;
    assert_eq!(scene.only_record().await.mark, mark);
    scene.claim("0", Some("b"), version_of(&won)).await;
    assert_eq!(scene.only_record().await.mark, None);
}

/// A store gives both times or none, and no record is written later than it is listed (whole seconds allowed
/// for).
pub async fn the_store_has_one_clock_or_none(scene: Scene) {
    let first = scene.claim("0", Some("a"), Expected::Absent).await;
    let second = scene.claim("0", Some("a"), version_of(&first)).await;
    let list = scene.store.list_ownership(&scene.scope).await.expect("ownership can be listed");
    for record in [&first, &second, &list.records[0]] {
        assert_eq!(record.modified.is_some(), list.now.is_some(), "a clock in all places or in none");
    }
    assert!(first.modified <= second.modified, "the clock does not run backwards");
    if let (Some(modified), Some(now)) = (second.modified, list.now) {
        let ahead = modified.duration_since(now).unwrap_or_default();
        assert!(ahead.as_secs() <= 1, "written {ahead:?} after it was listed");
    }
}

/// A listing is complete, however many pages the store needs.
pub async fn two_hundred_partitions_are_listed(scene: Scene) {
    let mut claims = JoinSet::new();
    for id in 0..200 {
        let scene = scene.clone();
        claims.spawn(async move { scene.claim(&id.to_string(), Some("a"), Expected::Absent).await });
    }
    let mut won = claims.join_all().await;
    won.sort_by(|a, b| a.partition.cmp(&b.partition));
    let key = |record: &Ownership| (record.partition.clone(), record.version.clone());
    let listed: Vec<_> = scene.records().await.iter().map(key).collect();
    assert_eq!(listed, won.iter().map(key).collect::<Vec<_>>(), "all of them");
}

/// A claim that is dropped half-way leaves the old record or the new one, and the next listing tells which.
pub async fn a_dropped_claim_is_applied_whole_or_not_at_all(scene: Scene) {
    let mut record = scene.claim("0", Some("a"), Expected::Absent).await;
    for polls in 1..=8 {
        let claim = Claim::new(partition("0"), Some(owner("b")), version_of(&record));
        drop_after(polls, scene.store.claim_ownership(&scene.scope, &claim)).await;
        let listed = &scene.records_of_one_handle().await[0];
        let was_applied = listed.version != record.version;
        assert_eq!(listed.owner, if was_applied { Some(owner("b")) } else { Some(owner("a")) });
        record = renew_as(&scene, "a").await;
    }
}

/// Polls the work as often as it asks for it, at most `polls` times.
async fn drop_after(polls: usize, work: impl Future) {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        if work.as_mut().poll(context).is_ready() || left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Claims the partition from whatever the listing shows; a dropped write may still come in between.
async fn renew_as(scene: &Scene, name: &str) -> Ownership {
    for _ in 0..4 {
        let listed = &scene.records_of_one_handle().await[0];
        if let ClaimOutcome::Won(record) = scene.try_claim("0", Some(name), version_of(listed)).await {
            return record;
        }
    }
    panic!("a claim by the listed version is won once the dropped write has settled");
}
