//! What a store promises of ownership records: every write is a compare-and-swap.

use std::collections::BTreeSet;

use eventhubs_checkpoint_store::{ClaimOutcome, Expected, Mark, Ownership};
use tokio::task::JoinSet;

use crate::scene::{Scene, claim_of, owner, version_of};

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
    let marked = |version| claim_of("0", Some("a"), version).with_mark(mark.clone());
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

/// A release that brings no mark leaves none, and neither does the next owner.
pub async fn a_mark_is_gone_after_a_release(scene: Scene) {
    let marked = claim_of("0", Some("a"), Expected::Absent).with_mark(Some(Mark::new("1 offer")));
    let ClaimOutcome::Won(won) = scene.store.claim_ownership(&scene.scope, &marked).await else {
        panic!("an absent record is claimed");
    };
    let released = scene.claim("0", None, version_of(&won)).await;
    assert_eq!((released.mark, scene.only_record().await.mark), (None, None), "a release without a mark");
}

/// A release may leave a mark, as a hand over does.
pub async fn a_release_may_leave_a_mark(scene: Scene) {
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    let mark = Some(Mark::new("1 hand over to: b; \"x\" = 100%"));
    let release = claim_of("0", None, version_of(&owned)).with_mark(mark.clone());
    let outcome = scene.store.claim_ownership(&scene.scope, &release).await;
    assert!(
        matches!(outcome, ClaimOutcome::Won(_)),
        "a release by the listed version is won, not {outcome:?}"
    );
    let listed = scene.only_record().await;
    assert_eq!((listed.owner, listed.mark), (None, mark));
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
