//! Hints: claims that announce themselves, to all who watch the file.

use eventhubs_checkpoint_store::{Audience, BoxStream, CheckpointStore as _, Expected, Hint};
use eventhubs_types::OwnerId;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::{PATIENCE, absent_file, claim, connect, open, partition, scope, won};

fn everyone(id: &str) -> Hint {
    Hint::new(partition(id), Audience::Everyone)
}

async fn next(hints: &mut BoxStream<'static, Hint>) -> Hint {
    timeout(PATIENCE, hints.next()).await.expect("a hint in time").expect("the stream does not end")
}

#[tokio::test]
async fn a_claim_that_announces_itself_is_a_hint_to_other_connections() {
    let (_folder, path) = absent_file();
    let (here, there) = (open(&path).await, open(&path).await);
    let mut hints = here.watch(&scope());
    won(&there, &claim("silent", Some("a"), Expected::Absent)).await;
    won(&there, &claim("0", None, Expected::Absent).announcing(Audience::Everyone)).await;
    assert_eq!(next(&mut hints).await, everyone("0"));
}

#[tokio::test]
async fn a_claim_that_announces_itself_is_a_hint_to_its_own_connection() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let mut hints = store.watch(&scope());
    let to = Audience::Owner(OwnerId::new("b").unwrap());
    won(&store, &claim("0", Some("a"), Expected::Absent).announcing(to.clone())).await;
    assert_eq!(next(&mut hints).await, Hint::new(partition("0"), to));
}

#[tokio::test]
async fn a_lost_claim_and_another_scope_give_no_hint() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let mut other = scope();
    other.consumer_group = "other".parse().unwrap();
    let (mut hints, mut others) = (store.watch(&scope()), store.watch(&other));
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    let lost = claim("0", Some("b"), Expected::Absent).announcing(Audience::Everyone);
    store.claim_ownership(&scope(), &lost).await;
    won(&store, &claim("1", None, Expected::Absent).announcing(Audience::Everyone)).await;
    assert_eq!(next(&mut hints).await, everyone("1"));
    assert!(others.next().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_while_the_thread_is_busy_is_not_missed() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let other = connect(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waits = tokio::spawn({
        let store = store.clone();
        async move { won(&store, &claim("0", Some("a"), Expected::Absent)).await }
    });
    let mut hints = store.watch(&scope());
    let now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
    let insert =
        format!("INSERT INTO eventhubs_hint VALUES (1, 'n.example.net', 'hub', 'group', '1', NULL, {now})");
    other.execute(&insert, []).unwrap();
    other.execute_batch("UPDATE eventhubs_counter SET value = 1; COMMIT").unwrap();
    assert_eq!(next(&mut hints).await, everyone("1"));
    waits.await.unwrap();
}

#[tokio::test]
async fn a_watch_that_begins_again_hears_of_later_claims() {
    let (_folder, path) = absent_file();
    let (here, there) = (open(&path).await, open(&path).await);
    for id in ["0", "1", "2"] {
        let mut hints = here.watch(&scope());
        won(&there, &claim(id, None, Expected::Absent).announcing(Audience::Everyone)).await;
        // What was announced in the last second may come again.
        while next(&mut hints).await != everyone(id) {}
    }
}

#[tokio::test]
async fn the_watch_of_a_store_that_is_dropped_is_silent() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let mut hints = store.watch(&scope());
    drop(store);
    let wal = path.with_extension("db-wal");
    timeout(PATIENCE, async {
        while wal.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the thread ends although somebody watches");
    assert!(hints.next().now_or_never().is_none());
}

#[tokio::test]
async fn only_the_last_hints_are_kept() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let announced = |id: i32| claim(&id.to_string(), None, Expected::Absent).announcing(Audience::Everyone);
    for first in [0, 1000] {
        let claims: Vec<_> = (first..first + 1000).map(announced).collect();
        store.claim_all(&scope(), &claims).await;
    }
    let sql = "SELECT count(*), min(partition_id + 0) FROM eventhubs_hint";
    let kept = connect(&path).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(kept, (1024_i64, 976_i64));
}
