//! The rows that the consumers of a test insert, one for each event.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use eventhubs_checkpoint_store::TransactionalCheckpoint;
use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, Transaction, TransactionBehavior};
use eventhubs_checkpoint_store_sqlite::{
    SqliteCheckpointStore, TransactionalCheckpointExt as _, is_already_done,
};
use tokio::task::block_in_place;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long a transaction waits for those of others: longer than any of them is suspended.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// The table of the rows, in the database of a store.
#[derive(Debug)]
pub enum Output {
    /// In the file of a SQLite store.
    Sqlite(Mutex<Connection>),
}

/// What is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// All of them.
    pub all: i64,
    /// Without those that are equal to another one.
    pub distinct: i64,
}

impl Output {
    /// Opens the database of the store at this address, and makes the table if it is not there.
    ///
    /// # Errors
    /// When the address is none, or the database says so.
    pub async fn open(address: &str) -> Result<Self> {
        match address.split_once(' ') {
            Some(("sqlite", path)) => Self::open_sqlite(Path::new(path)).await,
            _ => Err(format!("there are no tables in {address}").into()),
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self> {
        // The store makes its tables first: it refuses a file of others.
        drop(SqliteCheckpointStore::open(path).await?);
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_LIMIT)?;
        let table = "CREATE TABLE IF NOT EXISTS output (partition TEXT NOT NULL, number INTEGER NOT NULL)";
        connection.execute(table, [])?;
        Ok(Self::Sqlite(Mutex::new(connection)))
    }

    /// Inserts a row and writes the checkpoint in one transaction. An event that is done already is passed over.
    ///
    /// # Errors
    /// When the checkpoint is refused because of a later owner, or the database says so.
    pub async fn insert_with(&self, checkpoint: &TransactionalCheckpoint) -> Result<()> {
        match self {
            Self::Sqlite(connection) => in_transaction(connection, |transaction| {
                let (partition, number) = (checkpoint.partition.as_str(), checkpoint.sequence_number.value());
                insert(transaction, partition, number)?;
                checkpoint.write(transaction)
            }),
        }
    }

    /// Inserts a row.
    ///
    /// # Errors
    /// When the database says so.
    pub async fn insert(&self, partition: &str, number: i64) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                in_transaction(connection, |transaction| insert(transaction, partition, number))
            }
        }
    }

    /// Counts the rows.
    ///
    /// # Errors
    /// When the database says so.
    pub async fn rows(&self) -> Result<Rows> {
        match self {
            Self::Sqlite(connection) => block_in_place(|| {
                let connection = connection.lock().map_err(|_| "a transaction panicked")?;
                let all = connection.query_row("SELECT count(*) FROM output", [], |row| row.get(0))?;
                let distinct = "SELECT count(*) FROM (SELECT DISTINCT partition, number FROM output)";
                Ok(Rows { all, distinct: connection.query_row(distinct, [], |row| row.get(0))? })
            }),
        }
    }
}

fn insert(transaction: &Transaction<'_>, partition: &str, number: i64) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached("INSERT INTO output (partition, number) VALUES (?1, ?2)")?;
    insert.execute(rusqlite::params![partition, number]).map(drop)
}

fn in_transaction(
    connection: &Mutex<Connection>,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<()> {
    block_in_place(|| {
        let mut connection = connection.lock().map_err(|_| "a transaction panicked")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match work(&transaction) {
            Ok(()) => Ok(transaction.commit()?),
            Err(error) if is_already_done(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}
