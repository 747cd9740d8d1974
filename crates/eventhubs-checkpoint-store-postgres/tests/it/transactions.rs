//! Checkpoints in the transactions of an application.

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore as _, DeleteOutcome, Expected, FenceToken,
    TransactionalCheckpoint,
};
use eventhubs_checkpoint_store_postgres::tokio_postgres::{Client, Error, SimpleQueryMessage};
use eventhubs_checkpoint_store_postgres::{
    ALREADY_DONE, FENCED, PostgresCheckpointStore, is_already_done, is_fenced,
};
use eventhubs_test_harness::{LossyProxy, PgBouncer, Postgres};

use crate::{connect, connect_at, fence, partition, scope, sequence_number, store, store_at};

/// A store, and an application with a table in its database.
pub(crate) async fn application() -> (PostgresCheckpointStore, Client) {
    let (store, database) = store().await;
    let application = connect(&database).await;
    application.batch_execute("CREATE TABLE output (number bigint NOT NULL)").await.unwrap();
    (store, application)
}

pub(crate) fn checkpoint(number: i64, token: FenceToken) -> TransactionalCheckpoint {
    let offset = number.to_string().into();
    TransactionalCheckpoint::new(scope(), partition("0"), offset, number.into(), token)
}

/// Writes a row for the event and its checkpoint in one transaction.
pub(crate) async fn handle(
    store: &PostgresCheckpointStore,
    application: &mut Client,
    number: i64,
    token: FenceToken,
) -> Result<(), Error> {
    let transaction = application.transaction().await?;
    let row = format!("INSERT INTO output VALUES ({number})");
    transaction.batch_execute(&row).await?;
    store.write_checkpoint(&transaction, &checkpoint(number, token)).await?;
    transaction.commit().await
}

pub(crate) async fn output(application: &Client) -> Vec<i64> {
    let rows = application.query_typed("SELECT number FROM output ORDER BY number", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_checkpoint_commits_with_the_rows_of_the_application() {
    let (store, mut application) = application().await;
    let (token, before) = fence(&store).await;
    assert_eq!(before, None, "a fence is no checkpoint");
    handle(&store, &mut application, 7, token).await.unwrap();
    let found = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    assert_eq!((found.offset, found.sequence_number), (Some("7".into()), Some(7.into())));
    assert_eq!(output(&application).await, [7]);
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_no_checkpoint() {
    let (store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    let transaction = application.transaction().await.unwrap();
    store.write_checkpoint(&transaction, &checkpoint(8, token)).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(sequence_number(&store).await, None);
}

#[tokio::test]
async fn a_later_fence_refuses_the_earlier_owner_and_its_rows() {
    let (store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    handle(&store, &mut application, 1, earlier).await.unwrap();
    let (later, begins_after) = fence(&store).await;
    assert!(later > earlier);
    assert_eq!(begins_after, Some(1));
    let error = handle(&store, &mut application, 2, earlier).await.unwrap_err();
    assert!(is_fenced(&error) && !is_already_done(&error), "{error}");
    assert_eq!((output(&application).await, sequence_number(&store).await), (vec![1], Some(1)));
    handle(&store, &mut application, 2, later).await.unwrap();
    assert_eq!(output(&application).await, [1, 2]);
}

#[tokio::test]
async fn an_event_that_is_done_is_refused_with_its_rows() {
    let (store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    handle(&store, &mut application, 5, token).await.unwrap();
    for number in [5, 4] {
        let error = handle(&store, &mut application, number, token).await.unwrap_err();
        assert!(is_already_done(&error) && !is_fenced(&error), "{number}: {error}");
    }
    assert_eq!(output(&application).await, [5]);
    handle(&store, &mut application, 6, token).await.unwrap();
}

/// Whoever commits again after each of fifty lost answers inserts no row twice.
#[tokio::test]
async fn the_retry_of_a_commit_whose_answer_was_lost_is_done_already() {
    const COMMITS: i64 = 50;
    let (server, (store, database)) = (Postgres::shared().await, store().await);
    let mut observer = connect(&database).await;
    observer.batch_execute("CREATE TABLE output (number bigint NOT NULL)").await.unwrap();
    let (token, _) = fence(&store).await;
    let proxy = LossyProxy::start(server.port()).await;
    for number in 1..=COMMITS {
        // The connection is gone with each lost answer.
        let mut application = connect_at(proxy.port(), &database).await;
        let transaction = application.transaction().await.unwrap();
        transaction.batch_execute(&format!("INSERT INTO output VALUES ({number})")).await.unwrap();
        store.write_checkpoint(&transaction, &checkpoint(number, token)).await.unwrap();
        proxy.swallow_next_answer();
        assert!(transaction.commit().await.unwrap_err().is_closed());
        let error = handle(&store, &mut observer, number, token).await.unwrap_err();
        assert!(is_already_done(&error), "{error}");
    }
    assert_eq!(output(&observer).await, (1..=COMMITS).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_ordinary_checkpoint_may_go_back_and_keeps_the_token() {
    let (store, mut application) = application().await;
    let (token, _) = fence(&store).await;
    handle(&store, &mut application, 9, token).await.unwrap();
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    let back = Checkpoint::new(partition("0"), Some("3".into()), Some(3.into()));
    let expected = Expected::Version(read.version.unwrap());
    let outcome = store.update_checkpoint(&scope(), &back, &expected).await.unwrap();
    assert!(matches!(outcome, CheckpointOutcome::Written(_)), "{outcome:?}");
    handle(&store, &mut application, 4, token).await.unwrap();
    assert_eq!(sequence_number(&store).await, Some(4));
}

#[tokio::test]
async fn a_deleted_checkpoint_fences_whoever_owned_it() {
    let (store, mut application) = application().await;
    let (earlier, _) = fence(&store).await;
    handle(&store, &mut application, 1, earlier).await.unwrap();
    let read = store.checkpoint(&scope(), &partition("0")).await.unwrap().unwrap();
    let deleted = store.delete_checkpoint(&scope(), &partition("0"), &read.version.unwrap()).await;
    assert_eq!(deleted.unwrap(), DeleteOutcome::Deleted);
    assert!(is_fenced(&handle(&store, &mut application, 2, earlier).await.unwrap_err()));
    let (later, begins_after) = fence(&store).await;
    assert_eq!((begins_after, later > earlier), (None, true));
    assert!(is_fenced(&handle(&store, &mut application, 2, earlier).await.unwrap_err()));
}

#[tokio::test]
async fn a_driver_that_sends_plain_text_can_write_a_checkpoint() {
    let (store, application) = application().await;
    let (token, _) = fence(&store).await;
    let call = |number, epoch: i64| {
        format!(
            "BEGIN; INSERT INTO output VALUES ({number}); SELECT eventhubs.checkpoint( \
             ns => 'n.example.net', hub => 'hub', grp => 'group', part => '0', epoch => {epoch}, \
             \"offset\" => '{number}', seq => {number}); COMMIT"
        )
    };
    let answers = application.simple_query(&call(1, token.value())).await.unwrap();
    assert!(matches!(answers.last(), Some(SimpleQueryMessage::CommandComplete(0))), "{answers:?}");
    for (number, epoch, expected) in [(1, token.value(), ALREADY_DONE), (2, token.value() - 1, FENCED)] {
        let error = application.simple_query(&call(number, epoch)).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), expected);
        application.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!((output(&application).await, sequence_number(&store).await), (vec![1], Some(1)));
}

#[tokio::test]
async fn the_statement_for_other_drivers_names_the_schema_and_the_scope() {
    let server = Postgres::shared().await;
    let builder = PostgresCheckpointStore::builder(&server.connection_string("postgres"));
    let store = builder.schema("My Orders").build().unwrap();
    let statement = store.checkpoint_statement(&checkpoint(7, FenceToken::new(3)));
    assert_eq!(statement.sql, "SELECT \"My Orders\".checkpoint($1, $2, $3, $4, $5, $6, $7)");
    let texts = [&statement.namespace, &statement.event_hub, &statement.consumer_group, &statement.partition];
    assert_eq!(texts, ["n.example.net", "hub", "group", "0"]);
    assert_eq!((statement.epoch, &*statement.offset, statement.sequence_number), (3, "7", 7));
}

#[tokio::test]
async fn a_checkpoint_can_be_written_through_a_pooler_of_transactions() {
    let (direct, database) = store().await;
    direct.prepare().await.unwrap();
    let port = PgBouncer::shared().await.port();
    let (store, mut application) = (store_at(port, &database), connect_at(port, &database).await);
    application.batch_execute("CREATE TABLE output (number bigint NOT NULL)").await.unwrap();
    let (token, _) = fence(&store).await;
    handle(&store, &mut application, 1, token).await.unwrap();
    assert_eq!((output(&application).await, sequence_number(&store).await), (vec![1], Some(1)));
}
