//! What a store promises of several claims at once: each has the outcome that it would have alone.

use eventhubs_checkpoint_store::{Claim, ClaimOutcome, ErrorKind, Expected, Mark, Ownership};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::scene::{Scene, claim_of, owner, version_of};

/// The largest event hub has this many partitions.
const LARGEST_HUB: usize = 2_000;

/// How many calls of `claim_all` the suite has under way at the same time.
const CALLS: usize = 4;

/// Outcomes come in the order of the claims; what is lost is lost among others too, and prevents none of
/// them.
pub async fn claims_at_once_have_the_outcomes_of_single_claims(scene: Scene) {
    let owned = scene.claim("owned", Some("a"), Expected::Absent).await;
    let stale = scene.claim("stale", Some("a"), Expected::Absent).await;
    let newer = scene.claim("stale", Some("b"), version_of(&stale)).await;
    let left = scene.claim("left", Some("a"), Expected::Absent).await;
    let mark = Some(Mark::new("1 offer"));
    let claims = [
        claim_of("stale", Some("c"), version_of(&stale)),
        claim_of("new", Some("c"), Expected::Absent).with_mark(mark.clone()),
        claim_of("owned", Some("c"), Expected::Absent),
        claim_of("left", None, version_of(&left)),
        claim_of("none", Some("c"), version_of(&owned)),
        claim_of("newer", None, Expected::Absent),
    ];
    let outcomes = scene.claim_in_chunks(&claims).await;
    let won: Vec<_> = outcomes.iter().map(|outcome| matches!(outcome, ClaimOutcome::Won(_))).collect();
    assert_eq!(won, [false, true, false, true, false, true], "outcomes in the order of claims: {outcomes:?}");
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, ClaimOutcome::Failed(_))), "{outcomes:?}");
    let records = scene.records().await;
    let listed =
        |id: &str| records.iter().find(|record| record.partition.as_str() == id).expect("it is listed");
    assert_eq!(listed("stale"), &newer, "a claim that is lost changes nothing");
    assert_eq!(listed("owned"), &owned, "a claim that is lost changes nothing");
    for outcome in &outcomes {
        if let ClaimOutcome::Won(record) = outcome {
            assert_eq!(listed(record.partition.as_str()), record, "what was won is listed");
        }
    }
    assert_eq!((&listed("new").mark, &listed("left").owner), (&mark, &None));
    assert_eq!(records.len(), 5, "a claim by version creates no record: {records:?}");
}

/// Nothing to claim is no error, and asks for nothing.
pub async fn no_claims_have_no_outcomes(scene: Scene) {
    assert!(scene.store.max_claims() >= 1, "callers pass at least one claim at once");
    assert!(scene.store.claim_all(&scene.scope, &[]).await.is_empty());
    assert_eq!(scene.records().await, []);
}

/// A claim that the store refuses by its names fails alone.
pub async fn a_refused_claim_prevents_no_other(scene: Scene) {
    let claims = [
        claim_of("0", Some("a"), Expected::Absent),
        claim_of("1", Some("größe-日本"), Expected::Absent),
        claim_of("2", Some("a"), Expected::Absent),
    ];
    let outcomes = scene.claim_in_chunks(&claims).await;
    assert_eq!(outcomes.len(), 3);
    for (outcome, is_plain) in outcomes.iter().zip([true, false, true]) {
        match outcome {
            ClaimOutcome::Won(_) => {}
            ClaimOutcome::Failed(error) if !is_plain => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
            other => panic!("a claim of a free partition is won whatever the others are, not {other:?}"),
        }
    }
}

/// Two instances claim the same partitions at once in different orders: each partition has one winner, and
/// nobody waits for the other forever.
pub async fn claims_at_once_that_overlap_have_one_winner_each(scene: Scene) {
    let ids: Vec<_> = (0..64).map(|id: i32| id.to_string()).collect();
    let mut expected = vec![Expected::Absent; ids.len()];
    for _ in 0..scene.capabilities.racing_rounds.min(100) {
        let claims = |owner| -> Vec<_> {
            ids.iter().zip(&expected).map(|(id, old)| claim_of(id, Some(owner), old.clone())).collect()
        };
        // In opposite orders: a database that locks rows as they come has a deadlock here, now and then.
        let (forth, mut back) = (claims("a"), claims("b"));
        back.reverse();
        let other = scene.on_other_handle();
        let (ours, theirs) = tokio::join!(scene.claim_in_chunks(&forth), other.claim_in_chunks(&back));
        let mut winners: Vec<_> = ours.into_iter().chain(theirs).filter_map(record_won).collect();
        winners.sort_by(|a, b| a.partition.cmp(&b.partition));
        assert_eq!(winners, scene.records().await, "one winner for each partition, and the listing shows it");
        let version =
            |id: &String| winners.iter().find(|record| record.partition.as_str() == id).map(version_of);
        expected = ids.iter().map(|id| version(id).expect("each partition has a winner")).collect();
    }
}

fn record_won(outcome: ClaimOutcome) -> Option<Ownership> {
    match outcome {
        ClaimOutcome::Won(record) => Some(record),
        ClaimOutcome::Lost => None,
        other => panic!("a race is won or lost, not {other:?}"),
    }
}

/// The largest event hub: claimed, renewed and listed, by as many claims in one call as the store takes.
pub async fn two_thousand_partitions_are_claimed_and_renewed(scene: Scene) {
    let ids: Vec<_> = (0..LARGEST_HUB).map(|id| id.to_string()).collect();
    let first: Vec<_> = ids.iter().map(|id| claim_of(id, Some("a"), Expected::Absent)).collect();
    let won = all_won(&scene, &first).await;
    let renewals: Vec<_> =
        won.iter().map(|record| claim_of(record.partition.as_str(), Some("b"), version_of(record))).collect();
    let mut won = all_won(&scene, &renewals).await;
    won.sort_by(|a, b| a.partition.cmp(&b.partition));
    let records = scene.records().await;
    assert_eq!(records.len(), LARGEST_HUB, "all are listed");
    // Not by `assert_eq`, which would print both lists of 2000 records.
    assert!(records == won, "the listing shows what was won");
    assert!(records.iter().all(|record| record.owner == Some(owner("b"))), "all have the new owner");
}

async fn all_won(scene: &Scene, claims: &[Claim]) -> Vec<Ownership> {
    let calls: Vec<_> =
        claims.chunks(scene.max_claims()).map(|chunk| scene.store.claim_all(&scene.scope, chunk)).collect();
    let outcomes: Vec<_> = stream::iter(calls).buffered(CALLS).collect().await;
    let won: Vec<_> = outcomes.into_iter().flatten().filter_map(record_won).collect();
    let ids = |partitions: Vec<&str>| partitions.join(" ");
    let wanted = claims.iter().map(|claim| claim.partition.as_str()).collect();
    assert_eq!(ids(won.iter().map(|record| record.partition.as_str()).collect()), ids(wanted), "all are won");
    won
}
