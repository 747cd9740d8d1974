//! Dead letters in the file of a store.

use eventhubs_checkpoint_store::{CheckpointStore as _, ErrorKind, TransactionalCheckpoint};
use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, TransactionBehavior};
use eventhubs_checkpoint_store_sqlite::{
    SqliteCheckpointStore, SqliteDeadLetters, Synchronous, TransactionalCheckpointExt as _, is_already_done,
    is_fenced,
};
use eventhubs_dead_letters::testkit::{Place, dead_letter_sink_tests};
use eventhubs_dead_letters::{DeadLetter, DeadLetterSink as _};
use eventhubs_types::{ConsumerScope, EventData};

use crate::{absent_file, connect, fence, open, scope, sequence_number};

async fn open_sink(place: Place) -> SqliteDeadLetters {
    sink(&open(&place.folder().join("checkpoints.db")).await).await
}

async fn sink(store: &SqliteCheckpointStore) -> SqliteDeadLetters {
    SqliteDeadLetters::new(store).await.unwrap()
}

/// Of all scopes, which the table itself is asked for.
async fn read(place: Place) -> Vec<DeadLetter> {
    let sink = open_sink(place.clone()).await;
    let connection = connect(&place.folder().join("checkpoints.db"));
    let sql = "SELECT DISTINCT namespace, event_hub, consumer_group FROM eventhubs_dead_letter";
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| Ok([0, 1, 2].map(|column| row.get(column).unwrap()))).unwrap();
    let mut letters = Vec::new();
    for [namespace, hub, group] in names.map(|row: rusqlite::Result<[String; 3]>| row.unwrap()) {
        let scope =
            ConsumerScope::new(namespace.parse().unwrap(), hub.parse().unwrap(), group.parse().unwrap());
        letters.extend(sink.letters(&scope, None, 1000).await.unwrap());
    }
    letters
}

dead_letter_sink_tests!(open_sink, read);

fn letter(partition: &str, number: i64) -> DeadLetter {
    let event = EventData::new(format!("event {number}"));
    DeadLetter::new(scope(), partition.parse().unwrap(), number, "0", event, "owner".parse().unwrap())
}

fn give_up(connection: &mut Connection, checkpoint: &TransactionalCheckpoint) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    SqliteDeadLetters::put_in(&transaction, &letter("0", checkpoint.sequence_number.value()))?;
    checkpoint.write(&transaction)?;
    transaction.commit()
}

#[tokio::test]
async fn a_letter_and_the_checkpoint_of_its_event_are_there_together_or_not() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let (sink, mut connection) = (sink(&store).await, connect(&path));
    let (token, _) = fence(&store).await;
    let at = |number: i64, token| {
        TransactionalCheckpoint::new(scope(), "0".parse().unwrap(), "0".into(), number.into(), token)
    };
    give_up(&mut connection, &at(7, token)).unwrap();
    assert!(is_already_done(&give_up(&mut connection, &at(6, token)).unwrap_err()));
    fence(&store).await;
    assert!(is_fenced(&give_up(&mut connection, &at(8, token)).unwrap_err()));
    assert_eq!(sink.letters(&scope(), None, 10).await.unwrap(), [letter("0", 7)]);
    assert_eq!(sequence_number(&store).await, Some(7));
}

#[tokio::test]
async fn letters_are_listed_in_pages_in_the_order_of_their_partition() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let sink = sink(&store).await;
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
async fn a_letter_is_synced_even_where_checkpoints_are_not() {
    let (_folder, path) = absent_file();
    let builder = SqliteCheckpointStore::builder(&path).synchronous(Synchronous::Normal);
    let sink = sink(&builder.open().await.unwrap()).await;
    // What a commit syncs is copied into the database by a checkpoint of SQLite only if it is asked for, so the log
    // tells nothing. A trigger sees the setting instead.
    let sql = "CREATE TABLE seen (synchronous INTEGER);
        CREATE TRIGGER look AFTER INSERT ON eventhubs_dead_letter
        BEGIN INSERT INTO seen SELECT synchronous FROM pragma_synchronous; END";
    connect(&path).execute_batch(sql).unwrap();
    sink.put(&letter("0", 1)).await.unwrap();
    let seen: i64 = connect(&path).query_row("SELECT synchronous FROM seen", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 2, "FULL");
}

#[tokio::test]
async fn a_table_of_a_later_version_is_refused_with_both_versions() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    sink(&store).await;
    connect(&path).execute("INSERT INTO eventhubs_dead_letter_schema VALUES (7, 0)", []).unwrap();
    let error = SqliteDeadLetters::new(&store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("version 7") && error.to_string().contains("knows 1"), "{error}");
    store.list_ownership(&scope()).await.unwrap();
}

#[tokio::test]
async fn a_row_that_somebody_changed_is_an_error_without_its_content() {
    let (_folder, path) = absent_file();
    let sink = sink(&open(&path).await).await;
    sink.put(&letter("0", 1)).await.unwrap();
    for (column, value) in [("event", "canary"), ("event", "{\"body\":\"canary\"}"), ("owner_id", "")] {
        let sql = format!("UPDATE eventhubs_dead_letter SET {column} = ?1");
        connect(&path).execute(&sql, [value]).unwrap();
        let error = sink.letters(&scope(), None, 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
