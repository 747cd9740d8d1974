//! The own leases: until when each lasts, and which partitions wait for their previous owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventhubs_checkpoint_store::Claim;
use eventhubs_types::PartitionId;
use tokio::time::Instant;

use crate::fence::Fence;
use crate::{Lease, LossReason, Round};

/// The own leases, and what of their changes the caller has not been told.
///
/// A change is told once and is not forgotten when the round that made it is dropped: that is what makes a
/// round cancel safe.
#[derive(Debug)]
pub(crate) struct Holdings {
    lease: Duration,
    /// Never has a partition that is in `asked`: another owner's record ends the holding.
    held: BTreeMap<PartitionId, Holding>,
    /// What another instance took and waits for, until its reader here has ended. Only what the caller was
    /// told to read gets here.
    asked: BTreeMap<PartitionId, Asked>,
    /// Only of partitions that the caller was told of: it cannot stop a reader that it never started.
    untold_losses: Vec<(PartitionId, LossReason)>,
}

#[derive(Debug)]
struct Asked {
    /// The lease of the reader that is to end; nobody renews it.
    fence: Fence,
    /// What tells the new owner that the reader has ended.
    claim: Claim,
    is_told: bool,
}

#[derive(Debug)]
struct Holding {
    /// When the request was sent that was last known to be won: the store counts from a later time.
    renewed: Instant,
    fence: Fence,
    is_told: bool,
}

impl Holdings {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, held: BTreeMap::new(), asked: BTreeMap::new(), untold_losses: Vec::new() }
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &PartitionId> {
        self.held.keys()
    }

    pub(crate) fn to_set(&self) -> BTreeSet<PartitionId> {
        self.held.keys().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether something was lost that the caller does not know of yet.
    pub(crate) fn has_untold_losses(&self) -> bool {
        !self.untold_losses.is_empty()
    }

    /// When the lease of a partition was last renewed; `None` if it is not held.
    pub(crate) fn renewed(&self, partition: &PartitionId) -> Option<Instant> {
        self.held.get(partition).map(|holding| holding.renewed)
    }

    /// A claim or a renewal that was sent at this time was won.
    pub(crate) fn win(&mut self, partition: PartitionId, sent: Instant) {
        // From the request and not from the answer: the store may have written the record at any time in
        // between.
        let end = sent + self.lease;
        let holding = self.held.entry(partition).or_insert_with(|| Holding {
            renewed: sent,
            fence: Fence::new(end),
            is_told: false,
        });
        debug_assert!(holding.renewed <= sent, "renewals of one partition are sent one after the other");
        holding.renewed = sent;
        holding.fence.move_to(end);
    }

    /// As [`win`](Self::win), from an owner that may take its time until then.
    pub(crate) fn win_asking(&mut self, partition: &PartitionId, sent: Instant, until: Instant) {
        self.win(partition.clone(), sent);
        if let Some(holding) = self.held.get(partition) {
            holding.fence.wait_until(Some(until));
        }
    }

    /// Until when the owner before may take its time, which may be over; `None` once it has handed over.
    pub(crate) fn waits_until(&self, partition: &PartitionId) -> Option<Instant> {
        self.held.get(partition)?.fence.waits_until()
    }

    /// The partitions that an owner before has not handed over.
    pub(crate) fn waiting(&self) -> Vec<PartitionId> {
        let waiting = self.held.iter().filter(|(_, holding)| holding.fence.waits_until().is_some());
        waiting.map(|(partition, _)| partition.clone()).collect()
    }

    /// Whether an owner before may still hand something over.
    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        let mut waits = self.held.values().filter_map(|holding| holding.fence.waits_until());
        waits.any(|until| now < until)
    }

    /// The owner before has handed over, or is not waited for any more.
    pub(crate) fn settle(&mut self, partition: &PartitionId) {
        if let Some(holding) = self.held.get(partition) {
            holding.fence.wait_until(None);
        }
    }

    /// Another instance took the partition, and waits for this claim. Gives it back if nobody reads here.
    pub(crate) fn ask(&mut self, claim: Claim) -> Option<Claim> {
        match self.held.remove(&claim.partition) {
            Some(Holding { fence, is_told: true, .. }) => {
                // The fence moves along: dropping it would end the lease that the last checkpoint is written
                // under.
                self.asked.insert(claim.partition.clone(), Asked { fence, claim, is_told: false });
                None
            }
            // Each listing shows the same question until it is answered.
            _ if self.asked.contains_key(&claim.partition) => None,
            // Not held, or won in a round that was dropped before it told: no reader was started, so nobody
            // has to end.
            _ => Some(claim),
        }
    }

    /// What to tell the one who asked, now that the reader has ended; `None` if nobody asked.
    pub(crate) fn hand_over(&mut self, partition: &PartitionId) -> Option<Claim> {
        self.asked.remove(partition).map(|asked| asked.claim)
    }

    pub(crate) fn lease(&self, partition: &PartitionId) -> Option<Lease> {
        self.held.get(partition).map(|holding| holding.fence.lease())
    }

    pub(crate) fn lose(&mut self, partition: &PartitionId, reason: LossReason) {
        if self.forget(partition) {
            self.untold_losses.push((partition.clone(), reason));
        }
    }

    /// Gives up a partition of which the caller needs not be told. Says whether it knew of it.
    pub(crate) fn forget(&mut self, partition: &PartitionId) -> bool {
        self.held.remove(partition).is_some_and(|holding| holding.is_told)
    }

    /// When the first lease runs out.
    pub(crate) fn next_lapse(&self) -> Option<Instant> {
        self.held.values().map(|holding| holding.fence.end()).min()
    }

    /// Loses all leases that have run out, of what was asked for without a word: its reader ends by itself.
    /// Says whether there was one.
    pub(crate) fn lapse(&mut self, now: Instant) -> bool {
        // Dropped without an answer: the new owner has stopped waiting long before a whole lease is over.
        self.asked.retain(|_, asked| now < asked.fence.end());
        let has_run_out = |holding: &Holding| holding.fence.end() <= now;
        let lapsed = self.held.iter().filter(|(_, holding)| has_run_out(holding));
        let lapsed: Vec<_> = lapsed.map(|(partition, _)| partition.clone()).collect();
        for partition in &lapsed {
            self.lose(partition, LossReason::Expired);
        }
        !lapsed.is_empty()
    }

    /// Writes into the round all changes that were not told yet.
    pub(crate) fn tell(&mut self, round: &mut Round) {
        debug_assert!(
            self.asked.keys().all(|partition| !self.held.contains_key(partition)),
            "asked is not held"
        );
        round.lost.append(&mut self.untold_losses);
        for (partition, holding) in self.held.iter_mut().filter(|(_, holding)| !holding.is_told) {
            holding.is_told = true;
            round.acquired.push(partition.clone());
        }
        for (partition, asked) in self.asked.iter_mut().filter(|(_, asked)| !asked.is_told) {
            asked.is_told = true;
            round.asked.push(partition.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::Expected;

    use super::*;

    const LEASE: Duration = Duration::from_secs(57);

    fn zero() -> PartitionId {
        "0".parse().unwrap()
    }

    fn told(holdings: &mut Holdings) -> (Vec<(PartitionId, LossReason)>, Vec<PartitionId>) {
        let mut round = Round::default();
        holdings.tell(&mut round);
        (round.lost, round.acquired)
    }

    #[test]
    fn a_change_is_told_once() {
        let mut holdings = Holdings::new(LEASE);
        holdings.win(zero(), Instant::now());
        assert_eq!(told(&mut holdings), (vec![], vec![zero()]));
        holdings.win(zero(), Instant::now());
        assert_eq!(told(&mut holdings), (vec![], vec![]));
        holdings.lose(&zero(), LossReason::Taken);
        assert_eq!(told(&mut holdings), (vec![(zero(), LossReason::Taken)], vec![]));
        assert_eq!(told(&mut holdings), (vec![], vec![]));
    }

    #[test]
    fn what_was_won_and_lost_untold_is_not_told() {
        let mut holdings = Holdings::new(LEASE);
        holdings.win(zero(), Instant::now());
        holdings.lose(&zero(), LossReason::Taken);
        assert_eq!(told(&mut holdings), (vec![], vec![]));
    }

    #[test]
    fn what_was_lost_and_won_back_untold_has_to_start_again() {
        let mut holdings = Holdings::new(LEASE);
        holdings.win(zero(), Instant::now());
        told(&mut holdings);
        holdings.lose(&zero(), LossReason::Expired);
        holdings.win(zero(), Instant::now());
        assert_eq!(told(&mut holdings), (vec![(zero(), LossReason::Expired)], vec![zero()]));
    }

    #[test]
    fn a_lease_lapses_when_it_was_not_renewed_for_its_length() {
        let mut holdings = Holdings::new(LEASE);
        let start = Instant::now();
        holdings.win(zero(), start);
        holdings.win(zero(), start + Duration::from_secs(10));
        let end = start + Duration::from_secs(10) + LEASE;
        assert_eq!(holdings.next_lapse(), Some(end));
        assert!(!holdings.lapse(end - Duration::from_millis(1)));
        assert!(holdings.lapse(end));
        assert_eq!(holdings.next_lapse(), None);
    }

    #[test]
    fn what_is_asked_for_is_told_once_and_handed_over_once() {
        let claim = || Claim::new(zero(), "b".parse().ok(), Expected::Absent);
        let mut holdings = Holdings::new(LEASE);
        assert_eq!(holdings.ask(claim()), Some(claim()), "nobody reads here");
        holdings.win(zero(), Instant::now());
        assert_eq!(holdings.ask(claim()), Some(claim()), "nobody knows of it yet");
        holdings.win(zero(), Instant::now());
        told(&mut holdings);
        let lease = holdings.lease(&zero()).unwrap();
        assert_eq!((holdings.ask(claim()), holdings.ask(claim())), (None, None));
        let mut round = Round::default();
        holdings.tell(&mut round);
        holdings.tell(&mut round);
        assert_eq!((round.asked, round.lost), (vec![zero()], vec![]));
        assert!(lease.is_valid(), "a last checkpoint may be written");
        assert_eq!((holdings.hand_over(&zero()), holdings.hand_over(&zero())), (Some(claim()), None));
        assert!(!lease.is_valid());
    }
}
