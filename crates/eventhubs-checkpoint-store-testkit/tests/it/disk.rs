//! What a store of these tests keeps, and the changes of it that are one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use eventhubs_checkpoint_store::{Audience, Checkpoint, Claim, Expected, Hint, Ownership, Version};
use eventhubs_types::{ConsumerScope, Offset, PartitionId};
use tokio::sync::mpsc;

use crate::defect::Defect;

pub(crate) type Key = (String, String);

/// It outlives the handles, as a disk does.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) records: BTreeMap<Key, Ownership>,
    pub(crate) checkpoints: BTreeMap<Key, Checkpoint>,
    pub(crate) tokens: BTreeMap<Key, i64>,
    pub(crate) scopes: BTreeMap<String, ConsumerScope>,
    pub(crate) locked: BTreeSet<Key>,
    pub(crate) watchers: Vec<Watcher>,
    last_version: u64,
}

#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) scope: String,
    pub(crate) handle: usize,
    pub(crate) hints: mpsc::Sender<Hint>,
}

pub(crate) fn is_met(current: Option<&Version>, expected: &Expected) -> bool {
    match expected {
        Expected::Absent => current.is_none(),
        Expected::Version(version) => current == Some(version),
    }
}

pub(crate) fn scope_key(defect: Defect, scope: &ConsumerScope) -> String {
    let lower = if defect == Defect::SpellsScopes { scope.clone() } else { scope.to_lowercase() };
    match defect {
        Defect::MixesGroups => format!("{}/{}", lower.namespace, lower.event_hub),
        Defect::JoinsScopes => format!("{}-{}-{}", lower.namespace, lower.event_hub, lower.consumer_group),
        _ => lower.to_string(),
    }
}

pub(crate) fn key(defect: Defect, scope: &ConsumerScope, partition: &PartitionId) -> Key {
    let id = partition.as_str();
    let id = match (defect, id.parse::<f64>()) {
        (Defect::FoldsPartitions, _) => id.to_lowercase(),
        (Defect::NumbersPartitions, Ok(number)) => number.to_string(),
        _ => id.to_owned(),
    };
    (scope_key(defect, scope), id)
}

impl Disk {
    /// A version that was never given, unless the defect is there.
    pub(crate) fn next_version(
        &mut self,
        defect: Defect,
        process: &AtomicU64,
        old: Option<&Version>,
    ) -> Version {
        self.last_version += 1;
        let old = old.and_then(|old| old.as_str().parse::<u64>().ok()).unwrap_or(0);
        Version::new(match defect {
            Defect::CountsInProcess => (process.fetch_add(1, Ordering::Relaxed) + 1).to_string(),
            Defect::CountsInRecord => (old + 1).to_string(),
            _ => self.last_version.to_string(),
        })
    }

    /// The record as claimed, with its new version and time.
    pub(crate) fn claimed(
        &mut self,
        defect: Defect,
        process: &AtomicU64,
        key: &Key,
        claim: &Claim,
    ) -> Ownership {
        let old = self.records.get(key).cloned();
        let mut version = self.next_version(defect, process, old.as_ref().map(|old| &old.version));
        let (mut modified, mut mark) = (Some(now()), claim.mark.clone());
        if let Some(old) = &old {
            match defect {
                Defect::KeepsVersion if old.owner == claim.owner => version = old.version.clone(),
                Defect::KeepsTime => modified = old.modified,
                Defect::KeepsMarkOnRelease if claim.owner.is_none() => mark.clone_from(&old.mark),
                _ => {}
            }
        }
        if defect == Defect::HalfAClock {
            modified = None;
        }
        Ownership::new(claim.partition.clone(), claim.owner.clone(), version, modified).with_mark(mark)
    }

    /// The checkpoint as it is kept, without a version.
    pub(crate) fn kept(&self, defect: Defect, key: &Key, checkpoint: &Checkpoint) -> Checkpoint {
        let mut kept = checkpoint.clone();
        match (defect, self.checkpoints.get(key)) {
            (Defect::ParsesOffsets, _) => {
                let number =
                    |offset: Offset| offset.as_str().parse().ok().map(|number: i64| number.to_string());
                kept.offset = kept.offset.and_then(number).map(Offset::new);
            }
            (Defect::MergesCheckpoints, Some(old)) => {
                kept.offset = kept.offset.or_else(|| old.offset.clone());
                kept.sequence_number = kept.sequence_number.or(old.sequence_number);
            }
            _ => {}
        }
        kept
    }

    /// The channels of those who hear of a claim.
    pub(crate) fn audience(
        &mut self,
        defect: Defect,
        scope: &str,
        handle: usize,
        claim: &Claim,
    ) -> Vec<(mpsc::Sender<Hint>, Hint)> {
        let Some(audience): Option<&Audience> = claim.announces_to.as_ref() else { return Vec::new() };
        let hint = Hint::new(claim.partition.clone(), audience.clone());
        self.watchers.retain(|watcher| !watcher.hints.is_closed());
        let hears = |watcher: &&Watcher| match defect {
            Defect::HintsEverybody => true,
            Defect::HintsOwnHandle => watcher.scope == scope && watcher.handle == handle,
            _ => watcher.scope == scope,
        };
        self.watchers.iter().filter(hears).map(|watcher| (watcher.hints.clone(), hint.clone())).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of a store is the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
