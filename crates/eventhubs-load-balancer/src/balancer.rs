use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{
    CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, Expected, Ownership, OwnershipList,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use futures::StreamExt as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::calls::{Attempt, Attempted, Calls, Listing};
use crate::holdings::Holdings;
use crate::settings::JITTER;
use crate::{Failure, LeaseObserver, LossReason, Operation, Plan, Round, Settings, Strategy, View, plan};

/// One instance's part in sharing out the partitions of an event hub.
///
/// Call [`first_delay`](Self::first_delay) and wait; then, again and again, run a [`round`](Self::round), do what it
/// says, and wait for [`next_delay`](Self::next_delay). A lease that cannot be renewed is reported lost at the moment it
/// runs out by the own monotonic clock, before anybody else may take the partition: a round ends no later than that, and
/// no delay goes beyond it.
///
/// ```
/// use std::sync::Arc;
///
/// use eventhubs_checkpoint_store::MemoryCheckpointStore;
/// use eventhubs_load_balancer::{Balancer, Settings};
/// use eventhubs_types::{ConsumerScope, PartitionId};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let scope = ConsumerScope {
///     namespace: "contoso.servicebus.windows.net".parse()?,
///     event_hub: "orders".parse()?,
///     consumer_group: "$Default".parse()?,
/// };
/// let store = Arc::new(MemoryCheckpointStore::new());
/// let rng = StdRng::seed_from_u64(7);
/// let mut balancer = Balancer::new(store, scope, "instance-1".parse()?, Settings::default(), rng);
///
/// let partitions = ["0", "1", "2"].map(|id| id.parse().unwrap());
/// let round = balancer.round(&partitions).await;
/// assert_eq!(round.acquired, partitions);
/// # Ok(())
/// # }
/// ```
pub struct Balancer {
    calls: Calls,
    owner: OwnerId,
    settings: Settings,
    rng: StdRng,
    observer: LeaseObserver,
    holdings: Holdings,
    /// Whether the next round shall follow soon.
    is_eager: bool,
}

impl Balancer {
    /// A balancer that owns nothing yet.
    ///
    /// `owner` is to be unique among the instances. Records that a run before left under the same id are taken up again
    /// at once.
    pub fn new(
        store: Arc<dyn CheckpointStore>,
        scope: ConsumerScope,
        owner: OwnerId,
        settings: Settings,
        rng: StdRng,
    ) -> Self {
        Self {
            calls: Calls {
                store,
                scope,
                limit: settings.call_limit(),
            },
            observer: LeaseObserver::new(settings.expiry()),
            holdings: Holdings::new(settings.lease()),
            is_eager: false,
            owner,
            settings,
            rng,
        }
    }

    /// Looks who owns what, renews the own leases, and takes what is missing.
    ///
    /// `partitions` are all partitions of the event hub; what is owned and not among them is lost. If their list cannot
    /// be had, pass the last one.
    ///
    /// A round never fails as a whole: what could not be done is in [`Round::failures`], and nothing is lost by it as
    /// long as the leases last. A claim with an unknown outcome counts as not won; should it have been won, the next
    /// round finds the record and takes it up. A round ends in a quarter of the expiry at the latest.
    ///
    /// # Cancel safety
    /// A round can be dropped: the next one tells what this one changed. A claim in flight may still be won, and the
    /// next round finds it; if there is no next round, others wait for its expiry. So let a round end before
    /// [`release`](Self::release).
    pub async fn round(&mut self, partitions: &[PartitionId]) -> Round {
        let now = Instant::now();
        let mut round = Round::default();
        // A lease that has run out is told at once: a listing may take long.
        self.is_eager = self.holdings.lapse(now);
        if !self.is_eager {
            let deadline = self.deadline(now);
            match self.calls.list(deadline).await {
                Ok(listing) => self.act(partitions, listing, deadline, &mut round).await,
                Err(error) => round.failures.push(Failure {
                    operation: Operation::ListOwnership,
                    error,
                }),
            }
            self.holdings.lapse(Instant::now());
        }
        self.holdings.tell(&mut round);
        round
    }

    /// What this instance owns, as of its last round.
    pub fn owned(&self) -> impl Iterator<Item = &PartitionId> {
        self.holdings.partitions()
    }

    /// Gives up a partition without a word to the store: its reader has ended, because another reader took the link or
    /// for a reason of its own.
    ///
    /// It is not renewed by what was known of it; the next listing decides. If the record has another owner, it stays
    /// with that owner; if it is still ours, the next round renews it and reports it as acquired again.
    pub fn forget(&mut self, partition: &PartitionId) {
        self.holdings.forget(partition);
    }

    /// Gives partitions back, so that others take them in their next round. Call it once the readers have ended.
    ///
    /// What another owner holds by now is left alone. Takes a quarter of the expiry at most.
    ///
    /// # Cancel safety
    /// If it is dropped, some partitions may not be released; call it again with the same ones.
    pub async fn release(&mut self, partitions: &[PartitionId]) -> Vec<Failure> {
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
                self.attempt_all(releases, deadline, &mut round).await;
            }
            Err(error) => round.failures.push(Failure {
                operation: Operation::ListOwnership,
                error,
            }),
        }
        round.failures
    }

    /// How long to wait before the first round: at random up to a tenth of the interval, so that instances that start
    /// together do not meet.
    pub fn first_delay(&mut self) -> Duration {
        self.settings
            .short_delay()
            .mul_f64(self.rng.random_range(0.0..1.0))
    }

    /// How long to wait before the next round: the interval, or a tenth of it after a greedy round that won something,
    /// times a random factor of 0.8 to 1.2; and never beyond the moment at which an own lease runs out.
    pub fn next_delay(&mut self) -> Duration {
        let delay = if self.is_eager {
            self.settings.short_delay()
        } else {
            self.settings.interval()
        };
        let delay = delay.mul_f64(self.rng.random_range(JITTER));
        let next_lapse = self.holdings.next_lapse();
        next_lapse.map_or(delay, |lapse| {
            delay.min(lapse.saturating_duration_since(Instant::now()))
        })
    }

    fn deadline(&self, now: Instant) -> Instant {
        let deadline = now + self.settings.round_limit();
        self.holdings
            .next_lapse()
            .map_or(deadline, |lapse| deadline.min(lapse))
    }

    /// Makes and follows the plan for what was listed.
    async fn act(
        &mut self,
        partitions: &[PartitionId],
        listing: Listing,
        deadline: Instant,
        round: &mut Round,
    ) {
        let Listing {
            list,
            asked,
            answered,
        } = listing;
        let expired = self.observer.judge(&list, asked, answered);
        self.lose_what_is_not_ours(partitions, &list);
        let held = self.holdings.to_set();
        let view = View::new(partitions, &self.owner, &list.records, &held, &expired);
        let plan = plan(&view, self.settings.strategy(), &mut self.rng);
        tracing::debug!(
            owner = %self.owner, mine = view.mine.len(), free = view.free.len(), others = view.others.len(),
            claim = ?plan.claim, steal = ?plan.steal, "planned a round",
        );
        let attempts = self.attempts(plan, &list.records, answered);
        round.rejected = list.rejected;
        let has_won = self.attempt_all(attempts, deadline, round).await;
        self.is_eager = has_won && self.settings.strategy() == Strategy::Greedy;
    }

    fn lose_what_is_not_ours(&mut self, partitions: &[PartitionId], list: &OwnershipList) {
        let partitions: BTreeSet<_> = partitions.iter().collect();
        let is_other = |record: &&Ownership| record.owner.as_ref().is_some_and(|owner| *owner != self.owner);
        let taken: BTreeSet<_> = list
            .records
            .iter()
            .filter(is_other)
            .map(|record| &record.partition)
            .collect();
        for partition in self.holdings.to_set() {
            if !partitions.contains(&partition) {
                self.holdings.lose(&partition, LossReason::Gone);
            } else if taken.contains(&partition) {
                self.holdings.lose(&partition, LossReason::Taken);
            }
        }
    }

    /// The claims that the plan asks for: due renewals, the oldest lease first, and then what is to be won.
    fn attempts(&self, plan: Plan, records: &[Ownership], now: Instant) -> Vec<Attempt> {
        let is_due = |renewed: Instant| now.saturating_duration_since(renewed) >= self.settings.renew_after();
        let mut renew = plan.renew;
        renew.retain(|partition| self.holdings.renewed(partition).is_none_or(is_due));
        renew.sort_by_key(|partition| self.holdings.renewed(partition));

        let versions: BTreeMap<_, _> = records
            .iter()
            .map(|record| (&record.partition, &record.version))
            .collect();
        let attempt = |operation: fn(PartitionId) -> Operation, partition: PartitionId| {
            let version = versions.get(&partition).copied().cloned();
            let expected = version.map_or(Expected::Absent, Expected::Version);
            let claim = Claim::new(partition.clone(), Some(self.owner.clone()), expected);
            Attempt {
                operation: operation(partition),
                claim,
            }
        };
        let renewals = renew
            .into_iter()
            .map(|partition| attempt(Operation::Renew, partition));
        let claims = plan.claim.into_iter().chain(plan.steal);
        renewals
            .chain(claims.map(|partition| attempt(Operation::Claim, partition)))
            .collect()
    }

    fn releases(&self, partitions: &[PartitionId], records: &[Ownership]) -> Vec<Attempt> {
        let partitions: BTreeSet<_> = partitions.iter().collect();
        let is_ours = |record: &&Ownership| {
            record.owner.as_ref() == Some(&self.owner) && partitions.contains(&record.partition)
        };
        let release = |record: &Ownership| Attempt {
            operation: Operation::Release(record.partition.clone()),
            claim: Claim::new(
                record.partition.clone(),
                None,
                Expected::Version(record.version.clone()),
            ),
        };
        records.iter().filter(is_ours).map(release).collect()
    }

    /// Says whether a partition was won that was not held before.
    async fn attempt_all(&mut self, attempts: Vec<Attempt>, deadline: Instant, round: &mut Round) -> bool {
        let Self { calls, holdings, .. } = self;
        let (mut has_won, mut unsent) = (false, 0_usize);
        let mut attempted = pin!(calls.attempt_all(attempts, deadline));
        while let Some(Attempted {
            attempt: Attempt { operation, claim },
            begun,
            outcome,
        }) = attempted.next().await
        {
            match (outcome, &operation) {
                (None, _) => unsent += 1,
                (Some(ClaimOutcome::Failed(error)), _) => round.failures.push(Failure { operation, error }),
                (Some(ClaimOutcome::Won(_)), Operation::Renew(_)) => holdings.win(claim.partition, begun),
                (Some(ClaimOutcome::Won(_)), Operation::Claim(_)) => {
                    holdings.win(claim.partition, begun);
                    has_won = true;
                }
                (Some(ClaimOutcome::Lost), Operation::Renew(_)) => {
                    holdings.lose(&claim.partition, LossReason::Taken)
                }
                _ => {}
            }
        }
        if unsent > 0 {
            let error = Error::new(
                ErrorKind::Timeout,
                format!("no time was left for {unsent} claims"),
            );
            round.failures.push(Failure {
                operation: Operation::Round,
                error,
            });
        }
        has_won
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
