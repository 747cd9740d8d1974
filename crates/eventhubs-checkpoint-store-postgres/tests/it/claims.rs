//! Many claims at once, from many at once.

use eventhubs_checkpoint_store::{
    CheckpointStore as _, Claim, ClaimOutcome, ErrorKind, Expected, Mark, Ownership,
};
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_test_harness::Postgres;
use tokio::task::JoinSet;

use crate::{claim, connect, scope, store, store_at, version_of};

const PARTITIONS: usize = 64;
const WRITERS: usize = 8;
const ROUNDS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_overlap_in_any_order_never_deadlock() {
    let server = Postgres::shared().await;
    let database = server.create_database();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store_at(server.port(), &database);
        writers.spawn(async move {
            let (mut won, owner) = (0, format!("writer-{writer}"));
            for round in 0..ROUNDS {
                let list = store.list_ownership(&scope()).await.unwrap();
                let expected = |id: &String| {
                    let found = list.records.iter().find(|record| record.partition.as_str() == id);
                    found.map_or(Expected::Absent, version_of)
                };
                // Each writer in another order, and some records are deleted meanwhile.
                let ids =
                    (0..PARTITIONS).map(|step| ((step * (2 * writer + 1) + round) % PARTITIONS).to_string());
                let claims: Vec<_> = ids.map(|id| claim(&id, Some(&owner), expected(&id))).collect();
                for outcome in store.claim_all(&scope(), &claims).await {
                    match outcome {
                        ClaimOutcome::Won(record) if record.partition.as_str().ends_with('7') => {
                            delete(&store, &record).await;
                        }
                        ClaimOutcome::Won(_) => won += 1,
                        ClaimOutcome::Lost => {}
                        other => panic!("a claim is won or lost, not {other:?}"),
                    }
                }
            }
            won
        });
    }
    let won: usize = writers.join_all().await.into_iter().sum();
    assert!(won >= PARTITIONS, "{won}");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let rows = connect(&database).await.query_typed(deadlocks, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 0);
}

async fn delete(store: &PostgresCheckpointStore, record: &Ownership) {
    store.delete_ownership(&scope(), &record.partition, &record.version).await.unwrap();
}

#[tokio::test]
async fn a_mark_that_cannot_be_kept_fails_its_own_claim_only() {
    let (store, _) = store().await;
    let marked =
        |id, mark: &str| -> Claim { claim(id, Some("a"), Expected::Absent).with_mark(Some(Mark::new(mark))) };
    let outcomes = store
        .claim_all(&scope(), &[marked("0", "a\0b"), marked("1", "fine"), marked("2", &"m".repeat(5000))])
        .await;
    for (outcome, is_fine) in outcomes.iter().zip([false, true, false]) {
        match outcome {
            ClaimOutcome::Won(_) => assert!(is_fine),
            ClaimOutcome::Failed(error) => {
                assert!(!is_fine && error.kind() == ErrorKind::InvalidArgument, "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_record_that_makes_no_sense_is_reported_and_fails_no_listing() {
    let (store, database) = store().await;
    store.prepare().await.unwrap();
    let insert = "INSERT INTO eventhubs.ownership VALUES \
        ('n.example.net', 'hub', 'group', 'a/b', 'x', NULL, 1, now()), \
        ('n.example.net', 'hub', 'group', '1', ' not an id', NULL, 2, now()); \
        INSERT INTO eventhubs.checkpoint VALUES ('n.example.net', 'hub', 'group', 'a/b', '1', 1, 3, 0, now())";
    connect(&database).await.batch_execute(insert).await.unwrap();
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!((list.records.len(), list.records[0].owner.as_ref()), (1, None));
    assert_eq!((list.rejected.len(), &*list.rejected[0].name), (1, "a/b"));
    assert!(store.list_checkpoints(&scope()).await.unwrap().is_empty());
}
