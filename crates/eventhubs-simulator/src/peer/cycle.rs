//! The load-balancing cycle of another SDK's instance, modelled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore as _, Claim, ClaimOutcome, Expected, Ownership, Version};
use eventhubs_load_balancer::View;
use eventhubs_types::PartitionId;
use futures_util::StreamExt as _;
use futures_util::stream;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};

use super::{Kind, rules};
use crate::instance::{Player, scope};
use crate::store::owner;

/// A call that is not answered for this long has failed: the limit of a try in all SDKs (docs/contract.md
/// §10.1).
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// The pause of those that begin the next cycle at once.
const AT_ONCE: Duration = Duration::from_millis(10);

/// How far a wall clock is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skew {
    pub(crate) by: Duration,
    pub(crate) is_ahead: bool,
}

struct Peer {
    kind: Kind,
    player: Player,
    skew: Skew,
    rng: StdRng,
    reading: BTreeSet<PartitionId>,
}

/// Plays an instance of another SDK.
pub(crate) async fn play(player: Player, kind: Kind, skew: Skew) {
    sleep(player.start_after).await;
    player.join();
    let rng = StdRng::seed_from_u64(player.seed);
    let mut peer = Peer { kind, player, skew, rng, reading: BTreeSet::new() };
    loop {
        let begun = Instant::now();
        let has_all = peer.cycle().await;
        let interval = peer.player.settings.interval();
        let pause = if !has_all && kind.repeats_at_once() {
            AT_ONCE
        } else {
            kind.pause(interval, begun.elapsed(), &mut peer.rng)
        };
        // The stop is asked only between cycles, as in the SDKs, which finish the one that runs.
        if timeout(pause, &mut peer.player.stop).await.is_ok() {
            break;
        }
    }
    peer.leave().await;
}

impl Peer {
    /// Says whether it has all that it wants; a failure is no reason to hurry.
    async fn cycle(&mut self) -> bool {
        for stolen in self.player.take_stolen() {
            self.reading.remove(&stolen);
        }
        let Some(records) = self.list().await else {
            // As the SDKs do: after a failed listing they wait for their interval.
            return true;
        };
        let me = owner(self.player.store.instance);
        let expired = self.expired(&records);
        let view = View::new(&self.player.partitions, &me, &records, &BTreeSet::new(), &expired);
        let (claim, steal) = rules::plan(self.kind, self.kind.is_greedy(), &view, &mut self.rng);
        let has_all = claim.is_empty() && steal.is_empty();
        let wanted = view.mine.into_iter().chain(claim).chain(steal);
        let won = self.claim(wanted.collect(), &records).await;
        self.read_only(won);
        has_all
    }

    async fn list(&self) -> Option<Vec<Ownership>> {
        let scope = scope();
        let list = timeout(CALL_LIMIT, self.player.store.list_ownership(&scope)).await;
        Some(list.ok()?.ok()?.records)
    }

    /// By the own wall clock, however wrong it is (docs/contract.md §8.1).
    fn expired(&self, records: &[Ownership]) -> BTreeSet<PartitionId> {
        let clock = self.player.store.world.clock();
        let now = if self.skew.is_ahead { clock + self.skew.by } else { clock - self.skew.by };
        let is_expired = |record: &&Ownership| {
            // A record from the future, by a clock that is behind, has no age, and not a huge one.
            let age = record.modified.map(|modified| now.duration_since(modified).unwrap_or_default());
            age.is_some_and(|age| age >= self.player.settings.expiry())
        };
        let expired = records.iter().filter(is_expired);
        expired.map(|record| record.partition.clone()).collect()
    }

    /// Renewals and claims alike; what comes back is what it owns.
    async fn claim(&self, wanted: Vec<PartitionId>, records: &[Ownership]) -> BTreeSet<PartitionId> {
        let versions: BTreeMap<&PartitionId, &Version> =
            records.iter().map(|record| (&record.partition, &record.version)).collect();
        let claims = wanted.into_iter().map(|partition| {
            let version = versions.get(&partition).copied().cloned();
            let expected = version.map_or(Expected::Absent, Expected::Version);
            Claim::new(partition, Some(owner(self.player.store.instance)), expected)
        });
        let outcomes =
            stream::iter(claims).map(|claim| self.attempt(claim)).buffer_unordered(self.kind.in_flight());
        outcomes.filter_map(|won| async { won }).collect().await
    }

    async fn attempt(&self, claim: Claim) -> Option<PartitionId> {
        let scope = scope();
        let outcome = timeout(CALL_LIMIT, self.player.store.claim_ownership(&scope, &claim)).await;
        matches!(outcome, Ok(ClaimOutcome::Won(_))).then_some(claim.partition)
    }

    fn read_only(&mut self, won: BTreeSet<PartitionId>) {
        for lost in self.reading.difference(&won) {
            self.player.detach(lost);
        }
        for acquired in won.difference(&self.reading) {
            self.player.attach(acquired);
        }
        self.reading = won;
    }

    async fn leave(&mut self) {
        let reading = std::mem::take(&mut self.reading);
        for partition in &reading {
            self.player.detach(partition);
        }
        if !self.kind.releases() {
            return;
        }
        let me = owner(self.player.store.instance);
        for record in self.list().await.unwrap_or_default() {
            if record.owner.as_ref() == Some(&me) && reading.contains(&record.partition) {
                let release = Claim::new(record.partition, None, Expected::Version(record.version));
                self.attempt(release).await;
            }
        }
    }
}
