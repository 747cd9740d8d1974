//! The store: each operation of the trait as one call to the thread that owns the connection.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Error,
    ErrorKind, Expected, Fenced, Hint, OwnershipList, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, Offset, PartitionId};
use rusqlite::Connection;
use tokio::time::timeout;

use crate::open::Options;
use crate::queue::{CHANNEL_CAPACITY, Queue};
use crate::records::{self, Wanted};
use crate::watch::Watchers;
use crate::{checkpoints, ownership, worker};

/// How many claims are one transaction.
pub const MAX_CLAIMS: usize = 2048;

/// Ownership and checkpoints in a SQLite file, for all processes of one host.
///
/// Make one with [`open`](Self::open) or [`builder`](Self::builder). A clone shares the thread and the
/// connection of the original; both end soon after the last clone is dropped.
///
/// # Time
/// The clock of the host, in milliseconds. Set it in small steps only, as time servers do: one that is set
/// back makes leases last longer, and one that is set forward ends them. Calls take real time, so tests on
/// the paused clock of tokio use `MemoryCheckpointStore` instead.
///
/// # Limits
/// Each call has the [`call_timeout`](crate::SqliteCheckpointStoreBuilder::call_timeout) for everything, the
/// wait for the locks of others included. See the [limits of the crate](crate#limits).
#[derive(Debug, Clone)]
pub struct SqliteCheckpointStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Queue,
    watchers: Watchers,
}

impl SqliteCheckpointStore {
    /// Starts the thread, and waits until it has opened the file.
    pub(crate) async fn start(options: Options) -> Result<Self> {
        let (jobs, received) = sync_channel(CHANNEL_CAPACITY);
        let (watchers, limit) = (Watchers::new(), options.call_timeout);
        let shared = Arc::new(Shared { queue: Queue::new(jobs, limit), watchers: watchers.clone() });
        let is_open = worker::start(options, received, watchers)?;
        // Twice, for the thread itself waits for locks until the limit, and says what it waited for.
        let is_open = timeout(limit * 2, is_open).await;
        let is_open = is_open.map_err(|_| Error::new(ErrorKind::Timeout, "open the file"))?;
        is_open.map_err(|_| Error::new(ErrorKind::Unavailable, "the thread of the store has ended"))??;
        Ok(Self { shared })
    }

    pub(crate) async fn call<T: Send + 'static>(
        &self,
        context: &'static str,
        scope: &ConsumerScope,
        work: impl FnOnce(&mut Connection, &ConsumerScope) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let scope = scope.to_lowercase();
        self.call_any(context, move |connection| work(connection, &scope)).await
    }

    /// A call that is about no scope, or about one that the work knows.
    pub(crate) async fn call_any<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.queue.call(context, work).await
    }

    async fn claim_together(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let sent = claims.to_vec();
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            ownership::claim(connection, scope, &sent)
        };
        self.call("claim ownership", scope, work).await.unwrap_or_else(|error| {
            let (kind, error) = (error.kind(), Arc::new(error));
            let failed =
                || Error::new(kind, "no claim of the transaction was won").with_source(Arc::clone(&error));
            claims.iter().map(|_| ClaimOutcome::Failed(failed())).collect()
        })
    }
}

fn check(checkpoint: &Checkpoint) -> Result<()> {
    if checkpoint.offset.is_none() && checkpoint.sequence_number.is_none() {
        let text = "checkpoint: it has neither an offset nor a sequence number";
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    records::check_length("offset", checkpoint.offset.as_ref().map_or("", Offset::as_str))
}

#[async_trait]
impl CheckpointStore for SqliteCheckpointStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.call("list ownership", scope, |connection, scope| ownership::list(connection, scope)).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let outcome = self.claim_together(scope, std::slice::from_ref(claim)).await.pop();
        outcome.unwrap_or(ClaimOutcome::Lost)
    }

    fn max_claims(&self) -> usize {
        MAX_CLAIMS
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let mut outcomes = Vec::with_capacity(claims.len());
        for some in claims.chunks(MAX_CLAIMS) {
            outcomes.extend(self.claim_together(scope, some).await);
        }
        outcomes
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        let partition = partition.clone();
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            checkpoints::fence(connection, scope, &partition)
        };
        self.call("fence a partition", scope, work).await
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let hints = self.shared.watchers.watch(scope.to_lowercase());
        // The thread waits without a limit while nobody watches.
        self.shared.queue.wake();
        hints
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        let partition = partition.clone();
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            checkpoints::one(connection, scope, &partition)
        };
        self.call("read a checkpoint", scope, work).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        check(checkpoint)?;
        let (checkpoint, expected) = (checkpoint.clone(), Wanted::from(expected));
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            checkpoints::update(connection, scope, &checkpoint, expected)
        };
        self.call("write a checkpoint", scope, work).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        self.call("list checkpoints", scope, |connection, scope| checkpoints::list(connection, scope)).await
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let (partition, version) = (partition.clone(), version.clone());
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            checkpoints::delete(connection, scope, &partition, &version)
        };
        self.call("delete a checkpoint", scope, work).await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let (partition, version) = (partition.clone(), version.clone());
        let work = move |connection: &mut Connection, scope: &ConsumerScope| {
            ownership::delete(connection, scope, &partition, &version)
        };
        self.call("delete an ownership record", scope, work).await
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        self.call_any("list scopes", |connection| ownership::scopes(connection)).await
    }
}
