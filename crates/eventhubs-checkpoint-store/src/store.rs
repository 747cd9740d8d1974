//! The trait that a store implements: compare-and-swap on ownership records and checkpoints.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use eventhubs_types::{ConsumerScope, PartitionId};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use crate::{
    Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, DeleteOutcome, Error, ErrorKind, Expected, Fenced,
    Hint, OwnershipList, Result, Version,
};

/// How many claims the default [`claim_all`](CheckpointStore::claim_all) has in flight at a time.
const MAX_IN_FLIGHT: usize = 16;

/// A place where the instances of a consumer group agree on ownership and progress.
///
/// # Exclusivity
/// Every write is a compare-and-swap, linearizable per record: of several writers that expect the same
/// version, exactly one wins, whichever handles and processes they use. Every win gives the record a new
/// version, a renewal included. A version never comes back, also after a deletion or a restart, so that a
/// write by an old one is never applied.
///
/// The version decides, and nothing else: a checkpoint may go back. A checkpoint is written as a whole, and
/// what it leaves out is gone.
///
/// # Visibility
/// A write that was answered is visible to every later read, on every handle. A store that is durable keeps
/// it over a restart, the versions included.
///
/// # Time
/// A store that has a clock puts it in [`OwnershipList::now`] and
/// [`Ownership::modified`](crate::Ownership::modified). A store without one leaves both `None`, and leases
/// are judged by observation instead. `modified` changes with each claim that is won, a renewal included, and
/// with nothing else: a read or a lost claim must not make an owner look alive.
///
/// # Marks
/// The [`Mark`](crate::Mark) of a won claim stays in the record until the next claim is won, and no longer.
///
/// # Bad records
/// A record that cannot be read is skipped and reported, and never fails a listing. One without a usable
/// owner is listed as released.
///
/// # Cancel safety
/// A read can be dropped at any time. A write that is dropped may or may not have been applied, or may
/// still be until the time limit of the call is over; the next listing tells. It is applied whole or not at
/// all, and prevents no later call.
///
/// # Names
/// Namespaces, event hubs and consumer groups are compared without regard to case, as the service does. A
/// store keeps all parts of a scope apart: `a-b` with `c` is another scope than `a` with `b-c`. Partition ids
/// and owner ids are compared byte by byte.
///
/// # Limits
/// A store bounds each call by a time limit of its own, and the length of what it reads. A call that takes
/// longer fails with [`Timeout`](crate::ErrorKind::Timeout); a store that is busy answers with
/// [`Throttled`](crate::ErrorKind::Throttled) or [`Unavailable`](crate::ErrorKind::Unavailable), and never
/// with a kind that is not [transient](crate::Error::is_transient).
///
/// # Optional operations
/// What has a default is for stores that can do better than it, and for tools. A store that wraps another one
/// must pass on each of them, or it takes them away.
#[async_trait]
pub trait CheckpointStore: Debug + Send + Sync + 'static {
    /// Lists all ownership records of the scope, the released ones included.
    ///
    /// # Errors
    /// When the store as a whole could not be read.
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList>;

    /// Tries one claim.
    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome;

    /// How many claims [`claim_all`](Self::claim_all) sends as one request. Callers pass no more at once, and
    /// a few such calls run at the same time. Default: 1.
    fn max_claims(&self) -> usize {
        1
    }

    /// Tries several claims on different partitions. Returns the outcome of each, in their order: one that is
    /// lost or fails prevents no other.
    ///
    /// Default: [`claim_ownership`](Self::claim_ownership) for each, at most 16 at a time.
    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        // A vector, since the compiler cannot see that a lazy iterator over borrowed claims is `Send`.
        let attempts: Vec<_> = claims.iter().map(|claim| self.claim_ownership(scope, claim)).collect();
        stream::iter(attempts).buffered(MAX_IN_FLIGHT).collect().await
    }

    /// Begins an ownership: reads the checkpoint of a partition, and invalidates the tokens of all earlier
    /// owners.
    ///
    /// Each token of a partition is larger than all before it, also after its checkpoint is deleted.
    ///
    /// What it returns is final for them: a transaction that carries an earlier token either has committed,
    /// and its checkpoint is returned, or can never commit. While such a transaction is open, this waits for
    /// it, up to the time limit of the call.
    ///
    /// Default: [`checkpoint`](Self::checkpoint), and no token.
    ///
    /// # Errors
    /// When the store could not be read or written; [`Timeout`](crate::ErrorKind::Timeout) while a
    /// transaction of an earlier owner is open.
    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        Ok(Fenced::new(self.checkpoint(scope, partition).await?, None))
    }

    /// Returns a stream of hints: claims that were won and that [announce](Claim::announcing) themselves, by
    /// this handle or any other one on the same store. Hints may be missed and may come more than once, so
    /// they only ever make a caller look earlier. Each hint is of a claim that was won.
    ///
    /// The stream does not end; one that cannot be kept up is silent. Default: silent.
    fn watch(&self, _scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        stream::pending().boxed()
    }

    /// Reads the checkpoint of one partition.
    ///
    /// # Errors
    /// When the store could not be read. A missing checkpoint is `None`; an unusable one has neither offset
    /// nor sequence number, and its version lets it be replaced.
    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>>;

    /// Writes a checkpoint if the record is as expected.
    ///
    /// # Errors
    /// When it is not known, or not possible, for a reason of the store; a conflict is an outcome.
    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome>;

    /// Lists all checkpoints of the scope, with their versions. For tools: no run of `eventhubs` calls it.
    ///
    /// # Errors
    /// When the store as a whole could not be read; [`Unsupported`](crate::ErrorKind::Unsupported) unless a
    /// store implements it.
    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        Err(Error::new(ErrorKind::Unsupported, format!("list the checkpoints of {scope}")))
    }

    /// Deletes a checkpoint if it still has this version. For tools: no run of `eventhubs` calls it.
    ///
    /// # Errors
    /// When it is not known, or not possible, for a reason of the store;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless a store implements it.
    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        _version: &Version,
    ) -> Result<DeleteOutcome> {
        let text = format!("delete the checkpoint of partition {partition} of {scope}");
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    /// Deletes an ownership record if it still has this version. For tools: no run of `eventhubs` calls it.
    ///
    /// # Errors
    /// When it is not known, or not possible, for a reason of the store;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) unless a store implements it.
    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        _version: &Version,
    ) -> Result<DeleteOutcome> {
        let text = format!("delete the ownership record of partition {partition} of {scope}");
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    /// Lists the scopes that have a record in the store, in no particular order. For tools: no run of
    /// `eventhubs` calls it.
    ///
    /// # Errors
    /// When the store as a whole could not be read; [`Unsupported`](crate::ErrorKind::Unsupported) unless a
    /// store implements it.
    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        Err(Error::new(ErrorKind::Unsupported, "list the scopes"))
    }
}

#[async_trait]
impl<S: CheckpointStore + ?Sized> CheckpointStore for Arc<S> {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        (**self).list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        (**self).claim_ownership(scope, claim).await
    }

    fn max_claims(&self) -> usize {
        (**self).max_claims()
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        (**self).claim_all(scope, claims).await
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        (**self).fence(scope, partition).await
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        (**self).watch(scope)
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        (**self).checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        (**self).update_checkpoint(scope, checkpoint, expected).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        (**self).list_checkpoints(scope).await
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        (**self).delete_checkpoint(scope, partition, version).await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        (**self).delete_ownership(scope, partition, version).await
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        (**self).list_scopes().await
    }
}
