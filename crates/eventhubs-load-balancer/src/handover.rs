//! Handing partitions over to another eventhubs instance, and offering them before leaving: the second part
//! of `impl Balancer`.

use std::collections::BTreeSet;
use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, Claim, Expected, Ownership};
use eventhubs_types::{OwnerId, PartitionId};
use rand::RngExt as _;
use tokio::time::Instant;

use crate::calls::Attempt;
use crate::note::Note;
use crate::sorted::record_of;
use crate::tempo::Findings;
use crate::{Balancer, Failure, Operation, Round};

/// What an instance does about its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Stays,
    /// It takes nothing, and offers what it has.
    Leaves,
    /// It takes nothing and offers nothing.
    WindsDown,
}

/// How partitions change hands among eventhubs instances, so that no event is read twice.
///
/// Who takes a partition from an owner that hands over writes itself as the owner at once, as in any steal,
/// and that it waits for the one before. That one ends what it is at and says so in the same record, which it
/// may write only as long as it is as the new owner left it. So no record of another SDK is ever written but
/// to steal it.
impl Balancer {
    /// What to write into a record that is to be taken.
    ///
    /// An owner that is late with a renewal may be dead: nobody waits for it.
    pub(crate) fn note_to_take(&self, record: Option<&Ownership>) -> Note {
        let asks = record.and_then(|record| {
            let owner = record.owner.as_ref().filter(|owner| **owner != self.owner)?;
            let age = self.observer.age(record)?;
            Note::of(record).filter(|_| age < self.settings.late_after())?;
            Some(Note::Asks(owner.clone()))
        });
        asks.unwrap_or(Note::Kept)
    }

    /// What to write into the own records.
    pub(crate) fn note_to_keep(&self) -> Note {
        if self.is_offering() { Note::Offered } else { Note::Kept }
    }

    /// Takes note of what was handed over, and of what is asked for. Gives the answers that need not wait:
    /// nobody reads those partitions here.
    pub(crate) fn hear(&mut self, records: &[Ownership], expired: &BTreeSet<PartitionId>) -> Vec<Attempt> {
        let is_own = |record: &Ownership| record.owner.as_ref() == Some(&self.owner);
        // First what others have done for this instance, and then what they ask of it: a partition may be
        // both, if it was taken on before it had arrived.
        for partition in self.holdings.waiting() {
            let own = record_of(&partition, records).filter(|record| is_own(record));
            if own.is_some_and(|record| !matches!(Note::of(record), Some(Note::Asks(_)))) {
                self.holdings.settle(&partition);
            }
        }
        let asks_us = |record: &&Ownership| {
            let asks = Note::of(record).is_some_and(|note| note.asks(&self.owner));
            // One who is late with its renewal may be dead, and its question too: the partition is free.
            asks && !is_own(record) && !expired.contains(&record.partition)
        };
        let asking = records.iter().filter(asks_us);
        for record in asking.clone() {
            self.takers.extend(record.owner.clone().map(|owner| (record.partition.clone(), owner)));
        }
        let answers = asking.filter_map(|record| self.holdings.ask(answer(record)));
        answers.map(handing_over).collect()
    }

    /// Returns whether another live eventhubs instance could take what this one offers.
    pub(crate) fn look_for_takers(&mut self, records: &[Ownership], expired: &BTreeSet<PartitionId>) {
        let is_taker = |record: &Ownership| {
            record.owner.as_ref().is_some_and(|owner| *owner != self.owner)
                && Note::of(record).is_some_and(|note| note != Note::Offered)
                && !expired.contains(&record.partition)
        };
        // One that offers its own takes nothing. A record without a note is one of another SDK, which takes
        // but does not ask.
        self.has_takers = !self.settings.assignment().is_fixed() && records.iter().any(is_taker);
    }

    /// From now on takes nothing, and offers what it has: each [`round`](Self::round) renews and tells what
    /// was taken. Gives the time to wait before the first of them: at random up to 10 ms per owner and at most a
    /// quarter of the interval, so that many that stop together do not meet; none where the last round saw
    /// nobody who would take an offer.
    ///
    /// Continue reading, and hand over what is [asked](Round::asked) for, as long as
    /// [`is_offering`](Self::is_offering); then [`wind_down`](Self::wind_down).
    pub fn leave(&mut self) -> Duration {
        self.stage = Stage::Leaves;
        if !self.has_takers {
            return Duration::ZERO;
        }
        // By the size of the fleet and not by what was heard of it: in a calm fleet no hint comes for hours,
        // although the others would follow one at once.
        let spread = self.spread().min(self.settings.leaving_pause());
        spread.mul_f64(self.rng.random_range(0.0..1.0))
    }

    /// From now on takes nothing and offers nothing: each [`round`](Self::round) only renews, for readers
    /// that still end.
    ///
    /// End the readers, continue the rounds meanwhile, and [`release`](Self::release) what they read.
    pub fn wind_down(&mut self) {
        self.stage = Stage::WindsDown;
    }

    /// Whether it leaves, and somebody was there at the last round who may take what it offers: another live
    /// eventhubs instance that does not leave. Instances with a fixed assignment take nothing from each
    /// other.
    pub fn is_offering(&self) -> bool {
        self.stage == Stage::Leaves && self.has_takers
    }

    /// Tells those that took partitions that the readers here have ended; what nobody [asked](Round::asked)
    /// for is passed over. Takes a quarter of the expiry at most.
    ///
    /// # Cancel safety
    /// If it is dropped, some new owners may not be told: they begin when they have waited long enough.
    pub async fn hand_over(&mut self, partitions: &[PartitionId]) -> Vec<Failure> {
        let answers = partitions.iter().filter_map(|partition| self.holdings.hand_over(partition));
        let attempts: Vec<_> = answers.map(handing_over).collect();
        let mut round = Round::default();
        if !attempts.is_empty() {
            let deadline = Instant::now() + self.settings.round_limit();
            self.attempt_all(attempts, deadline, &mut round, &mut Findings::default()).await;
        }
        round.failures
    }
}

/// The record as it was found, but for the note. It is written in the name of the new owner, and only while
/// it is unchanged: an answer that comes late must not undo a renewal or a release.
fn answer(record: &Ownership) -> Claim {
    let owner: Option<OwnerId> = record.owner.clone();
    let audience = owner.clone().map_or(Audience::Everyone, Audience::Owner);
    Claim::new(record.partition.clone(), owner, Expected::Version(record.version.clone()))
        .with_mark(Some(Note::HandedOver.to_mark()))
        .announcing(audience)
}

fn handing_over(claim: Claim) -> Attempt {
    Attempt { operation: Operation::HandOver(claim.partition.clone()), claim }
}
