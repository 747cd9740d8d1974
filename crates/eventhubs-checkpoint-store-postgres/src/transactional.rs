//! A checkpoint in a transaction of the application, with any driver.

use eventhubs_checkpoint_store::TransactionalCheckpoint;
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use crate::records::ScopeKey;
use crate::store::PostgresCheckpointStore;

/// The SQLSTATE with which the database refuses the checkpoint of an earlier owner.
pub const FENCED: &str = "ZE001";

/// The SQLSTATE with which the database refuses the checkpoint of an event that is done.
pub const ALREADY_DONE: &str = "ZE002";

/// The statement that writes one checkpoint, for any driver. Bind the fields after `sql` in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the seven parameters are those of a function in the database")]
pub struct CheckpointStatement {
    /// `SELECT "eventhubs".checkpoint($1, $2, $3, $4, $5, $6, $7)`, with the schema of the store.
    pub sql: String,
    /// `$1`, a text.
    pub namespace: String,
    /// `$2`, a text.
    pub event_hub: String,
    /// `$3`, a text.
    pub consumer_group: String,
    /// `$4`, a text.
    pub partition: String,
    /// `$5`, a bigint: the token of the ownership.
    pub epoch: i64,
    /// `$6`, a text.
    pub offset: String,
    /// `$7`, a bigint.
    pub sequence_number: i64,
}

impl PostgresCheckpointStore {
    /// Writes a checkpoint in an open transaction of the application, on its own connection to the same database.
    /// Once that commits, the event counts as handled; if it rolls back, neither it nor the checkpoint has happened.
    ///
    /// `transaction` is a [`tokio_postgres::Transaction`], to which that of a pool dereferences. A client without a
    /// transaction is accepted too, and then the checkpoint is written alone.
    ///
    /// Make it the first statement, since a unique key of the rows would otherwise refuse an event that comes again
    /// before the checkpoint does. The checkpoint is locked until the end of the transaction, and a new owner waits for
    /// that, so keep it short. Keep `READ COMMITTED`, the default; in `REPEATABLE READ` and `SERIALIZABLE` a fence that came
    /// meanwhile is a serialization failure (40001), whose retry then finds the refusal.
    ///
    /// # Errors
    /// [`is_fenced`] and [`is_already_done`] tell the two refusals from what else may go wrong. After any error the
    /// transaction can only be rolled back.
    ///
    /// # Cancel safety
    /// If dropped, it is not known whether the transaction has the checkpoint: roll back.
    pub async fn write_checkpoint(
        &self,
        transaction: &(impl GenericClient + Sync),
        checkpoint: &TransactionalCheckpoint,
    ) -> Result<(), tokio_postgres::Error> {
        let statement = self.checkpoint_statement(checkpoint);
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&statement.namespace, Type::TEXT),
            (&statement.event_hub, Type::TEXT),
            (&statement.consumer_group, Type::TEXT),
            (&statement.partition, Type::TEXT),
            (&statement.epoch, Type::INT8),
            (&statement.offset, Type::TEXT),
            (&statement.sequence_number, Type::INT8),
        ];
        transaction.execute_typed(&statement.sql, &parameters).await.map(drop)
    }

    /// Returns the statement that [`write_checkpoint`](Self::write_checkpoint) executes, for other drivers.
    pub fn checkpoint_statement(&self, checkpoint: &TransactionalCheckpoint) -> CheckpointStatement {
        let key = ScopeKey::new(&checkpoint.scope);
        let [namespace, event_hub, consumer_group] = key.texts().map(str::to_owned);
        CheckpointStatement {
            sql: self.inner().statements.write_transactional.clone(),
            namespace,
            event_hub,
            consumer_group,
            partition: checkpoint.partition.as_str().to_owned(),
            epoch: checkpoint.token.value(),
            offset: checkpoint.offset.as_str().to_owned(),
            sequence_number: checkpoint.sequence_number.value(),
        }
    }
}

/// Whether the checkpoint was refused because a later owner has begun: the event is for that one. Roll back, and do
/// not try again.
///
/// Also where the record was deleted since the ownership began.
pub fn is_fenced(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code() == FENCED)
}

/// Whether the checkpoint was refused because the event is done: the reply to an earlier `COMMIT` was lost, for
/// example. Roll back, and count the event as handled.
pub fn is_already_done(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code() == ALREADY_DONE)
}
