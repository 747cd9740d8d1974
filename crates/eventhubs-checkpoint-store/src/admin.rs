//! What operators do with the records of any store: look, reset, delete, and copy from one store to another.
//!
//! Nothing is changed of a partition that a live owner holds, unless it is forced: the owner would not notice, and
//! its next checkpoint would write over the change.

mod export;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};

use crate::{
    Checkpoint, CheckpointOutcome, CheckpointStore, DeleteOutcome, Error, ErrorKind, Expected, Ownership,
    OwnershipList, Result,
};

pub use export::{ExportedCheckpoint, ScopeExport};

/// How long after its last renewal an owner counts as live, unless said otherwise: 60 seconds, the default of the
/// `eventhubs` crate for how long an ownership lasts.
pub const DEFAULT_EXPIRY: Duration = Duration::from_secs(60);

/// The operators' view of a store.
///
/// ```
/// use eventhubs_checkpoint_store::admin::Admin;
/// use eventhubs_checkpoint_store::{Checkpoint, MemoryCheckpointStore};
/// # use eventhubs_types::ConsumerScope;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let namespace = "contoso.servicebus.windows.net".parse()?;
/// # let scope = ConsumerScope::new(namespace, "orders".parse()?, "$Default".parse()?);
/// let (old, new) = (MemoryCheckpointStore::new(), MemoryCheckpointStore::new());
/// let position = Checkpoint::new("0".parse()?, Some("4096".into()), Some(7.into()));
/// Admin::new(&old).reset(&scope, &position).await?;
///
/// let export = Admin::new(&old).export(&scope).await?;
/// let json = serde_json::to_string(&export)?;
/// for (partition, outcome) in Admin::new(&new).import(&serde_json::from_str(&json)?).await? {
///     outcome.map_err(|error| format!("partition {partition}: {error}"))?;
/// }
/// assert_eq!(Admin::new(&new).get(&scope, &"0".parse()?).await?.sequence_number(), Some(7.into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Admin<'s> {
    store: &'s dyn CheckpointStore,
    expiry: Duration,
    is_forced: bool,
}

/// What a store holds of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionState {
    /// The partition.
    pub partition: PartitionId,
    /// The ownership record; `None` where there is none.
    pub ownership: Option<Ownership>,
    /// The time since the last renewal by the clock of the store; `None` without a record or such a clock.
    pub age: Option<Duration>,
    /// Whether the owner has renewed within the expiry. An owner in a store without a clock counts as live.
    pub is_live: bool,
    /// The checkpoint; `None` where there is none.
    pub checkpoint: Option<Checkpoint>,
}

impl PartitionState {
    /// The owner, live or not.
    pub fn owner(&self) -> Option<&OwnerId> {
        self.ownership.as_ref()?.owner.as_ref()
    }

    /// The sequence number of the checkpoint.
    pub fn sequence_number(&self) -> Option<eventhubs_types::SequenceNumber> {
        self.checkpoint.as_ref()?.sequence_number
    }
}

impl<'s> Admin<'s> {
    /// Looks at this store. An owner counts as live for 60 seconds after its last renewal.
    pub fn new(store: &'s dyn CheckpointStore) -> Self {
        Self { store, expiry: DEFAULT_EXPIRY, is_forced: false }
    }

    /// Sets how long an owner counts as live after its last renewal: as long as an ownership lasts among the
    /// instances of the group. Default: 60 seconds.
    #[must_use]
    pub fn expiry(self, expiry: Duration) -> Self {
        Self { expiry, ..self }
    }

    /// Changes also what a live owner holds.
    #[must_use]
    pub fn forced(self) -> Self {
        Self { is_forced: true, ..self }
    }

    /// Lists all partitions that have a record, in the order of their ids.
    ///
    /// # Errors
    /// When the store could not be read; [`Unsupported`](ErrorKind::Unsupported) where it cannot list checkpoints.
    pub async fn list(&self, scope: &ConsumerScope) -> Result<Vec<PartitionState>> {
        let checkpoints = self.store.list_checkpoints(scope).await?;
        let OwnershipList { records, now, .. } = self.store.list_ownership(scope).await?;
        let owned = records.into_iter().map(|record| {
            let partition = record.partition.clone();
            (partition.clone(), self.state(partition, Some(record), now))
        });
        let mut states: BTreeMap<_, _> = owned.collect();
        for checkpoint in checkpoints {
            let partition = checkpoint.partition.clone();
            let state = states.entry(partition.clone());
            state.or_insert_with(|| self.state(partition, None, now)).checkpoint = Some(checkpoint);
        }
        Ok(states.into_values().collect())
    }

    /// Returns what the store holds of one partition.
    ///
    /// # Errors
    /// When the store could not be read.
    pub async fn get(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<PartitionState> {
        // The checkpoint first: whoever takes the partition after this listing writes another version.
        let checkpoint = self.store.checkpoint(scope, partition).await?;
        let OwnershipList { records, now, .. } = self.store.list_ownership(scope).await?;
        let record = records.into_iter().find(|record| record.partition == *partition);
        Ok(PartitionState { checkpoint, ..self.state(partition.clone(), record, now) })
    }

    /// Sets the checkpoint of a partition: forward, backward, or for the first time. Its version is not looked at.
    ///
    /// # Errors
    /// [`Owned`](ErrorKind::Owned) while a live owner holds the partition, unless forced;
    /// [`Conflict`](ErrorKind::Conflict) when somebody else wrote the checkpoint meanwhile; the errors of the store.
    ///
    /// # Cancel safety
    /// If dropped, the checkpoint may or may not have been written.
    pub async fn reset(&self, scope: &ConsumerScope, checkpoint: &Checkpoint) -> Result<()> {
        let state = self.changeable(scope, &checkpoint.partition).await?;
        self.replace(scope, state.checkpoint, checkpoint).await
    }

    /// Deletes the checkpoint of a partition. Returns whether there was one.
    ///
    /// # Errors
    /// As [`reset`](Self::reset); [`Unsupported`](ErrorKind::Unsupported) where the store cannot delete.
    pub async fn delete_checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<bool> {
        let state = self.changeable(scope, partition).await?;
        let Some(version) = state.checkpoint.and_then(|checkpoint| checkpoint.version) else {
            return Ok(false);
        };
        match self.store.delete_checkpoint(scope, partition, &version).await? {
            DeleteOutcome::Deleted => Ok(true),
            DeleteOutcome::Conflict => Err(conflict("the checkpoint", partition)),
        }
    }

    /// Deletes the ownership record of a partition. Returns whether there was one.
    ///
    /// # Errors
    /// As [`delete_checkpoint`](Self::delete_checkpoint).
    pub async fn delete_ownership(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<bool> {
        let state = self.changeable(scope, partition).await?;
        let Some(record) = state.ownership else { return Ok(false) };
        match self.store.delete_ownership(scope, partition, &record.version).await? {
            DeleteOutcome::Deleted => Ok(true),
            DeleteOutcome::Conflict => Err(conflict("the ownership record", partition)),
        }
    }

    /// Returns all checkpoints of a scope as plain data, which serde writes as JSON.
    ///
    /// # Errors
    /// When the store could not be read; [`Unsupported`](ErrorKind::Unsupported) where it cannot list checkpoints.
    pub async fn export(&self, scope: &ConsumerScope) -> Result<ScopeExport> {
        Ok(ScopeExport::new(scope, self.store.list_checkpoints(scope).await?))
    }

    /// Sets the checkpoints of an export, each as [`reset`](Self::reset) does. Partitions that the export does not
    /// have stay as they are. Returns the outcome of each partition, in the order of the export.
    ///
    /// The owners are listed once, before anything is written: let no instance start meanwhile.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when the export has a name that is none, and the errors of the
    /// store when the owners could not be listed; then nothing is written.
    ///
    /// # Cancel safety
    /// If dropped, some checkpoints may have been written; import the same export again.
    pub async fn import(&self, export: &ScopeExport) -> Result<Vec<(PartitionId, Result<()>)>> {
        let (scope, checkpoints) = (export.scope()?, export.checkpoints()?);
        // As in `get`, before the owners are listed: who takes a partition afterwards writes another version.
        let mut found = Vec::with_capacity(checkpoints.len());
        for checkpoint in &checkpoints {
            found.push(self.store.checkpoint(&scope, &checkpoint.partition).await);
        }
        let OwnershipList { records, now, .. } = self.store.list_ownership(&scope).await?;
        let mut records: HashMap<_, _> =
            records.into_iter().map(|record| (record.partition.clone(), record)).collect();
        let mut outcomes = Vec::with_capacity(checkpoints.len());
        for (checkpoint, found) in checkpoints.into_iter().zip(found) {
            let partition = checkpoint.partition.clone();
            let state = self.state(partition.clone(), records.remove(&partition), now);
            let may_change = found.and_then(|found| self.unless_live(&scope, &state).map(|()| found));
            let outcome = match may_change {
                Ok(found) => self.replace(&scope, found, &checkpoint).await,
                Err(error) => Err(error),
            };
            outcomes.push((partition, outcome));
        }
        Ok(outcomes)
    }

    async fn changeable(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<PartitionState> {
        let state = self.get(scope, partition).await?;
        self.unless_live(scope, &state)?;
        Ok(state)
    }

    fn unless_live(&self, scope: &ConsumerScope, state: &PartitionState) -> Result<()> {
        let Some(owner) = state.owner().filter(|_| state.is_live && !self.is_forced) else { return Ok(()) };
        let (partition, ago) = (&state.partition, ago(state.age));
        let text = format!("partition {partition} of {scope} belongs to {owner}, renewed {ago}");
        Err(Error::new(ErrorKind::Owned, text))
    }

    /// Writes a checkpoint over the one that was found.
    async fn replace(
        &self,
        scope: &ConsumerScope,
        found: Option<Checkpoint>,
        checkpoint: &Checkpoint,
    ) -> Result<()> {
        let version = found.and_then(|found| found.version);
        let expected = version.map_or(Expected::Absent, Expected::Version);
        match self.store.update_checkpoint(scope, checkpoint, &expected).await? {
            CheckpointOutcome::Written(_) => Ok(()),
            CheckpointOutcome::Conflict => Err(conflict("the checkpoint", &checkpoint.partition)),
        }
    }

    /// What an ownership record says, if there is one.
    fn state(
        &self,
        partition: PartitionId,
        ownership: Option<Ownership>,
        now: Option<SystemTime>,
    ) -> PartitionState {
        let written = ownership.as_ref().and_then(|record| record.modified).zip(now);
        // A record from the future was written just now.
        let age = written.map(|(modified, now)| now.duration_since(modified).unwrap_or_default());
        let is_owned = ownership.as_ref().is_some_and(|record| record.owner.is_some());
        let is_live = is_owned && age.is_none_or(|age| age < self.expiry);
        PartitionState { partition, ownership, age, is_live, checkpoint: None }
    }
}

fn ago(age: Option<Duration>) -> String {
    age.map_or_else(|| "at an unknown time".to_owned(), |age| format!("{} s ago", age.as_secs()))
}

fn conflict(what: &str, partition: &PartitionId) -> Error {
    Error::new(ErrorKind::Conflict, format!("{what} of partition {partition} was written meanwhile"))
}
