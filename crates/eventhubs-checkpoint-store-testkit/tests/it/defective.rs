//! A store with all capabilities and at most one defect.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use eventhubs_checkpoint_store::{
    BoxStream, Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Expected,
    FenceToken, Fenced, Hint, Ownership, OwnershipList, Result, Version, async_trait,
};
use eventhubs_checkpoint_store_testkit::Place;
use eventhubs_types::{ConsumerScope, PartitionId};
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::defect::Defect;
use crate::disk::{Disk, Key, Watcher, is_met, key, now, scope_key};

/// One handle.
#[derive(Debug)]
pub(crate) struct DefectiveStore {
    defect: Defect,
    disk: Arc<Mutex<Disk>>,
    process: Arc<AtomicU64>,
    handle: usize,
    lock: tokio::sync::Mutex<()>,
    copy: Mutex<Option<Vec<Ownership>>>,
}

impl DefectiveStore {
    pub(crate) fn open(defect: Defect, disk: &Arc<Mutex<Disk>>, place: &Place) -> Self {
        let disk = if defect == Defect::Forgets { place.shared(Mutex::default) } else { Arc::clone(disk) };
        let handle = place.shared(AtomicUsize::default).fetch_add(1, Ordering::Relaxed);
        let process = place.shared(AtomicU64::default);
        Self { defect, disk, process, handle, lock: tokio::sync::Mutex::default(), copy: Mutex::default() }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    fn key(&self, scope: &ConsumerScope, partition: &PartitionId) -> Key {
        key(self.defect, scope, partition)
    }

    fn is_met(&self, disk: &Disk, key: &Key, expected: &Expected) -> bool {
        let is_free = self.has(Defect::OverwritesAsAbsent) && *expected == Expected::Absent;
        let current = disk.records.get(key).map(|record| &record.version);
        is_free || self.has(Defect::Overwrites) || is_met(current, expected)
    }

    /// Writes, after a check below the same lock unless it was done before. `None`: lost.
    fn swap(&self, scope: &ConsumerScope, claim: &Claim, is_checked: bool) -> Option<Ownership> {
        let key = self.key(scope, &claim.partition);
        let mut disk = self.disk();
        if !is_checked && !self.is_met(&disk, &key, &claim.expected) {
            return None;
        }
        let record = disk.claimed(self.defect, &self.process, &key, claim);
        disk.scopes.insert(key.0.clone(), scope.to_lowercase());
        if self.has(Defect::ForgetsReleases) && claim.owner.is_none() {
            disk.records.remove(&key);
        } else {
            disk.records.insert(key, record.clone());
        }
        Some(record)
    }

    async fn claim(&self, scope: &ConsumerScope, claim: &Claim) -> Option<Ownership> {
        let key = self.key(scope, &claim.partition);
        match self.defect {
            Defect::ChecksThenWrites | Defect::LocksItsHandle => {
                let lock = if self.has(Defect::LocksItsHandle) { Some(self.lock.lock().await) } else { None };
                let is_met = self.is_met(&self.disk(), &key, &claim.expected);
                yield_now().await;
                let won = is_met.then(|| self.swap(scope, claim, true)).flatten();
                drop(lock);
                won
            }
            Defect::StaysLocked => {
                if !self.disk().locked.insert(key.clone()) {
                    return None;
                }
                yield_now().await;
                self.disk().locked.remove(&key);
                self.swap(scope, claim, false)
            }
            Defect::TearsWrites => {
                if let Some(record) = self.disk().records.get_mut(&key)
                    && is_met(Some(&record.version), &claim.expected)
                {
                    record.owner.clone_from(&claim.owner);
                }
                yield_now().await;
                self.swap(scope, claim, false)
            }
            _ => {
                yield_now().await;
                self.swap(scope, claim, false)
            }
        }
    }

    async fn announce(&self, scope: &ConsumerScope, claim: &Claim) {
        let scope = scope_key(self.defect, scope);
        let hears = self.disk().audience(self.defect, &scope, self.handle, claim);
        for (channel, hint) in hears {
            if self.has(Defect::WaitsForReaders) {
                let _closed = channel.send(hint).await;
            } else {
                let _missed = channel.try_send(hint);
            }
        }
    }

    fn list(&self, scope: &ConsumerScope) -> Vec<Ownership> {
        let scope = scope_key(self.defect, scope);
        let mut disk = self.disk();
        let of_scope = disk.records.iter_mut().filter(|(key, _)| key.0 == scope);
        of_scope
            .map(|(_, record)| {
                if self.has(Defect::ReadsRenew) {
                    record.modified = Some(now());
                }
                record.clone()
            })
            .collect()
    }

    fn current_version(&self, key: &Key) -> Option<Version> {
        self.disk().checkpoints.get(key).and_then(|checkpoint| checkpoint.version.clone())
    }

    fn is_position_refused(&self, key: &Key, checkpoint: &Checkpoint) -> bool {
        let disk = self.disk();
        let old = disk.checkpoints.get(key).and_then(|old| old.sequence_number);
        self.has(Defect::OnlyGoesForward) && old > checkpoint.sequence_number
    }
}

#[async_trait]
impl CheckpointStore for DefectiveStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let records = self.list(scope);
        let records = match self.defect {
            Defect::ReadsOnePage => records.into_iter().take(100).collect(),
            Defect::HidesFirstClaims => {
                records.into_iter().filter(|record| record.version.as_str() != "1").collect()
            }
            Defect::ReadsOwnCopy => self.copy.lock().unwrap().get_or_insert(records).clone(),
            _ => records,
        };
        Ok(OwnershipList::new(records, Some(now()), Vec::new()))
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let won = self.claim(scope, claim).await;
        if won.is_some() || self.has(Defect::HintsLostClaims) {
            self.announce(scope, claim).await;
        }
        *self.copy.lock().unwrap() = None;
        won.map_or(ClaimOutcome::Lost, ClaimOutcome::Won)
    }

    fn max_claims(&self) -> usize {
        500
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let is_met =
            |claim: &Claim| self.is_met(&self.disk(), &self.key(scope, &claim.partition), &claim.expected);
        if self.has(Defect::LosesAllClaims) && !claims.iter().all(is_met) {
            return claims.iter().map(|_| ClaimOutcome::Lost).collect();
        }
        let mut claims = claims.to_vec();
        if self.has(Defect::SortsOutcomes) {
            claims.sort_by(|a, b| a.partition.cmp(&b.partition));
        }
        let mut outcomes = Vec::new();
        for claim in &claims {
            let mut claim = claim.clone();
            claim.announces_to = claim.announces_to.filter(|_| !self.has(Defect::HintsSingleClaims));
            outcomes.push(self.claim_ownership(scope, &claim).await);
        }
        outcomes
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        let key = self.key(scope, partition);
        let mut last = self.disk().tokens.get(&key).copied().unwrap_or(0);
        yield_now().await;
        let mut disk = self.disk();
        if !self.has(Defect::RacesFences) {
            last = disk.tokens.get(&key).copied().unwrap_or(0);
        }
        let token = if self.has(Defect::ConstantToken) { 1 } else { last + 1 };
        disk.tokens.insert(key.clone(), token);
        if self.has(Defect::FencesOwnership)
            && let Some(record) = disk.records.get_mut(&key)
        {
            record.modified = Some(now());
        }
        let checkpoint = disk.checkpoints.get(&key).filter(|_| !self.has(Defect::FencesBlindly)).cloned();
        Ok(Fenced::new(checkpoint, Some(FenceToken::new(token))))
    }

    fn watch(&self, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let (hints, receiver) = mpsc::channel(16);
        let scope = scope_key(self.defect, scope);
        self.disk().watchers.push(Watcher { scope, handle: self.handle, hints });
        let next =
            |mut receiver: mpsc::Receiver<Hint>| async { receiver.recv().await.map(|hint| (hint, receiver)) };
        stream::unfold(receiver, next).chain(stream::pending()).boxed()
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        Ok(self.disk().checkpoints.get(&self.key(scope, partition)).cloned())
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let key = self.key(scope, &checkpoint.partition);
        let old = self.current_version(&key);
        if self.has(Defect::TearsCheckpoints) && is_met(old.as_ref(), expected) {
            let mut disk = self.disk();
            disk.checkpoints.entry(key.clone()).and_modify(|kept| kept.offset.clone_from(&checkpoint.offset));
        }
        yield_now().await;
        if self.is_position_refused(&key, checkpoint) {
            return Ok(CheckpointOutcome::Conflict);
        }
        let mut disk = self.disk();
        let is_met = is_met(disk.checkpoints.get(&key).and_then(|kept| kept.version.as_ref()), expected);
        if !is_met && !self.has(Defect::Overwrites) {
            return Ok(CheckpointOutcome::Conflict);
        }
        let mut version = disk.next_version(self.defect, &self.process, old.as_ref());
        if self.has(Defect::ConstantEtag) {
            version = Version::new("1");
        }
        let kept = disk.kept(self.defect, &key, checkpoint).with_version(version.clone());
        disk.scopes.insert(key.0.clone(), scope.to_lowercase());
        disk.checkpoints.insert(key, kept);
        Ok(CheckpointOutcome::Written(version))
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        let scope = scope_key(self.defect, scope);
        let disk = self.disk();
        let listed = disk.checkpoints.iter().filter(|(key, _)| key.0 == scope);
        let page = if self.has(Defect::ReadsOnePage) { 100 } else { usize::MAX };
        Ok(listed.map(|(_, checkpoint)| checkpoint.clone()).take(page).collect())
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let key = self.key(scope, partition);
        let mut disk = self.disk();
        let current = disk.checkpoints.get(&key).and_then(|kept| kept.version.as_ref());
        if current != Some(version) && !(self.has(Defect::DeletesAnything) && current.is_some()) {
            return Ok(DeleteOutcome::Conflict);
        }
        disk.checkpoints.remove(&key);
        if self.has(Defect::DeletesToken) {
            disk.tokens.remove(&key);
        }
        Ok(DeleteOutcome::Deleted)
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let key = self.key(scope, partition);
        let mut disk = self.disk();
        let current = disk.records.get(&key).map(|record| &record.version);
        if current != Some(version) && !(self.has(Defect::DeletesAnything) && current.is_some()) {
            return Ok(DeleteOutcome::Conflict);
        }
        disk.records.remove(&key);
        Ok(DeleteOutcome::Deleted)
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        let disk = self.disk();
        let has_record =
            |scope: &String| disk.records.keys().chain(disk.checkpoints.keys()).any(|key| key.0 == *scope);
        let listed =
            disk.scopes.iter().filter(|(key, _)| self.has(Defect::ListsEmptyScopes) || has_record(key));
        Ok(listed.map(|(_, scope)| scope.clone()).collect())
    }
}
