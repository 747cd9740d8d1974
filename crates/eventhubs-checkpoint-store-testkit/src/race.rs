//! What a store promises of races: of many that want the same, one wins, whichever handles they use.

use eventhubs_checkpoint_store::{Checkpoint, CheckpointOutcome, ClaimOutcome, Expected, Version};
use eventhubs_types::{Offset, OwnerId, SequenceNumber};
use tokio::task::JoinSet;

use crate::scene::{Scene, partition, version_of};

const RACERS: i64 = 64;

/// Several instances start at once on an empty store.
pub async fn of_many_that_claim_an_absent_record_one_wins(scene: Scene) {
    for round in 0..scene.capabilities.racing_rounds {
        race(&scene, &round.to_string(), &Expected::Absent).await;
    }
}

/// Several instances want the same partition at once, over and over.
pub async fn of_many_that_claim_one_version_one_wins(scene: Scene) {
    let mut version = scene.claim("0", None, Expected::Absent).await.version;
    for _ in 0..scene.capabilities.racing_rounds {
        version = race(&scene, "0", &Expected::Version(version)).await;
    }
}

/// A race in which one releases the partition, as a graceful stop does while others steal.
pub async fn a_release_that_races_with_steals_is_one_of_the_racers(scene: Scene) {
    let mut record = scene.claim("0", Some("a"), Expected::Absent).await;
    for _ in 0..scene.capabilities.racing_rounds {
        let expected = version_of(&record);
        let other = scene.on_other_handle();
        let (release, steal) = tokio::join!(
            scene.try_claim("0", None, expected.clone()),
            other.try_claim("0", Some("b"), expected)
        );
        let won = [release, steal].map(|outcome| matches!(outcome, ClaimOutcome::Won(_)));
        assert!(won[0] != won[1], "one of a release and a steal wins, not {won:?}");
        record = scene.only_record().await;
        assert_eq!(record.owner.as_ref().map(OwnerId::as_str), if won[0] { None } else { Some("b") });
    }
}

/// Returns the version of the winner.
async fn race(scene: &Scene, id: &str, expected: &Expected) -> Version {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let (scene, id, expected) = (scene.on_handle(racer), id.to_owned(), expected.clone());
        racers.spawn(async move { scene.try_claim(&id, Some(&format!("racer-{racer}")), expected).await });
    }
    let mut winners = Vec::new();
    for outcome in racers.join_all().await {
        match outcome {
            ClaimOutcome::Won(record) => winners.push((record.owner, record.version)),
            ClaimOutcome::Lost => {}
            other => panic!("a race is won or lost, not {other:?}"),
        }
    }
    // The listing comes after all outcomes, so it shows the one winner on both handles.
    let listed = scene.records().await.into_iter().find(|record| record.partition.as_str() == id);
    let listed = listed.expect("the record that was raced for is listed");
    let version = listed.version.clone();
    assert_eq!(winners, [(listed.owner, listed.version)], "one winner, and the listing shows it");
    version
}

/// Two owners that overlap cannot overwrite each other's checkpoint unseen.
pub async fn of_many_that_write_over_one_version_one_wins(scene: Scene) {
    let mut version = scene.write(&at(0), &Expected::Absent).await;
    for _ in 0..scene.capabilities.racing_rounds {
        version = race_of_writes(&scene, &Expected::Version(version)).await;
    }
}

/// Two owners that overlap on a partition without a checkpoint cannot both write the first one.
pub async fn of_many_that_write_the_first_checkpoint_one_wins(scene: Scene) {
    for round in 0..scene.capabilities.racing_rounds {
        let hub = format!("{}-{round}", scene.scope.event_hub);
        let scene = scene.with_scope(|scope| scope.event_hub = hub.parse().expect("a valid hub"));
        race_of_writes(&scene, &Expected::Absent).await;
    }
}

async fn race_of_writes(scene: &Scene, expected: &Expected) -> Version {
    let mut writers = JoinSet::new();
    for number in 1..=RACERS {
        let (scene, expected) = (scene.on_handle(number), expected.clone());
        writers.spawn(async move { (at(number), scene.try_write(&at(number), &expected).await) });
    }
    let outcomes = writers.join_all().await;
    let written: Vec<_> =
        outcomes.into_iter().filter_map(|(checkpoint, outcome)| won(checkpoint, outcome)).collect();
    assert_eq!(written, scene.checkpoints(["0".to_owned()]).await, "one winner, and the listing shows it");
    written.into_iter().find_map(|winner| winner.version).expect("the winner has a version")
}

fn won(checkpoint: Checkpoint, outcome: CheckpointOutcome) -> Option<Checkpoint> {
    match outcome {
        CheckpointOutcome::Written(version) => Some(checkpoint.with_version(version)),
        CheckpointOutcome::Conflict => None,
        other => panic!("a race is won or lost, not {other:?}"),
    }
}

fn at(number: i64) -> Checkpoint {
    Checkpoint::new(
        partition("0"),
        Some(Offset::new((number * 100).to_string())),
        Some(SequenceNumber::new(number)),
    )
}
