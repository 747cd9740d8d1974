//! Owners who take a partition from each other all the time, and an output that must be there exactly once.

use std::path::Path;
use std::thread;

use eventhubs_checkpoint_store::{CheckpointStore as _, FenceToken, TransactionalCheckpoint};
use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, TransactionBehavior};
use eventhubs_checkpoint_store_sqlite::{SqliteCheckpointStore, TransactionalCheckpointExt as _, is_fenced};

use crate::{absent_file, connect, open, partition, scope};

const EVENTS: i64 = 400;
const OWNERS: usize = 4;

/// Each owner handles up to this many events before it takes the partition again, or is taken from.
const STRETCH: i64 = 7;

#[test]
fn owners_that_steal_all_the_time_write_each_row_once() {
    let (_folder, path) = absent_file();
    connect(&path).execute("CREATE TABLE output (number INTEGER NOT NULL)", []).unwrap();
    let fenced = together(&path, Checked::Yes);
    assert!(fenced > 0, "nobody was ever fenced, so nothing is shown");
    assert_eq!(rows(&path), (EVENTS, EVENTS), "all rows, and different ones");
}

/// The tester is tested: owners who write what they like, as without a fence, repeat rows.
#[test]
fn without_the_checkpoint_in_the_transaction_rows_repeat() {
    let (_folder, path) = absent_file();
    connect(&path).execute("CREATE TABLE output (number INTEGER NOT NULL)", []).unwrap();
    together(&path, Checked::No);
    let (count, distinct) = rows(&path);
    assert!(count > distinct, "{count} rows, {distinct} different ones");
}

#[derive(Clone, Copy, PartialEq)]
enum Checked {
    Yes,
    No,
}

/// Runs the owners until all events are done. Returns how often one was fenced.
fn together(path: &Path, checked: Checked) -> usize {
    let owners: Vec<_> = (0..OWNERS)
        .map(|_| {
            let path = path.to_owned();
            thread::spawn(move || own(&path, checked))
        })
        .collect();
    owners.into_iter().map(|owner| owner.join().unwrap()).sum()
}

#[tokio::main(flavor = "current_thread")]
async fn own(path: &Path, checked: Checked) -> usize {
    let store = SqliteCheckpointStore::builder(path).allow_other_tables(true).open().await.unwrap();
    let mut application = connect(path);
    let mut fenced = 0;
    loop {
        let begun = store.fence(&scope(), &partition("0")).await.unwrap();
        let last = begun.checkpoint.map_or(0, |checkpoint| checkpoint.sequence_number.unwrap().value());
        if last >= EVENTS {
            return fenced;
        }
        for number in (last + 1..=EVENTS).take(STRETCH.try_into().unwrap()) {
            match handle(&mut application, number, begun.token.unwrap(), checked) {
                Ok(()) => {}
                Err(error) if is_fenced(&error) => {
                    fenced += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn handle(
    application: &mut Connection,
    number: i64,
    token: FenceToken,
    checked: Checked,
) -> rusqlite::Result<()> {
    let checkpoint = TransactionalCheckpoint::new(
        scope(),
        partition("0"),
        number.to_string().into(),
        number.into(),
        token,
    );
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT INTO output VALUES (?1)", [number])?;
    if checked == Checked::Yes {
        checkpoint.write(&transaction)?;
        return transaction.commit();
    }
    transaction.commit()?;
    match checkpoint.write(application) {
        Err(error) if !is_fenced(&error) => Err(error),
        written => written,
    }
}

/// How many rows there are, and how many different ones.
fn rows(path: &Path) -> (i64, i64) {
    let sql = "SELECT count(*), count(DISTINCT number) FROM output";
    connect(path).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[tokio::test]
async fn a_fence_without_events_leaves_no_checkpoint() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    store.fence(&scope(), &partition("0")).await.unwrap();
    assert_eq!(store.list_checkpoints(&scope()).await.unwrap(), []);
    assert_eq!(store.list_scopes().await.unwrap(), []);
}
