//! One round against the store: list, judge, plan, and claim. The first part of `impl Balancer` is in
//! `balancer.rs`. What a round tells is tested in `tests/it`: `rounds`, `faults`, `handover`, `adaptive`; the
//! pure parts at the end.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use eventhubs_checkpoint_store::{Claim, ClaimOutcome, Error, ErrorKind, Expected, Ownership, OwnershipList};
use eventhubs_types::{OwnerId, PartitionId};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::calls::{Attempt, Attempted, Listing};
use crate::handover::Stage;
use crate::note::Note;
use crate::plan::draw;
use crate::sorted::record_of;
use crate::tempo::{Findings, Outlook, calm_pauses};
use crate::{Balancer, Failure, LossReason, Operation, Origin, Plan, Round, Strategy, View};

/// The longest time that the store asked for.
fn retry_after(failures: &[Failure]) -> Duration {
    let asked = failures.iter().filter_map(|failure| failure.error.retry_after());
    asked.max().unwrap_or_default()
}

fn outcome_name(outcome: Option<&ClaimOutcome>) -> &'static str {
    match outcome {
        Some(ClaimOutcome::Won(_)) => "won",
        Some(ClaimOutcome::Lost) => "lost",
        _ => "failed",
    }
}

fn owners_of(view: &View) -> u32 {
    view.owners().try_into().unwrap_or(u32::MAX)
}

fn origin_of(partition: &PartitionId, records: &[Ownership], expired: &BTreeSet<PartitionId>) -> Origin {
    let Some(record) = record_of(partition, records) else { return Origin::Unowned };
    match (record.owner.clone(), Note::of(record)) {
        (None, Some(Note::ReleasedBy(owner))) => Origin::Released(owner),
        (None, _) => Origin::Unowned,
        (Some(owner), _) if expired.contains(partition) => Origin::Expired(owner),
        (Some(owner), Some(Note::Offered)) => Origin::Offered(owner),
        (Some(owner), _) => Origin::Stolen(owner),
    }
}

/// What a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To renew, and to take what is missing.
    Balance,
    /// To see what changed hands.
    Look,
}

/// The steps of a round.
impl Balancer {
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let deadline = now + self.settings.round_limit();
        self.holdings.next_lapse().map_or(deadline, |lapse| deadline.min(lapse))
    }

    /// Takes note of what was listed, and makes and follows the plan for it.
    pub(crate) async fn act(
        &mut self,
        listing: Listing,
        purpose: Purpose,
        deadline: Instant,
        round: &mut Round,
    ) {
        let Listing { list, asked, answered } = listing;
        // The order of these steps is the protocol. The observer comes first, also in a round that writes
        // nothing: an age that is not noted now would count from a later listing.
        let mut expired = self.observer.judge_sorted(&list.records, list.now, asked, answered);
        if self.comeback.is_under_way(answered) {
            // The own records stay: an instance takes back at once what it had itself.
            expired.retain(|partition| {
                record_of(partition, &list.records)
                    .is_some_and(|record| record.owner.as_ref() == Some(&self.owner))
            });
        }
        // Before anything is lost: `hear` moves what another instance waits for out of `held`. The next line
        // would tell it as taken, and its callback would be cut off instead of ended in peace.
        let answers = self.hear(&list.records, &expired);
        self.lose_what_is_not_ours(&list.records);
        // Before the first write, and before `hear`'s answers are sent: a record of a twin must not be
        // touched.
        if self.twins.has_to_give_way(&list.records, &self.owner, answered) {
            // Nothing is written any more: the records belong to the other one.
            round.is_owner_taken = true;
            return;
        }
        round.held_elsewhere = self.held_elsewhere(&list.records, &expired);
        // Before the claims are made: `note_to_keep` reads whether there are takers.
        self.look_for_takers(&list.records, &expired);
        let (plan, mut findings) = match purpose {
            Purpose::Balance => self.decide(&list, &expired, answered),
            Purpose::Look => Default::default(),
        };
        for partition in plan.claim.iter().chain(&plan.steal) {
            let origin = origin_of(partition, &list.records, &expired);
            self.origins.insert(partition.clone(), origin);
        }
        // Answers first: another instance reads nothing of these partitions until it has them, while a
        // renewal has time.
        let mut attempts = answers;
        attempts.extend(self.attempts(plan, &list, answered));
        round.rejected = list.rejected;
        let doubtful = self.attempt_all(attempts, deadline, round, &mut findings).await;
        if !doubtful.is_empty() {
            // Another round at once would meet the same rivals; the tempo spreads them.
            findings.has_lost_a_race = true;
            self.look_again(&doubtful, deadline, round).await;
        }
        if !round.failures.is_empty() {
            self.tempo.failed(retry_after(&round.failures));
        } else if purpose == Purpose::Balance {
            self.tempo.found(self.settings.strategy(), findings);
        }
    }

    /// Somebody else wrote these records: one that waits for this instance, or one that does not. If that
    /// cannot be told, they are lost, for to read on would make two readers.
    async fn look_again(&mut self, doubtful: &[PartitionId], deadline: Instant, round: &mut Round) {
        match self.calls.list(deadline).await {
            Ok(Listing { list, asked, answered }) => {
                let expired = self.observer.judge_sorted(&list.records, list.now, asked, answered);
                let answers = self.hear(&list.records, &expired);
                self.lose_what_is_not_ours(&list.records);
                self.attempt_all(answers, deadline, round, &mut Findings::default()).await;
            }
            Err(error) => {
                // The lease would still run by the own clock, but somebody wrote the record: whoever it was
                // may be reading.
                for partition in doubtful {
                    self.holdings.lose(partition, LossReason::Taken);
                }
                round.fail(Operation::ListOwnership, error);
            }
        }
    }

    fn decide(
        &mut self,
        list: &OwnershipList,
        expired: &BTreeSet<PartitionId>,
        now: Instant,
    ) -> (Plan, Findings) {
        let held = self.holdings.to_set();
        if self.stage != Stage::Stays {
            // What is held, and not `view.mine`: an own record that is not held is not adopted by an instance
            // that leaves.
            let renew = held.into_iter().collect();
            return (Plan { renew, ..Plan::default() }, Findings::default());
        }
        let mut view = View::sorted(self.hub.sorted(), &self.owner, &list.records, &held, expired);
        // As long as an instance that is calm may take until it looks, and an interval to act. In whole
        // intervals, as if the fleet were the largest: the others may be set otherwise.
        let patience = self.settings.interval() * (1 + calm_pauses(owners_of(&view), 1));
        view.passive = self.passive.judge(&view, now, patience);
        let mut plan = draw(&view, &self.settings, &mut self.rng);
        let is_bounded =
            self.settings.strategy() == Strategy::Adaptive && !self.settings.assignment().is_fixed();
        // One more owner than last time is the beginning of a start-up: what is taken beyond the growing
        // share would be stolen back.
        if is_bounded && self.tempo.sees_growth(view.owners()) {
            plan.hold_back(view.former.len().max(1));
        }
        tracing::debug!(
            owner = %self.owner, mine = view.mine.len(), free = view.free.len(), others = view.others.len(),
            claim = ?plan.claim, steal = ?plan.steal, "planned a round",
        );
        let findings = Findings {
            owners: owners_of(&view),
            outlook: self.outlook(&plan, &view, list, expired),
            ..Findings::default()
        };
        (plan, findings)
    }

    fn outlook(
        &self,
        plan: &Plan,
        view: &View,
        list: &OwnershipList,
        expired: &BTreeSet<PartitionId>,
    ) -> Outlook {
        // What is free and not this one's to take may become so: nobody is calm next to a partition that is
        // not read.
        let has_nothing_to_do = plan.is_settled() && view.free.is_empty();
        if plan.could_grow {
            Outlook::Growth
        } else if view.free.len() > plan.claim.len() {
            Outlook::Free
        } else if has_nothing_to_do && !self.holdings.has_untold_losses() && self.is_on_time(list, expired) {
            Outlook::Quiet
        } else {
            Outlook::Change
        }
    }

    /// Whether the store has a clock, and by that clock no other owner is late with a renewal. Without a
    /// clock, a crash is seen the later the less often one looks.
    fn is_on_time(&self, list: &OwnershipList, expired: &BTreeSet<PartitionId>) -> bool {
        let Some(on_time) = list.now.and_then(|now| now.checked_sub(self.settings.late_after())) else {
            return false;
        };
        let is_late = |record: &Ownership| {
            record.modified.is_some_and(|modified| modified < on_time)
                && record.owner.as_ref().is_some_and(|owner| *owner != self.owner)
                && !expired.contains(&record.partition)
                && self.hub.has(&record.partition)
        };
        !list.records.iter().any(is_late)
    }

    fn held_elsewhere(
        &self,
        records: &[Ownership],
        expired: &BTreeSet<PartitionId>,
    ) -> Option<(PartitionId, OwnerId)> {
        records.iter().find_map(|record| {
            let owner = record.owner.as_ref().filter(|owner| **owner != self.owner)?;
            let is_live = !expired.contains(&record.partition) && Note::of(record) != Some(Note::Offered);
            (is_live && self.hub.has(&record.partition)).then(|| (record.partition.clone(), owner.clone()))
        })
    }

    /// Another owner's record ends a lease, expired or not: it was read elsewhere in between.
    fn lose_what_is_not_ours(&mut self, records: &[Ownership]) {
        for partition in self.holdings.to_set() {
            let owner = record_of(&partition, records).and_then(|record| record.owner.as_ref());
            if !self.hub.has(&partition) {
                self.holdings.lose(&partition, LossReason::Gone);
            } else if let Some(owner) = owner.filter(|owner| **owner != self.owner) {
                self.takers.insert(partition.clone(), owner.clone());
                self.holdings.lose(&partition, LossReason::Taken);
            }
        }
    }

    /// The claims that the plan asks for: due renewals, the oldest lease first, and then what is to be won.
    ///
    /// Should the time of a round not be enough for all, the next one begins with those left over.
    fn attempts(&self, plan: Plan, list: &OwnershipList, now: Instant) -> Vec<Attempt> {
        let records = &list.records;
        let mut renew = plan.renew;
        let mut adoptable = self.settings.max_partitions().saturating_sub(self.holdings.len());
        renew.retain(|partition| {
            if let Some(renewed) = self.holdings.renewed(partition) {
                return self.is_due(partition, renewed, records, now);
            }
            // What a run before left beyond the maximum is for others, once it expires.
            let may_adopt = adoptable > 0;
            adoptable = adoptable.saturating_sub(1);
            may_adopt
        });
        // `None`, what is not held yet, sorts first: it is adopted before it expires.
        renew.sort_by_key(|partition| self.holdings.renewed(partition));

        let attempt = |operation: fn(PartitionId) -> Operation, partition: PartitionId| {
            let record = record_of(&partition, records);
            let expected =
                record.map_or(Expected::Absent, |record| Expected::Version(record.version.clone()));
            let claim = Claim::new(partition.clone(), Some(self.owner.clone()), expected);
            let operation = operation(partition);
            let note = match &operation {
                Operation::Claim(_) => self.note_to_take(record),
                _ => self.note_to_keep(),
            };
            let claim = claim.with_mark(Some(note.to_mark())).announcing(note.audience());
            Attempt { operation, claim }
        };
        // Renewals before claims: what is held is worth more than what may be won, should the round run out
        // of time.
        let renewals = renew.into_iter().map(|partition| attempt(Operation::Renew, partition));
        let claims = plan.claim.into_iter().chain(plan.steal);
        renewals.chain(claims.map(|partition| attempt(Operation::Claim, partition))).collect()
    }

    /// Whether an own record is to be written again: it gets old, a stranger wrote it, or it does not say yet
    /// that the partition is offered. While an owner before may still write it, it is left alone, and
    /// afterwards written so that this one may not any more.
    fn is_due(&self, partition: &PartitionId, renewed: Instant, records: &[Ownership], now: Instant) -> bool {
        if let Some(until) = self.holdings.waits_until(partition) {
            // A renewal now would change the version that the owner before expects, and so refuse its answer.
            return until <= now;
        }
        let is_offered = || record_of(partition, records).and_then(Note::of) == Some(Note::Offered);
        now.saturating_duration_since(renewed) >= self.settings.renew_after()
            || self.twins.is_strange(partition)
            || self.is_offering() && !is_offered()
    }

    pub(crate) fn releases(&self, partitions: &[PartitionId], records: &[Ownership]) -> Vec<Attempt> {
        let partitions: BTreeSet<_> = partitions.iter().collect();
        let is_ours = |record: &&Ownership| {
            record.owner.as_ref() == Some(&self.owner) && partitions.contains(&record.partition)
        };
        // Whoever takes it can say from whom.
        let note = Note::ReleasedBy(self.owner.clone());
        let release = |record: &Ownership| Attempt {
            operation: Operation::Release(record.partition.clone()),
            claim: Claim::new(record.partition.clone(), None, Expected::Version(record.version.clone()))
                .with_mark(Some(note.to_mark()))
                .announcing(note.audience()),
        };
        records.iter().filter(is_ours).map(release).collect()
    }

    /// Gives those whose renewal was lost.
    pub(crate) async fn attempt_all(
        &mut self,
        attempts: Vec<Attempt>,
        deadline: Instant,
        round: &mut Round,
        findings: &mut Findings,
    ) -> Vec<PartitionId> {
        let limit = self.settings.handover_limit();
        let Self { calls, holdings, twins, origins, claims, .. } = self;
        let (mut unsent, mut doubtful) = (0_usize, Vec::new());
        let mut attempted = pin!(calls.attempt_all(attempts, deadline));
        while let Some(Attempted { attempt, begun, outcome }) = attempted.next().await {
            let Attempt { operation, claim } = attempt;
            let is_steal = matches!(origins.get(&claim.partition), Some(Origin::Stolen(_)));
            *claims.entry((operation.name(is_steal), outcome_name(outcome.as_ref()))).or_default() += 1;
            match &outcome {
                Some(ClaimOutcome::Won(record)) => twins.wrote(record),
                // Without this, an own write whose answer was lost would look like one of a twin.
                Some(ClaimOutcome::Failed(_)) => twins.may_have_written(&claim.partition),
                _ => {}
            }
            match (outcome, &operation) {
                (None, _) => unsent += 1,
                // It may have been applied: what is held stays so, and the next listing shows the rest.
                (Some(ClaimOutcome::Failed(error)), _) => round.fail(operation, error),
                (Some(ClaimOutcome::Won(_)), Operation::Renew(_)) => {
                    // It replaced the version that the owner before expects, so that one can write no more:
                    // nobody is waited for.
                    holdings.settle(&claim.partition);
                    holdings.win(claim.partition, begun);
                }
                (Some(ClaimOutcome::Won(record)), Operation::Claim(_)) => {
                    match Note::of(&record) {
                        Some(Note::Asks(_)) => holdings.win_asking(&claim.partition, begun, begun + limit),
                        _ => holdings.win(claim.partition, begun),
                    }
                    findings.has_won = true;
                }
                // Not lost yet: it may be an instance that waits for this one, which only another listing
                // shows.
                (Some(ClaimOutcome::Lost), Operation::Renew(_)) => doubtful.push(claim.partition),
                (Some(ClaimOutcome::Lost), Operation::Claim(_)) => findings.has_lost_a_race = true,
                // A release or an answer that lost: another owner has the record, which is what both were to
                // bring about.
                _ => {}
            }
        }
        if unsent > 0 {
            let context = format!("no time was left for {unsent} claims");
            round.fail(Operation::Round, Error::new(ErrorKind::Timeout, context));
        }
        doubtful
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use eventhubs_checkpoint_store::Version;

    use super::*;

    fn record(owner: Option<&str>, note: Option<Note>) -> [Ownership; 1] {
        let owner = owner.map(|id| id.parse().unwrap());
        let record =
            Ownership::new("0".parse().unwrap(), owner, Version::new("1"), Some(SystemTime::UNIX_EPOCH));
        [record.with_mark(note.map(|note| note.to_mark()))]
    }

    /// An offer counts only while its lease runs: after that nobody waits for the owner, which may be dead.
    #[test]
    fn an_expired_record_is_expired_even_if_it_was_offered() {
        let (partition, b) = ("0".parse().unwrap(), "b".parse().unwrap());
        let expired = BTreeSet::from(["0".parse().unwrap()]);
        let offered = record(Some("b"), Some(Note::Offered));
        assert_eq!(origin_of(&partition, &offered, &expired), Origin::Expired(b));
    }

    #[test]
    fn where_a_partition_comes_from_is_read_from_its_record() {
        let (partition, none) = ("0".parse().unwrap(), BTreeSet::new());
        let origin = |records: &[Ownership]| origin_of(&partition, records, &none);
        let b = || "b".parse().unwrap();
        assert_eq!(origin(&[]), Origin::Unowned);
        assert_eq!(origin(&record(None, None)), Origin::Unowned);
        assert_eq!(origin(&record(Some("b"), None)), Origin::Stolen(b()));
        assert_eq!(origin(&record(Some("b"), Some(Note::Kept))), Origin::Stolen(b()));
        assert_eq!(origin(&record(Some("b"), Some(Note::Offered))), Origin::Offered(b()));
    }

    /// Of several answers the longest wait counts: to come back sooner would disobey one of them.
    #[test]
    fn the_store_is_left_alone_for_the_longest_time_that_it_asked_for() {
        let failure = |seconds| Failure {
            operation: Operation::ListOwnership,
            error: Error::new(ErrorKind::Throttled, "").with_retry_after(Duration::from_secs(seconds)),
        };
        assert_eq!(retry_after(&[failure(3), failure(7), failure(5)]), Duration::from_secs(7));
        assert_eq!(retry_after(&[]), Duration::ZERO);
    }
}
