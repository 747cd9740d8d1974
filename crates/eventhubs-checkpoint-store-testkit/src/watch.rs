//! What a store promises of hints: they may be missed and may repeat, and none is invented.

use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, BoxStream, Claim, ClaimOutcome, Expected, Hint, Version};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::scene::{Scene, claim_of, owner, partition};

/// How long a hint is waited for before the claim is announced again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a claim is announced until its hint must have come: ten seconds of pauses.
const ANNOUNCEMENTS: usize = 100;

/// How many claims are announced to somebody who does not read.
const UNREAD: usize = 2_000;

/// How long one of these claims may take.
const CLAIM: Duration = Duration::from_secs(10);

/// A hint comes to those who watch by the handle that won the claim and by any other one.
pub async fn an_announced_claim_is_hinted_on_each_handle(scene: Scene) {
    for (id, audience) in [("0", Audience::Everyone), ("1", Audience::Owner(owner("instance 7: x")))] {
        let mut hints = [scene.store.watch(&scene.scope), scene.other.watch(&scene.scope)];
        for watched in &mut hints {
            let seen = announce_until_seen(&scene, id, &audience, watched).await;
            let expected = Hint::new(partition(id), audience.clone());
            assert_eq!(seen.first(), hinted(&scene).then_some(&expected), "the partition and the audience");
        }
    }
}

/// Names of scopes that differ in case are one scope for hints too.
pub async fn a_hint_comes_whatever_the_case_of_the_scope(scene: Scene) {
    let upper = scene.in_upper_case();
    let mut hints = upper.other.watch(&upper.scope);
    let seen = announce_until_seen(&scene, "0", &Audience::Everyone, &mut hints).await;
    assert_eq!(!seen.is_empty(), hinted(&scene));
}

/// Claims of other scopes, claims that are lost and claims without an audience are not hinted.
pub async fn only_won_and_announced_claims_are_hinted(scene: Scene) {
    let mut hints = scene.other.watch(&scene.scope);
    let elsewhere = scene.with_scope(|scope| scope.consumer_group = "other".parse().expect("a valid group"));
    let mut seen = announce_until_seen(&scene, "first", &Audience::Everyone, &mut hints).await;
    scene.claim("silent", Some("a"), Expected::Absent).await;
    elsewhere.announce("elsewhere", Expected::Absent, &Audience::Everyone).await;
    for _ in 0..3 {
        let late = claim_of("silent", Some("b"), Expected::Absent).announcing(Audience::Everyone);
        let outcomes = scene.claim_in_chunks(&[late]).await;
        assert!(matches!(outcomes[..], [ClaimOutcome::Lost]), "a record is claimed as absent once");
    }
    seen.extend(announce_until_seen(&scene, "last", &Audience::Everyone, &mut hints).await);
    let invented = seen.iter().find(|hint| !["first", "last"].contains(&hint.partition.as_str()));
    assert_eq!(invented, None, "a hint is of a claim of the scope that was won and announced");
}

/// A claim among others is hinted like a single one.
pub async fn a_claim_at_once_with_others_is_hinted(scene: Scene) {
    let mut hints = scene.other.watch(&scene.scope);
    let mut versions = [Expected::Absent, Expected::Absent];
    for _ in 0..ANNOUNCEMENTS {
        let [plain, announced] = versions;
        let claims = [
            claim_of("plain", Some("a"), plain),
            claim_of("announced", None, announced).announcing(Audience::Everyone),
        ];
        let outcomes = scene.claim_in_chunks(&claims).await;
        versions = [version_won(&outcomes[0]), version_won(&outcomes[1])].map(Expected::Version);
        let Some(hint) = next_of(&scene, &mut hints).await else { continue };
        return assert_eq!(hint, Hint::new(partition("announced"), Audience::Everyone));
    }
    assert!(!hinted(&scene), "an announced claim is hinted, at least once in {ANNOUNCEMENTS} times");
}

/// Whoever does not read his hints delays no claim, and others still get theirs.
pub async fn hints_that_nobody_reads_delay_no_claim(scene: Scene) {
    // One that is never polled, and one that is gone: both must cost a claim nothing.
    let unread = scene.other.watch(&scene.scope);
    drop(scene.store.watch(&scene.scope));
    let mut expected = Expected::Absent;
    for _ in 0..UNREAD.min(scene.capabilities.racing_rounds * 10) {
        let claim = scene.announce("0", expected, &Audience::Everyone);
        let version = timeout(CLAIM, claim).await.expect("a claim waits for nobody who does not read hints");
        expected = Expected::Version(version);
    }
    let mut read = scene.other.watch(&scene.scope);
    let seen = announce_until_seen(&scene, "1", &Audience::Everyone, &mut read).await;
    assert_eq!(!seen.is_empty(), hinted(&scene), "the one who reads");
    drop(unread);
}

fn hinted(scene: &Scene) -> bool {
    scene.capabilities.has_watch
}

/// Announces claims of the partition until one is hinted, and returns all hints so far; none where the store
/// has no hints.
async fn announce_until_seen(
    scene: &Scene,
    id: &str,
    audience: &Audience,
    hints: &mut BoxStream<'static, Hint>,
) -> Vec<Hint> {
    let (mut expected, mut seen) = (scene.expected_of(id).await, Vec::new());
    for _ in 0..ANNOUNCEMENTS {
        expected = Expected::Version(scene.announce(id, expected, audience).await);
        // A hint may be missed, so the claim is announced again whenever none has come for a while.
        while let Some(hint) = next_of(scene, hints).await {
            let is_wanted = hint.partition.as_str() == id;
            seen.push(hint);
            if is_wanted {
                seen.reverse();
                return seen;
            }
        }
        if !hinted(scene) {
            return seen;
        }
    }
    panic!("an announced claim is hinted, at least once in {ANNOUNCEMENTS} times");
}

/// The next hint; `None` when none came in time. A store that has no hints must not have one ready.
async fn next_of(scene: &Scene, hints: &mut BoxStream<'static, Hint>) -> Option<Hint> {
    let next =
        if hinted(scene) { timeout(PAUSE, hints.next()).await.ok() } else { hints.next().now_or_never() };
    next.map(|hint| hint.expect("the stream does not end"))
}

fn version_won(outcome: &ClaimOutcome) -> Version {
    match outcome {
        ClaimOutcome::Won(record) => record.version.clone(),
        other => panic!("a claim by the version of the record is won, not {other:?}"),
    }
}

impl Scene {
    /// Wins a claim that announces itself, and returns the new version.
    async fn announce(&self, id: &str, expected: Expected, audience: &Audience) -> Version {
        let claim: Claim = claim_of(id, Some("a"), expected).announcing(audience.clone());
        version_won(&self.store.claim_ownership(&self.scope, &claim).await)
    }
}
