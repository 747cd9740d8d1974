//! The rows that the consumers of a test insert, one for each event.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use eventhubs_checkpoint_store::TransactionalCheckpoint;
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_checkpoint_store_postgres::tokio_postgres::{self, Client, NoTls};
use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, Transaction, TransactionBehavior};
use eventhubs_checkpoint_store_sqlite::{
    SqliteCheckpointStore, TransactionalCheckpointExt as _, is_already_done,
};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::block_in_place;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Both databases know `$1`.
const INSERT: &str = "INSERT INTO output (partition, number) VALUES ($1, $2)";
const COUNT: &str = "SELECT (SELECT count(*) FROM output), (SELECT count(*) FROM (SELECT DISTINCT partition, number FROM output) AS rows)";

/// How long a transaction waits for those of others: longer than any of them is suspended.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// The table of the rows, in the database of a store.
#[derive(Debug)]
pub enum Output {
    /// In the database of a PostgreSQL store.
    Postgres {
        /// The connection of this process.
        client: AsyncMutex<Client>,
        /// For another connection, when that one is lost.
        connection_string: String,
        /// The store, which knows its schema.
        store: PostgresCheckpointStore,
    },
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
            Some(("postgres", connection_string)) => Self::open_postgres(connection_string).await,
            Some(("sqlite", path)) => Self::open_sqlite(Path::new(path)).await,
            _ => Err(format!("there are no tables in {address}").into()),
        }
    }

    async fn open_postgres(connection_string: &str) -> Result<Self> {
        let client = connect(connection_string).await?;
        // Of several that make the table at once, one may fail although the table is there then.
        let table = "CREATE TABLE IF NOT EXISTS output (partition text NOT NULL, number bigint NOT NULL)";
        if client.batch_execute(table).await.is_err() {
            client.batch_execute(table).await?;
        }
        let store = PostgresCheckpointStore::from_connection_string(connection_string)?;
        let connection_string = connection_string.to_owned();
        Ok(Self::Postgres { client: AsyncMutex::new(client), connection_string, store })
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
            Self::Postgres { client, connection_string, store } => {
                let mut client = client.lock().await;
                if client.is_closed() {
                    *client = connect(connection_string).await?;
                }
                let transaction = client.transaction().await?;
                let (partition, number) = (checkpoint.partition.as_str(), checkpoint.sequence_number.value());
                transaction.execute(INSERT, &[&partition, &number]).await?;
                match store.write_checkpoint(&transaction, checkpoint).await {
                    Ok(()) => Ok(transaction.commit().await?),
                    Err(error) if eventhubs_checkpoint_store_postgres::is_already_done(&error) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
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
            Self::Postgres { client, .. } => {
                client.lock().await.execute(INSERT, &[&partition, &number]).await?;
                Ok(())
            }
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
            Self::Postgres { client, .. } => {
                let row = client.lock().await.query_one(COUNT, &[]).await?;
                Ok(Rows { all: row.get(0), distinct: row.get(1) })
            }
            Self::Sqlite(connection) => block_in_place(|| {
                let connection = connection.lock().map_err(|_| "a transaction panicked")?;
                let row = |row: &rusqlite::Row<'_>| Ok(Rows { all: row.get(0)?, distinct: row.get(1)? });
                Ok(connection.query_row(COUNT, [], row)?)
            }),
        }
    }
}

async fn connect(connection_string: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(connection_string, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn insert(transaction: &Transaction<'_>, partition: &str, number: i64) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(INSERT)?;
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
