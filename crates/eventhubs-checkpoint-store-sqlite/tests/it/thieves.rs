//! Owners who take a partition from each other all the time, and an output that must be there exactly once.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use eventhubs_checkpoint_store::{CheckpointStore as _, FenceToken, TransactionalCheckpoint};
use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, TransactionBehavior};
use eventhubs_checkpoint_store_sqlite::{SqliteCheckpointStore, TransactionalCheckpointExt as _, is_fenced};

use crate::{absent_file, connect, open, partition, scope};

const OWNERS: usize = 4;

/// How often an owner has to lose the partition in the middle of its work before all of them stop.
const STEALS: usize = 25;

/// How many events an owner handles before it takes the partition again.
const STRETCH: i64 = 7;

#[test]
fn owners_that_steal_all_the_time_write_each_row_once() {
    let (_folder, path) = absent_file();
    connect(&path).execute("CREATE TABLE output (number INTEGER NOT NULL)", []).unwrap();
    together(&path, Checked::Yes);
    let (count, distinct, last) = rows(&path);
    assert_eq!((count, distinct), (last, last), "each row from 1 to the last, once");
}

/// The tester is tested: owners who write what they like, as without a fence, repeat rows.
#[test]
fn without_the_checkpoint_in_the_transaction_rows_repeat() {
    let (_folder, path) = absent_file();
    connect(&path).execute("CREATE TABLE output (number INTEGER NOT NULL)", []).unwrap();
    together(&path, Checked::No);
    let (count, distinct, _) = rows(&path);
    assert!(count > distinct, "{count} rows, {distinct} different ones");
}

#[derive(Clone, Copy, PartialEq)]
enum Checked {
    Yes,
    No,
}

/// Runs the owners until enough was stolen.
fn together(path: &Path, checked: Checked) {
    let steals = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..OWNERS {
            scope.spawn(|| own(path, checked, &steals));
        }
    });
}

#[tokio::main(flavor = "current_thread")]
async fn own(path: &Path, checked: Checked, steals: &AtomicUsize) {
    let store = SqliteCheckpointStore::builder(path).allow_other_tables(true).open().await.unwrap();
    let mut application = connect(path);
    while steals.load(SeqCst) < STEALS {
        let begun = store.fence(&scope(), &partition("0")).await.unwrap();
        let last = begun.checkpoint.map_or(0, |checkpoint| checkpoint.sequence_number.unwrap().value());
        for number in last + 1..=last + STRETCH {
            match handle(&mut application, number, begun.token.unwrap(), checked) {
                Ok(()) => {}
                Err(error) if is_fenced(&error) => {
                    steals.fetch_add(1, SeqCst);
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

/// How many rows there are, how many different ones, and the last of them.
fn rows(path: &Path) -> (i64, i64, i64) {
    let sql = "SELECT count(*), count(DISTINCT number), max(number) FROM output";
    connect(path).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
}

#[tokio::test]
async fn a_fence_without_events_leaves_no_checkpoint() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    store.fence(&scope(), &partition("0")).await.unwrap();
    assert_eq!(store.list_checkpoints(&scope()).await.unwrap(), []);
    assert_eq!(store.list_scopes().await.unwrap(), []);
}
