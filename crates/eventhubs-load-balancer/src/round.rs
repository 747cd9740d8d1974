use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use eventhubs_checkpoint_store::{Claim, ClaimOutcome, Error, ErrorKind, Expected, Ownership, OwnershipList};
use eventhubs_types::PartitionId;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::calls::{Attempt, Attempted, Listing};
use crate::tempo::{Findings, Outlook};
use crate::{Balancer, Failure, LossReason, Operation, Plan, Round, View, plan};

/// The record of a partition, of records in the order of their partitions.
fn record_of<'a>(partition: &PartitionId, records: &'a [Ownership]) -> Option<&'a Ownership> {
    let place = records.binary_search_by(|record| record.partition.cmp(partition));
    place.ok().map(|place| &records[place])
}

/// The longest time that the store asked for.
fn retry_after(failures: &[Failure]) -> Duration {
    let asked = failures.iter().filter_map(|failure| failure.error.retry_after());
    asked.max().unwrap_or_default()
}

/// The steps of a round.
impl Balancer {
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let deadline = now + self.settings.round_limit();
        self.holdings.next_lapse().map_or(deadline, |lapse| deadline.min(lapse))
    }

    /// Makes and follows the plan for what was listed.
    pub(crate) async fn act(&mut self, listing: Listing, deadline: Instant, round: &mut Round) {
        let Listing { mut list, asked, answered } = listing;
        list.records.sort_by(|one, other| one.partition.cmp(&other.partition));
        let expired = self.observer.judge(&list, asked, answered);
        self.lose_what_is_not_ours(&list.records);
        if self.twins.has_to_give_way(&list.records, &self.owner, answered) {
            // Nothing is written any more: the records belong to the other one.
            round.is_owner_taken = true;
            return;
        }
        let held = self.holdings.to_set();
        let view = View::new(self.hub.sorted(), &self.owner, &list.records, &held, &expired);
        let plan = plan(&view, &self.settings, &mut self.rng);
        tracing::debug!(
            owner = %self.owner, mine = view.mine.len(), free = view.free.len(), others = view.others.len(),
            claim = ?plan.claim, steal = ?plan.steal, "planned a round",
        );
        let mut findings = Findings {
            owners: view.owners().try_into().unwrap_or(u32::MAX),
            outlook: self.outlook(&plan, &list, &expired),
            ..Findings::default()
        };
        let attempts = self.attempts(plan, &list.records, answered);
        round.rejected = list.rejected;
        self.attempt_all(attempts, deadline, round, &mut findings).await;
        if round.failures.is_empty() {
            self.tempo.found(self.settings.strategy(), findings);
        } else {
            self.tempo.failed(retry_after(&round.failures));
        }
    }

    fn outlook(&self, plan: &Plan, list: &OwnershipList, expired: &BTreeSet<PartitionId>) -> Outlook {
        if plan.could_grow {
            Outlook::Growth
        } else if plan.is_settled() && !self.holdings.has_untold_losses() && self.is_on_time(list, expired) {
            Outlook::Quiet
        } else {
            Outlook::Change
        }
    }

    /// Whether the store has a clock, and by that clock no other owner is late with a renewal. Without a clock, a crash
    /// is seen the later the less often one looks.
    fn is_on_time(&self, list: &OwnershipList, expired: &BTreeSet<PartitionId>) -> bool {
        let Some(now) = list.now else { return false };
        let is_late = |record: &Ownership| {
            let age = record.modified.and_then(|modified| now.duration_since(modified).ok());
            age.is_some_and(|age| age > self.settings.late_after())
                && record.owner.as_ref().is_some_and(|owner| *owner != self.owner)
                && !expired.contains(&record.partition)
                && self.hub.has(&record.partition)
        };
        !list.records.iter().any(is_late)
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
        let mut adoptable = self.settings.max_partitions().saturating_sub(self.holdings.len());
        renew.retain(|partition| match self.holdings.renewed(partition) {
            Some(renewed) => is_due(renewed),
            // What a run before left beyond the maximum is for others, once it expires.
            None => adoptable.checked_sub(1).map(|left| adoptable = left).is_some(),
        });
        renew.sort_by_key(|partition| self.holdings.renewed(partition));

        let attempt = |operation: fn(PartitionId) -> Operation, partition: PartitionId| {
            let version = record_of(&partition, records).map(|record| record.version.clone());
            let expected = version.map_or(Expected::Absent, Expected::Version);
            let claim = Claim::new(partition.clone(), Some(self.owner.clone()), expected);
            Attempt { operation: operation(partition), claim }
        };
        let renewals = renew.into_iter().map(|partition| attempt(Operation::Renew, partition));
        let claims = plan.claim.into_iter().chain(plan.steal);
        renewals.chain(claims.map(|partition| attempt(Operation::Claim, partition))).collect()
    }

    pub(crate) fn releases(&self, partitions: &[PartitionId], records: &[Ownership]) -> Vec<Attempt> {
        let partitions: BTreeSet<_> = partitions.iter().collect();
        let is_ours = |record: &&Ownership| {
            record.owner.as_ref() == Some(&self.owner) && partitions.contains(&record.partition)
        };
        let release = |record: &Ownership| Attempt {
            operation: Operation::Release(record.partition.clone()),
            claim: Claim::new(record.partition.clone(), None, Expected::Version(record.version.clone())),
        };
        records.iter().filter(is_ours).map(release).collect()
    }

    pub(crate) async fn attempt_all(
        &mut self,
        attempts: Vec<Attempt>,
        deadline: Instant,
        round: &mut Round,
        findings: &mut Findings,
    ) {
        let Self { calls, holdings, twins, .. } = self;
        let mut unsent = 0_usize;
        let mut attempted = pin!(calls.attempt_all(attempts, deadline));
        while let Some(Attempted { attempt, begun, outcome }) = attempted.next().await {
            let Attempt { operation, claim } = attempt;
            match &outcome {
                Some(ClaimOutcome::Won(record)) => twins.wrote(record),
                Some(ClaimOutcome::Failed(_)) => twins.may_have_written(&claim.partition),
                _ => {}
            }
            match (outcome, &operation) {
                (None, _) => unsent += 1,
                // It may have been applied: what is held stays so, and the next listing shows the rest.
                (Some(ClaimOutcome::Failed(error)), _) => round.fail(operation, error),
                (Some(ClaimOutcome::Won(_)), Operation::Renew(_)) => holdings.win(claim.partition, begun),
                (Some(ClaimOutcome::Won(_)), Operation::Claim(_)) => {
                    holdings.win(claim.partition, begun);
                    findings.has_won = true;
                }
                // Somebody else wrote the record; to read on until the next listing would make two readers.
                (Some(ClaimOutcome::Lost), Operation::Renew(_)) => {
                    holdings.lose(&claim.partition, LossReason::Taken);
                    findings.has_lost_a_race = true;
                }
                (Some(ClaimOutcome::Lost), Operation::Claim(_)) => findings.has_lost_a_race = true,
                _ => {}
            }
        }
        if unsent > 0 {
            let context = format!("no time was left for {unsent} claims");
            round.fail(Operation::Round, Error::new(ErrorKind::Timeout, context));
        }
    }
}
