//! Dead letters in the schema of a store.

use eventhubs_checkpoint_store::{CheckpointStore as _, ErrorKind, TransactionalCheckpoint};
use eventhubs_checkpoint_store_postgres::tokio_postgres::{self, Client};
use eventhubs_checkpoint_store_postgres::{
    PostgresCheckpointStore, PostgresDeadLetters, dead_letters_schema_sql, is_already_done, is_fenced,
    schema_sql,
};
use eventhubs_dead_letters::testkit::Place;
use eventhubs_dead_letters::{BoxError, DeadLetter, DeadLetterSink as _};
use eventhubs_test_harness::{PgBouncer, Postgres};
use eventhubs_types::{ConsumerScope, EventData};
use tokio::task::JoinSet;

use crate::{connect, fence, scope, sequence_number, store, store_at};

async fn direct(place: Place) -> PostgresDeadLetters {
    let server = Postgres::shared().await;
    server.create_database_named(place.name());
    PostgresDeadLetters::new(&store_at(server.port(), place.name()))
}

async fn pooled(place: Place) -> PostgresDeadLetters {
    direct(place.clone()).await;
    PostgresDeadLetters::new(&store_at(PgBouncer::shared().await.port(), place.name()))
}

/// Of all scopes, which the table itself is asked for.
async fn read(place: Place) -> Vec<DeadLetter> {
    let sink = direct(place.clone()).await;
    sink.prepare().await.unwrap();
    let sql = "SELECT DISTINCT namespace, event_hub, consumer_group FROM eventhubs.dead_letter";
    let mut letters = Vec::new();
    for row in connect(place.name()).await.query_typed(sql, &[]).await.unwrap() {
        let name = |column: usize| row.get::<_, &str>(column);
        let (namespace, hub, group) = (name(0).parse(), name(1).parse(), name(2).parse());
        let scope = ConsumerScope::new(namespace.unwrap(), hub.unwrap(), group.unwrap());
        letters.extend(sink.letters(&scope, None, 1000).await.unwrap());
    }
    letters
}

mod directly {
    eventhubs_dead_letters::dead_letter_sink_tests!(super::direct, super::read);
}

mod behind_pgbouncer {
    eventhubs_dead_letters::dead_letter_sink_tests!(super::pooled, super::read);
}

fn letter(partition: &str, number: i64) -> DeadLetter {
    let event = EventData::new(format!("event {number}"));
    let letter =
        DeadLetter::new(scope().to_lowercase(), partition.parse().unwrap(), number, "0", event, owner());
    letter.with_message(Some("raw".into()))
}

fn owner() -> eventhubs_types::OwnerId {
    "owner".parse().unwrap()
}

async fn give_up(
    sink: &PostgresDeadLetters,
    store: &PostgresCheckpointStore,
    client: &mut Client,
    checkpoint: &TransactionalCheckpoint,
) -> Result<(), BoxError> {
    let transaction = client.transaction().await?;
    sink.put_in(&transaction, &letter("0", checkpoint.sequence_number.value())).await?;
    store.write_checkpoint(&transaction, checkpoint).await?;
    Ok(transaction.commit().await?)
}

#[tokio::test]
async fn a_letter_and_the_checkpoint_of_its_event_are_there_together_or_not() {
    let (store, database) = store().await;
    let (sink, mut client) = (PostgresDeadLetters::new(&store), connect(&database).await);
    sink.prepare().await.unwrap();
    let (token, _) = fence(&store).await;
    let at = |number: i64| {
        TransactionalCheckpoint::new(scope(), "0".parse().unwrap(), "0".into(), number.into(), token)
    };
    let refused = |error: BoxError| *error.downcast::<tokio_postgres::Error>().unwrap();
    give_up(&sink, &store, &mut client, &at(7)).await.unwrap();
    assert!(is_already_done(&refused(give_up(&sink, &store, &mut client, &at(6)).await.unwrap_err())));
    fence(&store).await;
    assert!(is_fenced(&refused(give_up(&sink, &store, &mut client, &at(8)).await.unwrap_err())));
    assert_eq!(sink.letters(&scope(), None, 10).await.unwrap(), [letter("0", 7)]);
    assert_eq!(sequence_number(&store).await, Some(7));
}

#[tokio::test]
async fn letters_are_listed_in_pages_in_the_order_of_their_partition() {
    let sink = PostgresDeadLetters::new(&store().await.0);
    let all = [letter("0", 9), letter("0", 10), letter("1", -1), letter("10", 3), letter("2", 0)];
    for letter in all.iter().rev() {
        sink.put(letter).await.unwrap();
    }
    let mut listed: Vec<DeadLetter> = Vec::new();
    while let page = sink.letters(&scope(), listed.last(), 2).await.unwrap()
        && !page.is_empty()
    {
        assert!(page.len() <= 2);
        listed.extend(page);
    }
    assert_eq!(listed, all);
}

#[tokio::test]
async fn texts_that_postgres_does_not_take_are_kept_as_far_as_it_does() {
    let sink = PostgresDeadLetters::new(&store().await.0);
    let event = EventData::new("a\0b").property("na\0me", "va\0lue");
    let letter =
        DeadLetter::new(scope().to_lowercase(), "0".parse().unwrap(), 1, "of\0fset", event.clone(), owner());
    sink.put(&letter.with_undecodable_parts(vec!["pa\0rt".into()])).await.unwrap();
    let kept = sink.letters(&scope(), None, 10).await.unwrap().remove(0);
    assert_eq!((kept.event(), kept.undecodable_parts()), (&event, &["pa\0rt".to_owned()][..]));
    assert_eq!(kept.offset().as_str(), "of\u{fffd}fset");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_instances_put_their_first_letters_at_once() {
    let server = Postgres::shared().await;
    let database = server.create_database();
    let mut puts = JoinSet::new();
    for number in 0..8 {
        let sink = PostgresDeadLetters::new(&store_at(server.port(), &database));
        puts.spawn(async move { sink.put(&letter("0", number)).await });
    }
    for put in puts.join_all().await {
        put.unwrap();
    }
    let sink = PostgresDeadLetters::new(&store_at(server.port(), &database));
    assert_eq!(sink.letters(&scope(), None, 100).await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_store_that_may_not_migrate_takes_letters_once_the_printed_statements_were_run() {
    let server = Postgres::shared().await;
    let database = server.create_database();
    let builder = PostgresCheckpointStore::builder(&server.connection_string(&database)).schema("My Letters");
    let store = builder.migrate(false).build().unwrap();
    let client = connect(&database).await;
    client.batch_execute(&schema_sql("My Letters").unwrap()).await.unwrap();
    let sink = PostgresDeadLetters::new(&store);
    let error = sink.prepare().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("`dead_letters_schema_sql` prints how"), "{error}");
    client.batch_execute(&dead_letters_schema_sql("My Letters").unwrap()).await.unwrap();
    sink.put(&letter("0", 1)).await.unwrap();
}

#[tokio::test]
async fn a_table_of_a_newer_version_is_refused_with_both_versions() {
    let (store, database) = store().await;
    let sink = PostgresDeadLetters::new(&store);
    sink.prepare().await.unwrap();
    let insert = "INSERT INTO eventhubs.dead_letter_migration (version) VALUES (7)";
    connect(&database).await.batch_execute(insert).await.unwrap();
    let error = PostgresDeadLetters::new(&store).prepare().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("have version 7"), "{error}");
    store.list_ownership(&scope()).await.unwrap();
}

#[tokio::test]
async fn a_row_that_somebody_changed_is_an_error_without_its_content() {
    let (store, database) = store().await;
    let sink = PostgresDeadLetters::new(&store);
    sink.put(&letter("0", 1)).await.unwrap();
    let client = connect(&database).await;
    for change in ["event = '{\"body\":\"canary\"}'", "owner_id = 'canary/'"] {
        client.batch_execute(&format!("UPDATE eventhubs.dead_letter SET {change}")).await.unwrap();
        let error = sink.letters(&scope(), None, 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_letter_is_synced_even_where_commits_are_not() {
    for (of_database, expected) in [("off", "on"), ("remote_apply", "remote_apply")] {
        let (store, database) = store().await;
        let sink = PostgresDeadLetters::new(&store);
        sink.prepare().await.unwrap();
        let client = connect(&database).await;
        let setting = format!("ALTER DATABASE {database} SET synchronous_commit = {of_database}");
        client.batch_execute(&setting).await.unwrap();
        // What the commit of a letter will do can be seen by a trigger only.
        let trigger = "CREATE TABLE seen (setting text);
            CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
            CREATE TRIGGER look AFTER INSERT ON eventhubs.dead_letter FOR EACH ROW EXECUTE FUNCTION look()";
        client.batch_execute(trigger).await.unwrap();
        // Settings of a database are for connections that begin after them.
        let sink = PostgresDeadLetters::new(&store_at(Postgres::shared().await.port(), &database));
        sink.put(&letter("0", 1)).await.unwrap();
        let rows = client.query_typed("SELECT setting FROM seen", &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, &str>(0), expected);
    }
}
