//! Dead letters in a table in the schema of a store.
//!
//! `dead_letters/row.rs` is a letter as a row of it.

mod row;

use std::sync::Arc;

use eventhubs_checkpoint_store::Result;
use eventhubs_dead_letters::{BoxError, DeadLetter, DeadLetterSink, async_trait};
use eventhubs_types::ConsumerScope;
use tokio::sync::OnceCell;
use tokio_postgres::GenericClient;

use crate::schema::{self, Migrations};
use crate::store::PostgresCheckpointStore;

/// The most letters that [`letters`](PostgresDeadLetters::letters) returns at once.
pub const MAX_LETTERS: usize = 1000;

/// They have a number of their own, since only those who use the table want it.
const MIGRATIONS: Migrations = Migrations {
    table: "dead_letter_migration",
    scripts: &[include_str!("dead_letters/1.sql")],
    printed_by: "dead_letters_schema_sql",
};

/// Dead letters in the table `dead_letter`, in the schema of a store.
///
/// The table is created by the first call, if the store may [migrate](crate::PostgresCheckpointStoreBuilder::migrate). A
/// letter that comes again updates the reason, the attempts and the owner of its row. Names of the scope are in lower
/// case; a NUL in an offset, which PostgreSQL does not take, is U+FFFD.
///
/// A letter that is put on its own is on the disk of the server before `Ok`, also with `synchronous_commit = off`. One
/// that is put [in a transaction](Self::put_in) of the application becomes a row together with the rest of that.
///
/// It shares the connections and the time limit of its store; clones share them too.
#[derive(Debug, Clone)]
pub struct PostgresDeadLetters {
    store: PostgresCheckpointStore,
    is_prepared: Arc<OnceCell<()>>,
    statements: Arc<row::Statements>,
}

impl PostgresDeadLetters {
    /// Makes a sink next to this store. Nothing is sent yet.
    pub fn new(store: &PostgresCheckpointStore) -> Self {
        let statements = Arc::new(row::Statements::new(&store.inner().schema));
        Self { store: store.clone(), is_prepared: Arc::default(), statements }
    }

    /// Creates the table, or checks it if the store may not migrate. Needed before [`put_in`](Self::put_in) only, since
    /// every other call does the same. Any number of instances may do it at once.
    ///
    /// # Errors
    /// As [`PostgresCheckpointStore::prepare`].
    ///
    /// # Cancel safety
    /// If dropped, the table is there or not.
    pub async fn prepare(&self) -> Result<()> {
        self.store.prepare().await?;
        let inner = self.store.inner();
        let prepare = || schema::prepare(&inner.database, &inner.schema, &MIGRATIONS, inner.may_migrate);
        self.is_prepared.get_or_try_init(prepare).await.map(drop)
    }

    /// Puts a letter in an open transaction of the application, on its own connection to the same database.
    ///
    /// Together with the [transactional checkpoint](crate#transactional-checkpoints) of the event, which is refused to
    /// earlier owners and for events that are done, letter and checkpoint appear exactly once:
    ///
    /// ```
    /// use eventhubs_checkpoint_store::TransactionalCheckpoint;
    /// use eventhubs_checkpoint_store_postgres::tokio_postgres::Client;
    /// use eventhubs_checkpoint_store_postgres::{PostgresCheckpointStore, PostgresDeadLetters, is_already_done};
    /// use eventhubs_dead_letters::{BoxError, DeadLetter};
    ///
    /// async fn give_up(
    ///     store: &PostgresCheckpointStore,
    ///     letters: &PostgresDeadLetters,
    ///     client: &mut Client,
    ///     letter: &DeadLetter,
    ///     checkpoint: &TransactionalCheckpoint,
    /// ) -> Result<(), BoxError> {
    ///     let transaction = client.transaction().await?;
    ///     match store.write_checkpoint(&transaction, checkpoint).await {
    ///         Err(error) if is_already_done(&error) => return Ok(()),
    ///         written => written?,
    ///     }
    ///     letters.put_in(&transaction, letter).await?;
    ///     Ok(transaction.commit().await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// A [`tokio_postgres::Error`], after which the transaction can only be rolled back, or that of a letter that cannot
    /// be written as JSON.
    ///
    /// # Cancel safety
    /// If dropped, it is not known whether the transaction has the letter: roll back.
    pub async fn put_in(
        &self,
        transaction: &(impl GenericClient + Sync),
        letter: &DeadLetter,
    ) -> std::result::Result<(), BoxError> {
        let values = row::Values::of(letter)?;
        transaction.execute_typed(&self.statements.put, &values.parameters()).await?;
        Ok(())
    }

    /// Returns the letters of a scope in the order of partition, sequence number and enqueued time: at most `limit`,
    /// and at most [`MAX_LETTERS`], of those after the letter `after`.
    ///
    /// # Errors
    /// As any call of the store, and [`Protocol`](eventhubs_checkpoint_store::ErrorKind::Protocol) where a row is not as
    /// this crate writes it.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn letters(
        &self,
        scope: &ConsumerScope,
        after: Option<&DeadLetter>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.prepare().await?;
        let (scope, limit) = (scope.to_lowercase(), limit.min(MAX_LETTERS));
        let query = row::Query::new(&scope, after, limit);
        let rows = self.store.call().await?.run(&self.statements.list, &query.parameters()).await;
        let rows = rows.map_err(|failure| failure.during("list dead letters"))?;
        rows.iter().map(|row| row::read(row, &scope)).collect()
    }
}

#[async_trait]
impl DeadLetterSink for PostgresDeadLetters {
    async fn put(&self, letter: &DeadLetter) -> std::result::Result<(), BoxError> {
        let values = row::Values::of(letter)?;
        self.prepare().await?;
        let put = self.store.call().await?.run_durably(&self.statements.put, &values.parameters()).await;
        put.map_err(|failure| failure.during("write a dead letter"))?;
        Ok(())
    }
}

/// Returns the statements that create the table of dead letters in a schema of this name, for whoever runs them by hand,
/// after those of [`schema_sql`](crate::schema_sql).
///
/// # Errors
/// As [`schema_sql`](crate::schema_sql).
pub fn dead_letters_schema_sql(schema: &str) -> Result<String> {
    schema::printed(schema, &MIGRATIONS)
}
