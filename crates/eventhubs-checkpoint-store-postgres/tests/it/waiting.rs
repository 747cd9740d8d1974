//! What waits for an open transaction of the application, and what does not.

use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore as _, ErrorKind, Expected};
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_test_harness::{PATIENCE, Postgres, within};

use crate::transactions::{application, checkpoint, handle};
use crate::{claim, connect, fence, partition, scope, store, version_of, won};

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_waits_for_an_open_transaction_and_sees_its_commit() {
    let (store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    let transaction = application.transaction().await.unwrap();
    store.write_checkpoint(&transaction, &checkpoint(7, earlier)).await.unwrap();
    let (next, mut record) = (store.clone(), won(&store, &claim("0", Some("a"), Expected::Absent)).await);
    let fenced = tokio::spawn(async move { fence(&next).await });
    // Far longer than one wait for the lock, and the renewals have to get through all the while.
    for _ in 0..40 {
        record = won(&store, &claim("0", Some("a"), version_of(&record))).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(!fenced.is_finished(), "the fence does not wait");
    transaction.commit().await.unwrap();
    let (_, begins_after) = within(PATIENCE, fenced).await.unwrap();
    assert_eq!(begins_after, Some(7));
    handle(&store, &mut application, 8, earlier).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_sees_the_earlier_checkpoint_if_the_open_one_is_rolled_back() {
    let (store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    handle(&store, &mut application, 6, earlier).await.unwrap();
    let transaction = application.transaction().await.unwrap();
    store.write_checkpoint(&transaction, &checkpoint(7, earlier)).await.unwrap();
    let next = store.clone();
    let fenced = tokio::spawn(async move { fence(&next).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!fenced.is_finished(), "the fence does not wait");
    transaction.rollback().await.unwrap();
    assert_eq!(within(PATIENCE, fenced).await.unwrap().1, Some(6));
}

#[tokio::test]
async fn a_fence_that_waits_too_long_is_a_timeout_and_changes_nothing() {
    let (store, database) = store().await;
    let (earlier, _) = fence(&store).await;
    let mut application = connect(&database).await;
    let transaction = application.transaction().await.unwrap();
    store.write_checkpoint(&transaction, &checkpoint(7, earlier)).await.unwrap();
    let connection_string = Postgres::shared().await.connection_string(&database);
    let hasty = PostgresCheckpointStore::builder(&connection_string).call_timeout(Duration::from_millis(700));
    let error = hasty.build().unwrap().fence(&scope(), &partition("0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    transaction.commit().await.unwrap();
    let transaction = application.transaction().await.unwrap();
    store.write_checkpoint(&transaction, &checkpoint(8, earlier)).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_too_long_ends_on_the_server_too() {
    let (store, database) = store().await;
    let record = won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    let mut application = connect(&database).await;
    let transaction = application.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE eventhubs.ownership IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let connection_string = Postgres::shared().await.connection_string(&database);
    let hasty = PostgresCheckpointStore::builder(&connection_string).call_timeout(Duration::from_secs(1));
    let error = hasty.build().unwrap().list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    transaction.rollback().await.unwrap();
    won(&store, &claim("0", Some("b"), version_of(&record))).await;
}
