//! Dead letters in a table in the file of a store.
//!
//! `dead_letters/schema.rs` creates the table, `dead_letters/row.rs` is a letter as a row of it.

mod row;
mod schema;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_dead_letters::{BoxError, DeadLetter, DeadLetterSink, async_trait};
use eventhubs_types::ConsumerScope;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::store::SqliteCheckpointStore;

/// The most letters that [`letters`](SqliteDeadLetters::letters) returns at once.
pub const MAX_LETTERS: usize = 1000;

/// The setting of SQLite by which a commit is on the disk before it is answered.
const FULL: i64 = 2;

/// Dead letters in the table `eventhubs_dead_letter`, in the file of a store.
///
/// A letter that is put on its own is on the disk before `Ok`, whatever the store's
/// [`synchronous`](crate::SqliteCheckpointStoreBuilder::synchronous) is. One that is put
/// [in a transaction](Self::put_in) of the application becomes a row together with the rest of that. A letter that
/// comes again updates the reason, the attempts and the owner of its row. Names of the scope are in lower case.
///
/// It shares the thread, the connection and the time limit of its store.
///
/// ```
/// # use eventhubs_dead_letters::DeadLetter;
/// # use eventhubs_types::{ConsumerScope, EventData};
/// use eventhubs_checkpoint_store_sqlite::{SqliteCheckpointStore, SqliteDeadLetters};
/// use eventhubs_dead_letters::DeadLetterSink;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let scope = ConsumerScope::new("n".parse()?, "orders".parse()?, "group".parse()?);
/// # let letter = DeadLetter::new(scope.clone(), "0".parse()?, 7, "70", EventData::new("tea"), "owner".parse()?);
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("checkpoints.db");
/// let store = SqliteCheckpointStore::open(&path).await?;
/// let sink = SqliteDeadLetters::new(&store).await?;
/// sink.put(&letter).await?;
/// assert_eq!(sink.letters(&scope, None, 100).await?, [letter]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteDeadLetters {
    store: SqliteCheckpointStore,
}

impl SqliteDeadLetters {
    /// Creates the table in the file of the store, unless it is there. Any number of processes may do so at once.
    ///
    /// # Errors
    /// As any call of the store, and [`Protocol`](ErrorKind::Protocol) where the table is of a later version of this
    /// crate.
    ///
    /// # Cancel safety
    /// If dropped, the table is there or not.
    pub async fn new(store: &SqliteCheckpointStore) -> Result<Self> {
        let migrated = store.call_any("create the table of dead letters", schema::migrate).await?;
        migrated.map_err(|version| {
            let known = schema::VERSION;
            let text = format!(
                "the dead letters have version {version} of their table, and this crate knows {known} and lower: upgrade it"
            );
            Error::new(ErrorKind::Protocol, text)
        })?;
        Ok(Self { store: store.clone() })
    }

    /// Puts a letter within the transaction that is open on this connection of the application, to which a
    /// [`rusqlite::Transaction`] dereferences. The file must be that of the store, and have the table.
    ///
    /// Together with the [transactional checkpoint](crate#transactional-checkpoints) of the event, which is refused to
    /// earlier owners and for events that are done, letter and checkpoint appear exactly once:
    ///
    /// ```
    /// # use eventhubs_checkpoint_store::{CheckpointStore, TransactionalCheckpoint};
    /// # use eventhubs_dead_letters::DeadLetter;
    /// # use eventhubs_types::{ConsumerScope, EventData};
    /// use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, TransactionBehavior};
    /// use eventhubs_checkpoint_store_sqlite::{
    ///     SqliteCheckpointStore, SqliteDeadLetters, TransactionalCheckpointExt, is_already_done,
    /// };
    ///
    /// fn give_up(
    ///     connection: &mut Connection,
    ///     letter: &DeadLetter,
    ///     checkpoint: &TransactionalCheckpoint,
    /// ) -> rusqlite::Result<()> {
    ///     let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    ///     match checkpoint.write(&transaction) {
    ///         Err(error) if is_already_done(&error) => return Ok(()),
    ///         written => written?,
    ///     }
    ///     SqliteDeadLetters::put_in(&transaction, letter)?;
    ///     transaction.commit()
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let scope = ConsumerScope::new("n".parse()?, "orders".parse()?, "group".parse()?);
    /// # let letter = DeadLetter::new(scope.clone(), "0".parse()?, 7, "70", EventData::new("tea"), "owner".parse()?);
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("checkpoints.db");
    /// # let store = SqliteCheckpointStore::open(&path).await?;
    /// # let sink = SqliteDeadLetters::new(&store).await?;
    /// # let token = store.fence(&scope, &"0".parse()?).await?.token.ok_or("a fence")?;
    /// # let checkpoint = TransactionalCheckpoint::new(scope.clone(), "0".parse()?, "70".into(), 7.into(), token);
    /// # let mut connection = Connection::open(&path)?;
    /// give_up(&mut connection, &letter, &checkpoint)?;
    /// assert_eq!(sink.letters(&scope, None, 100).await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of SQLite. The transaction is still open then and has to be rolled back, as it is when it is dropped.
    pub fn put_in(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
        row::put(connection, letter)
    }

    /// Returns the letters of a scope in the order of partition, sequence number and enqueued time: at most `limit`,
    /// and at most [`MAX_LETTERS`], of those after the letter `after`.
    ///
    /// # Errors
    /// As any call of the store, and [`Protocol`](ErrorKind::Protocol) where a row is not as this crate writes it.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn letters(
        &self,
        scope: &ConsumerScope,
        after: Option<&DeadLetter>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let (after, limit) = (after.map(row::Key::of), limit.min(MAX_LETTERS));
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            row::list(connection, scope, after.as_ref(), limit)
        };
        self.store.call("list dead letters", scope, work).await
    }
}

#[async_trait]
impl DeadLetterSink for SqliteDeadLetters {
    async fn put(&self, letter: &DeadLetter) -> std::result::Result<(), BoxError> {
        let letter = letter.clone();
        let work = move |connection: &mut Connection| {
            durably(connection, |transaction| row::put(transaction, &letter))
        };
        Ok(self.store.call_any("write a dead letter", work).await?)
    }
}

/// Commits to the disk: the checkpoint that comes next may be in another store, which does not lose it with the letter.
fn durably(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let before: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", FULL)?;
    let committed = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .and_then(|transaction| work(&transaction).and_then(|()| transaction.commit()));
    connection.pragma_update(None, "synchronous", before)?;
    committed
}
