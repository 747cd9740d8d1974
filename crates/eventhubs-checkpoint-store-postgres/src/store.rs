//! The store: its handle, and the trait.

use std::fmt;
use std::sync::Arc;

use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Error,
    ErrorKind, Expected, Fenced, Hint, OwnershipList, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, PartitionId};
use tokio::sync::{OnceCell, Semaphore};

use crate::announcer::Announcer;
use crate::call::{Call, Database};
use crate::schema::{self, Schema};
use crate::statements::Statements;
use crate::watch;

/// The most claims of one [`claim_all`](CheckpointStore::claim_all): the largest event hub has 2000
/// partitions.
pub const MAX_CLAIMS: usize = 2048;

/// The most records that a listing reads. The rest is reported as rejected.
pub const MAX_LISTED: usize = 8 * 1024;

/// Ownership and checkpoints in a schema of a PostgreSQL database.
///
/// A clone shares the connections of the original: two for calls, one for each
/// [`watch`](CheckpointStore::watch), and one for announcements once there are any.
///
/// # Time
/// The clock of the server tells the age of a record.
///
/// # Errors
/// A call is tried once: the caller knows better whether to try again. SQLSTATE classes 08, 40 and 57 are
/// [`Unavailable`](ErrorKind::Unavailable), 53 is [`Throttled`](ErrorKind::Throttled), and 28 is
/// [`Unauthorized`](ErrorKind::Unauthorized). A missing database or table is
/// [`NotFound`](ErrorKind::NotFound), and tables of a newer version of this crate are
/// [`Protocol`](ErrorKind::Protocol).
///
/// # Cost
/// Each call is one round trip, whatever the number of claims or records.
#[derive(Clone)]
pub struct PostgresCheckpointStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) database: Arc<Database>,
    pub(crate) schema: Schema,
    pub(crate) statements: Statements,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) may_migrate: bool,
    pub(crate) is_prepared: OnceCell<()>,
    /// Whoever writes checkpoints may wait for a transaction of the application. One of two connections is
    /// enough for that, so that the other one is free for renewals.
    pub(crate) checkpoint_writes: Semaphore,
}

impl PostgresCheckpointStore {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Creates the schema and its tables, or brings them to the version that is needed; with
    /// `migrate(false)`, only checks them. Optional, since the first call does the same. Any number of
    /// instances may do it at once.
    ///
    /// # Errors
    /// As any call, and [`NotFound`](ErrorKind::NotFound) where tables are missing or old and may not be
    /// created, [`Protocol`](ErrorKind::Protocol) where they are of a newer version.
    ///
    /// # Cancel safety
    /// If dropped, a migration is applied as a whole or not at all.
    pub async fn prepare(&self) -> Result<()> {
        let Inner { database, schema, may_migrate, is_prepared, .. } = &*self.inner;
        let prepare = || schema::prepare(database, schema, &schema::MIGRATIONS, *may_migrate);
        is_prepared.get_or_try_init(prepare).await.map(drop)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// A connection, once the tables are known to be there.
    pub(crate) async fn call(&self) -> Result<Call> {
        self.prepare().await?;
        self.inner.database.call().await
    }
}

impl fmt::Debug for PostgresCheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { schema, database, .. } = &*self.inner;
        let mut debug = f.debug_struct("PostgresCheckpointStore");
        debug.field("schema", &schema.name()).field("database", database).finish_non_exhaustive()
    }
}

#[async_trait]
impl CheckpointStore for PostgresCheckpointStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let outcomes = self.claims(scope, std::slice::from_ref(claim)).await;
        let none = || ClaimOutcome::Failed(Error::new(ErrorKind::Protocol, "claim without an outcome"));
        outcomes.into_iter().next().unwrap_or_else(none)
    }

    fn max_claims(&self) -> usize {
        MAX_CLAIMS
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        self.claims(scope, claims).await
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        self.begin_ownership(scope, partition).await
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let channel = watch::channel(self.inner.schema.name(), scope);
        watch::hints(Arc::clone(&self.inner.database), Arc::clone(&self.inner.announcer), channel)
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.read_checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let written = self.write_over(scope, checkpoint, expected).await?;
        Ok(written.map_or(CheckpointOutcome::Conflict, CheckpointOutcome::Written))
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        self.all_checkpoints(scope).await
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let sql = &self.inner.statements.delete_checkpoint;
        self.delete(sql, scope, partition, version, "delete a checkpoint").await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let sql = &self.inner.statements.delete_ownership;
        self.delete(sql, scope, partition, version, "delete an ownership record").await
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        self.scopes().await
    }
}
