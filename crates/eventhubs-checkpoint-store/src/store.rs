//! The trait that a store implements: compare-and-swap on ownership records and checkpoints.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use eventhubs_types::{ConsumerScope, PartitionId};

use crate::{
    Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, Error, ErrorKind, Expected, OwnershipList, Result,
};

/// A place where the instances of a consumer group agree on ownership and progress.
///
/// # Exclusivity
/// Every write is a compare-and-swap, linearizable per record: of several writers that expect the same
/// version, exactly one wins. Every win gives the record a new version, a renewal included.
///
/// # Visibility
/// A write that was answered is visible to every later read.
///
/// # Time
/// A store that has a clock puts it in [`OwnershipList::now`] and
/// [`Ownership::modified`](crate::Ownership::modified). A store without one leaves both `None`, and leases
/// are judged by observation instead.
///
/// # Marks
/// The [`Mark`](crate::Mark) of a won claim stays in the record until the next claim is won, and no longer.
///
/// # Bad records
/// A record that cannot be read is skipped and reported, and never fails a listing. One without a usable
/// owner is listed as released.
///
/// # Cancel safety
/// A read can be dropped at any time. A write that is dropped may or may not have been applied; the next
/// listing tells.
///
/// # Limits
/// A store bounds each call by a time limit of its own, and the length of what it reads.
#[async_trait]
pub trait CheckpointStore: Debug + Send + Sync + 'static {
    /// Lists all ownership records of the scope, the released ones included.
    ///
    /// # Errors
    /// When the store as a whole could not be read.
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList>;

    /// Tries one claim.
    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome;

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
}

#[async_trait]
impl<S: CheckpointStore + ?Sized> CheckpointStore for Arc<S> {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        (**self).list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        (**self).claim_ownership(scope, claim).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        (**self).list_checkpoints(scope).await
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
}
