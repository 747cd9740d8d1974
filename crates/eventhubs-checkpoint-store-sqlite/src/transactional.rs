//! A checkpoint in the transaction of the application, on its own connection to the same file.

use eventhubs_checkpoint_store::TransactionalCheckpoint;
use rusqlite::{Connection, ErrorCode};

/// The statement that writes a transactional checkpoint, for other drivers than `rusqlite`. Its seven
/// parameters are those of [`parameters`](TransactionalCheckpointExt::parameters).
pub const WRITE_CHECKPOINT: &str = "INSERT INTO eventhubs_transactional_checkpoint \
    (namespace, event_hub, consumer_group, partition_id, epoch, \"offset\", sequence_number) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// The text with which SQLite refuses the checkpoint of an earlier owner, exactly.
pub const FENCED: &str = "eventhubs: fenced";

/// The text with which SQLite refuses the checkpoint of an event that is done, exactly.
pub const ALREADY_DONE: &str = "eventhubs: already done";

/// A parameter of [`WRITE_CHECKPOINT`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever binds the parameters must know all kinds of them")]
pub enum Parameter {
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
}

/// Writes a [`TransactionalCheckpoint`] into a SQLite file.
///
/// # Example
/// ```
/// use eventhubs_checkpoint_store::{CheckpointStore, TransactionalCheckpoint};
/// use eventhubs_checkpoint_store_sqlite::rusqlite::{self, Connection, TransactionBehavior};
/// use eventhubs_checkpoint_store_sqlite::{TransactionalCheckpointExt, is_already_done};
///
/// /// Writes a row and the checkpoint of the event that it comes from: both, or neither.
/// fn record(
///     orders: &mut Connection,
///     id: &str,
///     checkpoint: &TransactionalCheckpoint,
/// ) -> rusqlite::Result<()> {
///     let transaction = orders.transaction_with_behavior(TransactionBehavior::Immediate)?;
///     match checkpoint.write(&transaction) {
///         // An earlier attempt has committed, the row included.
///         Err(error) if is_already_done(&error) => return Ok(()),
///         written => written?,
///     }
///     transaction.execute("INSERT INTO orders (id) VALUES (?1)", [id])?;
///     transaction.commit()
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("orders.db");
/// # let store = eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore::open(&path).await?;
/// # let scope = eventhubs_types::ConsumerScope::new("n".parse()?, "hub".parse()?, "group".parse()?);
/// # let token = store.fence(&scope, &"0".parse()?).await?.token.ok_or("a fence")?;
/// # let mut orders = Connection::open(&path)?;
/// # orders.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)", [])?;
/// # let checkpoint = TransactionalCheckpoint::new(scope, "0".parse()?, "64".into(), 1.into(), token);
/// record(&mut orders, "tea", &checkpoint)?;
/// record(&mut orders, "tea", &checkpoint)?; // the same event again
/// let count: i64 = orders.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))?;
/// assert_eq!(count, 1);
/// # Ok(())
/// # }
/// ```
pub trait TransactionalCheckpointExt: sealed::Sealed {
    /// Writes the checkpoint within the transaction that is open on this connection, to which a
    /// [`rusqlite::Transaction`] dereferences. Once that commits, the event counts as handled.
    ///
    /// Write the checkpoint before anything else, so that an event that comes again is refused as such, and
    /// not by a unique key of its rows.
    ///
    /// The connection has to be to the file of the store, as its main database: SQLite commits to attached
    /// files one by one. Begin the transaction as [`Immediate`](rusqlite::TransactionBehavior::Immediate):
    /// SQLite has one writer at a time, and a deferred transaction that has read fails at once where it would
    /// wait. Keep it short, for all instances on the file wait for it with their claims.
    ///
    /// # Errors
    /// [`is_fenced`] and [`is_already_done`] tell the two refusals from what else may go wrong. After any
    /// error the transaction is still open and has to be rolled back, as it is when it is dropped.
    fn write(&self, connection: &Connection) -> rusqlite::Result<()>;

    /// Returns the parameters of [`WRITE_CHECKPOINT`], in their order.
    fn parameters(&self) -> [Parameter; 7];
}

impl TransactionalCheckpointExt for TransactionalCheckpoint {
    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(WRITE_CHECKPOINT)?
            .execute(rusqlite::params_from_iter(self.parameters()))?;
        Ok(())
    }

    fn parameters(&self) -> [Parameter; 7] {
        let scope = self.scope.to_lowercase();
        let text = |text: &str| Parameter::Text(text.to_owned());
        [
            text(scope.namespace.as_str()),
            text(scope.event_hub.as_str()),
            text(scope.consumer_group.as_str()),
            text(self.partition.as_str()),
            Parameter::Integer(self.token.value()),
            text(self.offset.as_str()),
            Parameter::Integer(self.sequence_number.value()),
        ]
    }
}

impl rusqlite::ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Integer(number) => number.to_sql(),
        }
    }
}

/// Whether the checkpoint was refused because a later owner has begun: the event is for that one. Roll back,
/// and do not try again.
///
/// Also where the store has no record of the ownership, as on a copy of the file from before it.
pub fn is_fenced(error: &rusqlite::Error) -> bool {
    is_refusal(error, FENCED)
}

/// Whether the checkpoint was refused because this event or a later one is done: an earlier transaction,
/// whose answer may have been lost, has committed. Roll back, and count the event as handled.
pub fn is_already_done(error: &rusqlite::Error) -> bool {
    is_refusal(error, ALREADY_DONE)
}

fn is_refusal(error: &rusqlite::Error, refusal: &str) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(text)) => {
            code.code == ErrorCode::ConstraintViolation && text == refusal
        }
        _ => false,
    }
}

mod sealed {
    /// Nobody else implements the trait, so that it can grow.
    pub trait Sealed {}
    impl Sealed for eventhubs_checkpoint_store::TransactionalCheckpoint {}
}
