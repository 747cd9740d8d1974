//! One instance's part in sharing out the partitions: the state between rounds, and the delays. `impl
//! Balancer` continues in `round.rs` (one round against the store), `handover.rs` (offers and handing over)
//! and `hints.rs` (what the store says between rounds).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use eventhubs_checkpoint_store::CheckpointStore;
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::calls::Calls;
use crate::comeback::Comeback;
use crate::crowd::Crowd;
use crate::handover::Stage;
use crate::holdings::Holdings;
use crate::passive::PassiveWatch;
use crate::round::Purpose;
use crate::settings::JITTER;
use crate::sorted::Hub;
use crate::tempo::{Findings, Tempo};
use crate::twin::TwinWatch;
use crate::{ClaimCounts, Failure, Lease, LeaseObserver, Operation, Origin, Round, Settings};

/// One instance's part in sharing out the partitions of an event hub.
///
/// Call [`first_delay`](Self::first_delay) and wait; then, again and again, run a [`round`](Self::round), do
/// what it says, and wait for [`next_delay`](Self::next_delay). A lease that cannot be renewed is reported
/// lost at the moment it runs out by the own monotonic clock, before anybody else may take the partition: a
/// round ends no later than that, and no delay goes beyond it.
///
/// ```
/// use std::sync::Arc;
///
/// use eventhubs_checkpoint_store::MemoryCheckpointStore;
/// use eventhubs_load_balancer::{Balancer, Settings, Strategy};
/// use eventhubs_types::{ConsumerScope, PartitionId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let namespace = "contoso.servicebus.windows.net".parse()?;
/// let scope = ConsumerScope::new(namespace, "orders".parse()?, "$Default".parse()?);
/// let store = Arc::new(MemoryCheckpointStore::new());
/// let settings = Settings::default().with_strategy(Strategy::Greedy);
/// let mut balancer = Balancer::new(store, scope, "instance-1".parse()?, settings, 7);
///
/// let partitions = ["0", "1", "2"].map(|id| id.parse().unwrap());
/// let round = balancer.round(&partitions).await;
/// assert_eq!(round.acquired, partitions);
/// # Ok(())
/// # }
/// ```
pub struct Balancer {
    pub(crate) calls: Calls,
    pub(crate) owner: OwnerId,
    pub(crate) settings: Settings,
    pub(crate) rng: StdRng,
    pub(crate) hub: Hub,
    pub(crate) observer: LeaseObserver,
    pub(crate) holdings: Holdings,
    pub(crate) twins: TwinWatch,
    pub(crate) passive: PassiveWatch,
    pub(crate) tempo: Tempo,
    /// Whether the last listing was answered.
    is_store_well: bool,
    /// When the next round is to come, while it is only looked what changed hands.
    pub(crate) due: Option<Instant>,
    /// When the last round comes that a hint led to.
    pub(crate) hinted_at: Option<Instant>,
    pub(crate) comeback: Comeback,
    pub(crate) stage: Stage,
    pub(crate) has_takers: bool,
    /// For the report of the round that is under way.
    pub(crate) origins: BTreeMap<PartitionId, Origin>,
    pub(crate) takers: BTreeMap<PartitionId, OwnerId>,
    /// Since they were last taken.
    pub(crate) claims: ClaimCounts,
}

impl Balancer {
    /// A balancer that owns nothing yet.
    ///
    /// `owner` is to be unique among the instances; see [`Round::is_owner_taken`]. Records that a run before
    /// left under the same id are taken up again at once. `seed` is what all random choices and delays follow
    /// from: give each instance another one, or all of them choose alike.
    pub fn new(
        store: Arc<dyn CheckpointStore>,
        scope: ConsumerScope,
        owner: OwnerId,
        settings: Settings,
        seed: u64,
    ) -> Self {
        Self {
            calls: Calls {
                store,
                scope,
                list_limit: settings.list_limit(),
                claim_limit: settings.claim_limit(),
            },
            hub: Hub::default(),
            observer: LeaseObserver::new(settings.expiry()),
            holdings: Holdings::new(settings.lease()),
            twins: TwinWatch::new(settings.expiry()),
            passive: PassiveWatch::default(),
            tempo: Tempo::default(),
            is_store_well: true,
            due: None,
            hinted_at: None,
            comeback: Comeback::new(settings.comeback_time()),
            stage: Stage::Stays,
            has_takers: false,
            origins: BTreeMap::new(),
            takers: BTreeMap::new(),
            claims: ClaimCounts::new(),
            owner,
            settings,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Looks who owns what, renews the own leases, and takes what is missing.
    ///
    /// `partitions` are all partitions of the event hub; what is owned and not among them is lost. If their
    /// list cannot be had, pass the last one.
    ///
    /// A round never fails as a whole: what could not be done is in [`Round::failures`], and nothing is lost
    /// by it as long as the leases last. A claim with an unknown outcome counts as not won; should it have
    /// been won, the next round finds the record and takes it up. A round ends in a quarter of the expiry at
    /// the latest.
    ///
    /// What is taken from another eventhubs instance is acquired at once, but its [`Lease`] is not settled
    /// until that one has handed it over: begin to read, so that the reader there is cut off, but do nothing
    /// with what comes before. A round that [`next_delay`](Self::next_delay) asked for to see that earlier
    /// only [looks](Self::look).
    ///
    /// # Cancel safety
    /// A round can be dropped: the next one tells what this one changed. A claim in flight may still be won,
    /// and the next round finds it; if there is no next round, others wait for its expiry. So let a round end
    /// before [`release`](Self::release).
    pub async fn round(&mut self, partitions: &[PartitionId]) -> Round {
        let is_early = self.due.is_some_and(|due| Instant::now() < due);
        if is_early && self.stage == Stage::Stays {
            return self.look(partitions).await;
        }
        self.due = None;
        self.run(partitions, Purpose::Balance).await
    }

    /// A round that takes and renews nothing: it tells what was lost, and what is [asked](Round::asked) for.
    /// Call it when another reader has taken the link of a partition, for that may be an instance that waits.
    ///
    /// # Cancel safety
    /// As that of a [`round`](Self::round).
    pub async fn look(&mut self, partitions: &[PartitionId]) -> Round {
        self.run(partitions, Purpose::Look).await
    }

    async fn run(&mut self, partitions: &[PartitionId], purpose: Purpose) -> Round {
        let now = Instant::now();
        let mut round = Round::default();
        self.hub.update(partitions, self.settings.assignment());
        // A lease that has run out is told at once: a listing may take long, and another instance may read
        // meanwhile.
        if self.lapse(now) {
            self.tempo.lapsed();
            self.due = None;
        } else {
            let deadline = self.deadline(now);
            let listing = self.calls.list(deadline).await;
            self.is_store_well = listing.is_ok();
            match listing {
                Ok(listing) => self.act(listing, purpose, deadline, &mut round).await,
                Err(error) => {
                    // Nobody can be seen, so nobody is waited for: an instance that stops during an outage
                    // ends at once.
                    self.has_takers = false;
                    self.tempo.failed(error.retry_after().unwrap_or_default());
                    round.fail(Operation::ListOwnership, error);
                }
            }
            // Again, since the calls took time. No claim is made between this and what the caller is told.
            self.lapse(Instant::now());
        }
        self.holdings.tell(&mut round);
        self.say_with_whom(&mut round);
        round
    }

    /// Adds the other owners to what changed hands.
    fn say_with_whom(&mut self, round: &mut Round) {
        let (mut origins, mut takers) = (mem::take(&mut self.origins), mem::take(&mut self.takers));
        for partition in &round.acquired {
            round.origins.insert(partition.clone(), origins.remove(partition).unwrap_or(Origin::Own));
        }
        for partition in round.lost.iter().map(|(partition, _)| partition).chain(&round.asked) {
            round.takers.extend(takers.remove_entry(partition));
        }
    }

    fn lapse(&mut self, now: Instant) -> bool {
        let has_lapsed = self.holdings.lapse(now);
        if has_lapsed && self.holdings.len() == 0 {
            self.comeback.lost_all();
        }
        has_lapsed
    }

    /// What this instance owns, as of its last round.
    pub fn owned(&self) -> impl Iterator<Item = &PartitionId> {
        self.holdings.partitions()
    }

    /// The lease on a partition that is owned, for the one who reads it.
    pub fn lease(&self, partition: &PartitionId) -> Option<Lease> {
        self.holdings.lease(partition)
    }

    /// Gives up a partition without a word to the store: its reader has ended, because another reader took
    /// the link or for a reason of its own.
    ///
    /// It is not renewed by what was known of it; the next listing decides. If the record has another owner,
    /// it stays with that owner; if it is still ours, the next round renews it and reports it as acquired
    /// again.
    pub fn forget(&mut self, partition: &PartitionId) {
        self.holdings.forget(partition);
    }

    /// Gives partitions back, so that others take them in their next round. Call it once the readers have
    /// ended.
    ///
    /// What another owner holds by now is left alone. Takes a quarter of the expiry at most.
    ///
    /// # Cancel safety
    /// If it is dropped, some partitions may not be released; call it again with the same ones.
    pub async fn release(&mut self, partitions: &[PartitionId]) -> Vec<Failure> {
        // Before the write: should this be dropped, the leases are over and no later round renews them.
        for partition in partitions {
            self.holdings.forget(partition);
        }
        if partitions.is_empty() {
            return Vec::new();
        }
        let mut round = Round::default();
        let deadline = self.deadline(Instant::now());
        match self.calls.list(deadline).await {
            Ok(listing) => {
                let releases = self.releases(partitions, &listing.list.records);
                self.attempt_all(releases, deadline, &mut round, &mut Findings::default()).await;
            }
            Err(error) => round.fail(Operation::ListOwnership, error),
        }
        round.failures
    }

    /// Returns what became of all claims since it was last called.
    pub fn take_claims(&mut self) -> ClaimCounts {
        mem::take(&mut self.claims)
    }

    /// How long to wait before the first round, so that instances that start together do not meet: at random
    /// up to half the interval with 2 000 partitions, and less the fewer there are; up to a tenth of the
    /// interval where the strategy is not adaptive.
    pub fn first_delay(&mut self, partitions: usize) -> Duration {
        Crowd::of(partitions).start_spread(&self.settings).mul_f64(self.rng.random_range(0.0..1.0))
    }

    /// How long to wait before the next round, times a random factor of 0.8 to 1.2.
    ///
    /// The interval with 2 000 partitions, and down to a fifth of it with 400 and fewer where the strategy is
    /// adaptive. Less after a lost race, while partitions stay free, and while the instance still grows: from
    /// a tenth of the interval with 2 000 partitions down to a two-hundredth with 100 and fewer, or up to
    /// seven tenths in a large or growing fleet. More when all has been calm for some rounds: up to three
    /// intervals, as long as enough others look too, the store has a clock, and no renewal gets late. At
    /// least what a store that failed asked for, up to the expiry. And never beyond the moment at which an
    /// own lease runs out. A twentieth of the usual pause while another instance may hand over a partition,
    /// and a quarter of the interval for one that leaves.
    pub fn next_delay(&mut self) -> Duration {
        let now = Instant::now();
        // A look does not put off the round that was due: many looks in a row would let the leases run out.
        let due = self.due.take().filter(|due| now < *due);
        let delay = due.map_or_else(|| self.next_round_after(now), |due| due - now);
        let jitter = self.rng.random_range(JITTER);
        let look = self.hub.crowd().look_again_after(&self.settings).mul_f64(jitter);
        if self.is_store_well && look < delay && self.holdings.is_waiting(now) {
            self.due = Some(now + delay);
            return look;
        }
        match self.stage {
            Stage::Leaves => delay.min(self.settings.leaving_pause().mul_f64(jitter)),
            Stage::Stays | Stage::WindsDown => delay,
        }
    }

    fn next_round_after(&mut self, now: Instant) -> Duration {
        let crowd = self.hub.crowd();
        let delay = self.tempo.delay(&self.settings, crowd).mul_f64(self.rng.random_range(JITTER));
        let Some(lapse) = self.holdings.next_lapse() else {
            return delay;
        };
        let until_lapse = lapse.saturating_duration_since(now);
        let until_due = until_lapse.saturating_sub(self.settings.lease_left_when_due());
        let calmest = until_due.max(crowd.interval(&self.settings).mul_f64(JITTER.start));
        let delay = if self.tempo.is_calm(&self.settings, crowd) { delay.min(calmest) } else { delay };
        delay.min(until_lapse)
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("scope", &self.calls.scope)
            .field("owner", &self.owner)
            .field("settings", &self.settings)
            .field("holdings", &self.holdings)
            .finish_non_exhaustive()
    }
}
