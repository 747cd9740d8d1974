//! What a store promises of time: it has one clock or none, and a lease begins again with each renewal only.

use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{Expected, OwnershipList};

use crate::scene::{Scene, version_of};

/// The coarsest clock that a store may have: HTTP dates have whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// How long the suite waits before it looks at the clock of the store again.
const PAUSE: Duration = Duration::from_millis(50);

/// A store gives both times or none, and no record is written later than it is listed (whole seconds allowed
/// for).
pub async fn the_store_has_one_clock_or_none(scene: Scene) {
    let first = scene.claim("0", Some("a"), Expected::Absent).await;
    let second = scene.claim("0", Some("a"), version_of(&first)).await;
    let list = list(&scene).await;
    for record in [&first, &second, &list.records[0]] {
        assert_eq!(record.modified.is_some(), list.now.is_some(), "a clock in all places or in none");
    }
    assert_eq!(list.records[0].modified, second.modified, "a claim and the listing tell one time");
    assert!(first.modified <= second.modified, "the clock does not run backwards");
    if let (Some(modified), Some(now)) = (second.modified, list.now) {
        let ahead = modified.duration_since(now).unwrap_or_default();
        assert!(ahead <= TICK, "written {ahead:?} after it was listed");
    }
}

/// A renewal is what a lease is counted from, one that changes nothing else included.
pub async fn a_renewal_renews_the_time_of_the_record(scene: Scene) {
    let first = scene.claim("0", Some("a"), Expected::Absent).await;
    let Some(modified) = first.modified else { return assert_no_clock(&scene).await };
    wait_for_the_clock(&scene, modified).await;
    let renewed = scene.claim("0", Some("a"), version_of(&first)).await;
    assert!(renewed.modified > Some(modified), "a renewal is written later than what it renews");
    assert_eq!(scene.only_record().await.modified, renewed.modified, "the listing shows the renewal");
}

/// A record grows old while others read it, lose claims of it, or write its checkpoint: an instance that died
/// must not look alive.
pub async fn a_read_does_not_renew_the_time_of_the_record(scene: Scene) {
    let first = scene.claim("0", Some("a"), Expected::Absent).await;
    let Some(modified) = first.modified else { return assert_no_clock(&scene).await };
    wait_for_the_clock(&scene, modified).await;
    scene.read("0").await;
    scene.assert_claim_is_lost("0", Some("b"), Expected::Absent).await;
    let other = scene.claim("1", Some("b"), Expected::Absent).await;
    scene.assert_claim_is_lost("0", Some("b"), version_of(&other)).await;
    let listed = scene.records_of_one_handle().await.swap_remove(0);
    assert_eq!(listed.modified, first.modified, "only a claim that is won changes the time of a record");
}

/// Waits until the store's own clock is well after this time, which the claim told: a listing might renew it.
async fn wait_for_the_clock(scene: &Scene, since: SystemTime) {
    loop {
        let now = list(scene).await.now.expect("a clock in all places or in none");
        if now.duration_since(since).is_ok_and(|age| age > TICK) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn assert_no_clock(scene: &Scene) {
    assert_eq!(list(scene).await.now, None, "a clock in all places or in none");
}

async fn list(scene: &Scene) -> OwnershipList {
    scene.store.list_ownership(&scene.scope).await.expect("ownership can be listed")
}
