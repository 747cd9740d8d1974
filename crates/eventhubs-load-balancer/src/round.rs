use std::collections::BTreeSet;
use std::pin::pin;

use eventhubs_checkpoint_store::{Claim, ClaimOutcome, Error, ErrorKind, Expected, Ownership};
use eventhubs_types::PartitionId;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::calls::{Attempt, Attempted, Listing};
use crate::{Balancer, LossReason, Operation, Plan, Round, Strategy, View, plan};

/// The record of a partition, of records in the order of their partitions.
fn record_of<'a>(partition: &PartitionId, records: &'a [Ownership]) -> Option<&'a Ownership> {
    let place = records.binary_search_by(|record| record.partition.cmp(partition));
    place.ok().map(|place| &records[place])
}

/// The steps of a round.
impl Balancer {
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let deadline = now + self.settings.round_limit();
        self.holdings
            .next_lapse()
            .map_or(deadline, |lapse| deadline.min(lapse))
    }

    /// Makes and follows the plan for what was listed.
    pub(crate) async fn act(&mut self, listing: Listing, deadline: Instant, round: &mut Round) {
        let Listing {
            mut list,
            asked,
            answered,
        } = listing;
        list.records
            .sort_by(|one, other| one.partition.cmp(&other.partition));
        let expired = self.observer.judge(&list, asked, answered);
        self.lose_what_is_not_ours(&list.records);
        let held = self.holdings.to_set();
        let view = View::new(self.hub.sorted(), &self.owner, &list.records, &held, &expired);
        let plan = plan(&view, self.settings.strategy(), &mut self.rng);
        tracing::debug!(
            owner = %self.owner, mine = view.mine.len(), free = view.free.len(), others = view.others.len(),
            claim = ?plan.claim, steal = ?plan.steal, "planned a round",
        );
        let attempts = self.attempts(plan, &list.records, answered);
        round.rejected = list.rejected;
        let has_won = self.attempt_all(attempts, deadline, round).await;
        self.is_eager = has_won && round.failures.is_empty() && self.settings.strategy() == Strategy::Greedy;
    }

    /// Another owner's record ends a lease, expired or not: it was read elsewhere in between.
    fn lose_what_is_not_ours(&mut self, records: &[Ownership]) {
        for partition in self.holdings.to_set() {
            let owner = record_of(&partition, records).and_then(|record| record.owner.as_ref());
            if !self.hub.has(&partition) {
                self.holdings.lose(&partition, LossReason::Gone);
            } else if owner.is_some_and(|owner| *owner != self.owner) {
                self.holdings.lose(&partition, LossReason::Taken);
            }
        }
    }

    /// The claims that the plan asks for: due renewals, the oldest lease first, and then what is to be won.
    ///
    /// Should the time of a round not be enough for all, the next one begins with those left over.
    fn attempts(&self, plan: Plan, records: &[Ownership], now: Instant) -> Vec<Attempt> {
        let is_due = |renewed: Instant| now.saturating_duration_since(renewed) >= self.settings.renew_after();
        let mut renew = plan.renew;
        renew.retain(|partition| self.holdings.renewed(partition).is_none_or(is_due));
        renew.sort_by_key(|partition| self.holdings.renewed(partition));

        let attempt = |operation: fn(PartitionId) -> Operation, partition: PartitionId| {
            let version = record_of(&partition, records).map(|record| record.version.clone());
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

    pub(crate) fn releases(&self, partitions: &[PartitionId], records: &[Ownership]) -> Vec<Attempt> {
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
    pub(crate) async fn attempt_all(
        &mut self,
        attempts: Vec<Attempt>,
        deadline: Instant,
        round: &mut Round,
    ) -> bool {
        let Self { calls, holdings, .. } = self;
        let (mut has_won, mut unsent) = (false, 0_usize);
        let mut attempted = pin!(calls.attempt_all(attempts, deadline));
        while let Some(Attempted {
            attempt,
            begun,
            outcome,
        }) = attempted.next().await
        {
            let Attempt { operation, claim } = attempt;
            match (outcome, &operation) {
                (None, _) => unsent += 1,
                // It may have been applied: what is held stays so, and the next listing shows the rest.
                (Some(ClaimOutcome::Failed(error)), _) => round.fail(operation, error),
                (Some(ClaimOutcome::Won(_)), Operation::Renew(_)) => holdings.win(claim.partition, begun),
                (Some(ClaimOutcome::Won(_)), Operation::Claim(_)) => {
                    holdings.win(claim.partition, begun);
                    has_won = true;
                }
                // Somebody else wrote the record; to read on until the next listing would make two readers.
                (Some(ClaimOutcome::Lost), Operation::Renew(_)) => {
                    holdings.lose(&claim.partition, LossReason::Taken);
                }
                _ => {}
            }
        }
        if unsent > 0 {
            let context = format!("no time was left for {unsent} claims");
            round.fail(Operation::Round, Error::new(ErrorKind::Timeout, context));
        }
        has_won
    }
}
