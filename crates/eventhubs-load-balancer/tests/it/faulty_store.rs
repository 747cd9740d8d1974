//! A store that fails, hangs, panics or answers late, as a test tells it to. Late is a sleep, since every test
//! that uses it runs on a paused clock.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{
    Audience, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind,
    Expected, Hint, MemoryCheckpointStore, OwnershipList, RejectedRecord, Result, async_trait,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use tokio::time::{Instant, sleep};

use crate::setup::{overwrite, records};

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Half of this time passes before the effect, half of it after.
    Slow(Duration),
    FailsBefore,
    /// It fails, and asks for this time.
    Throttles(Duration),
    /// The effect is there, but the answer is lost.
    FailsAfter,
    Hangs,
    /// This owner writes the record just before.
    Overtaken(&'static str),
}

/// A change of a record that was won.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) partition: PartitionId,
    pub(crate) before: Option<OwnerId>,
    pub(crate) after: Option<OwnerId>,
    pub(crate) announces_to: Option<Audience>,
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) lists: Option<Fault>,
    pub(crate) claims: Option<Fault>,
    /// Claims of this partition fail in any case.
    pub(crate) poisoned: Option<PartitionId>,
    /// The record of this partition cannot be read.
    pub(crate) unreadable: Option<PartitionId>,
    /// Calls so far.
    pub(crate) listed: usize,
    pub(crate) claimed: usize,
    /// Claims under way, now and at most.
    in_flight: usize,
    pub(crate) peak: usize,
    pub(crate) changes: Vec<Change>,
    modified: BTreeMap<PartitionId, SystemTime>,
}

/// A store in memory that does as its script says, and writes down what happens.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: MemoryCheckpointStore,
    script: Mutex<Script>,
    started: Option<Instant>,
}

impl FaultyStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryCheckpointStore::new(), script: Mutex::default(), started: None })
    }

    /// A store that says when records were written, on its own clock.
    pub(crate) fn with_clock() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryCheckpointStore::new(),
            script: Mutex::default(),
            started: Some(Instant::now()),
        })
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panics here")
    }

    /// Changes of owner: renewals are left out.
    pub(crate) fn moves(&self) -> Vec<Change> {
        self.script().changes.iter().filter(|change| change.before != change.after).cloned().collect()
    }

    /// The hints that a store with `watch` would give.
    pub(crate) fn hints(&self) -> Vec<Hint> {
        let hint = |change: &Change| Some(Hint::new(change.partition.clone(), change.announces_to.clone()?));
        self.script().changes.iter().filter_map(hint).collect()
    }

    /// Changes from one owner to another.
    pub(crate) fn steals(&self) -> usize {
        self.moves().iter().filter(|change| change.before.is_some() && change.after.is_some()).count()
    }

    fn now(&self) -> Option<SystemTime> {
        self.started.map(|started| SystemTime::UNIX_EPOCH + started.elapsed())
    }

    async fn apply(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let before =
            records(&self.inner).await.into_iter().find(|record| record.partition == claim.partition);
        let mut outcome = self.inner.claim_ownership(scope, claim).await;
        if let ClaimOutcome::Won(record) = &mut outcome {
            record.modified = self.now();
            let mut script = self.script();
            script.modified.extend(record.modified.map(|modified| (claim.partition.clone(), modified)));
            script.changes.push(Change {
                at: Instant::now(),
                partition: claim.partition.clone(),
                before: before.and_then(|record| record.owner),
                after: claim.owner.clone(),
                announces_to: claim.announces_to.clone(),
            });
        }
        outcome
    }

    async fn claim_with(&self, fault: Option<Fault>, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        match fault {
            Some(Fault::FailsBefore) => return ClaimOutcome::Failed(broken()),
            Some(Fault::Throttles(time)) => return ClaimOutcome::Failed(throttled(time)),
            Some(Fault::Hangs) => return pending().await,
            Some(Fault::Slow(time)) => sleep(time / 2).await,
            Some(Fault::Overtaken(owner)) => overwrite(&self.inner, &claim.partition, Some(owner)).await,
            Some(Fault::FailsAfter) | None => {}
        }
        let outcome = self.apply(scope, claim).await;
        match fault {
            Some(Fault::FailsAfter) => return ClaimOutcome::Failed(broken()),
            Some(Fault::Slow(time)) => sleep(time / 2).await,
            _ => {}
        }
        outcome
    }
}

fn throttled(time: Duration) -> Error {
    Error::new(ErrorKind::Throttled, "slow down").with_retry_after(time)
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke")
}

#[async_trait]
impl CheckpointStore for FaultyStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let fault = {
            let mut script = self.script();
            script.listed += 1;
            script.lists.clone()
        };
        match fault {
            None => {}
            Some(Fault::Slow(time)) => sleep(time).await,
            Some(Fault::Hangs) => return pending().await,
            Some(Fault::Throttles(time)) => return Err(throttled(time)),
            Some(_) => return Err(broken()),
        }
        let mut list = self.inner.list_ownership(scope).await?;
        let script = self.script();
        for record in &mut list.records {
            record.modified = script.modified.get(&record.partition).copied();
        }
        list.now = self.now();
        if let Some(unreadable) = &script.unreadable {
            list.records.retain(|record| record.partition != *unreadable);
            list.rejected.push(RejectedRecord::new(unreadable.as_str(), "makes no sense"));
        }
        Ok(list)
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let fault = {
            let mut script = self.script();
            script.claimed += 1;
            script.in_flight += 1;
            script.peak = script.peak.max(script.in_flight);
            let is_poisoned = script.poisoned.as_ref() == Some(&claim.partition);
            if is_poisoned { Some(Fault::FailsBefore) } else { script.claims.clone() }
        };
        let _landing = Landing(self);
        self.claim_with(fault, scope, claim).await
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.inner.checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.inner.update_checkpoint(scope, checkpoint, expected).await
    }
}

/// Counts a claim as landed also when it is dropped.
struct Landing<'a>(&'a FaultyStore);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.script().in_flight -= 1;
    }
}
