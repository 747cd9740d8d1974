//! What one instance renews, claims and steals in a round, from what it sees. Pure: its randomness is passed
//! in. Its tests are in `tests/it`: `plan_vectors`, `plan_exhaustive` and `plan_random`; those at the end pin
//! the boundaries of the share.

use std::collections::BTreeSet;

use eventhubs_types::{OwnerId, PartitionId};
use rand::rngs::StdRng;
use rand::seq::{IteratorRandom as _, SliceRandom as _};
use rand::{Rng, SeedableRng as _};

use crate::{Peer, Settings, Strategy, View};

/// What one instance does in a round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Plan {
    /// What it holds and keeps.
    pub renew: Vec<PartitionId>,
    /// What it takes of what nobody holds.
    pub claim: Vec<PartitionId>,
    /// What it takes from others.
    pub steal: Vec<PartitionId>,
    /// Whether it would take more, did the strategy not bound its growth.
    pub could_grow: bool,
}

impl Plan {
    /// Takes at most this many of the free partitions.
    pub(crate) fn hold_back(&mut self, most: usize) {
        self.could_grow |= self.claim.len() > most;
        self.claim.truncate(most);
    }

    /// Whether the instance has what it wants.
    pub fn is_settled(&self) -> bool {
        self.claim.is_empty() && self.steal.is_empty()
    }
}

/// Decides what one instance does, from what it sees.
///
/// It keeps what it has, and never gives back: balance is reached by those who have too little. An instance
/// wants the floor of partitions / owners, and one more as long as fewer owners than the remainder have that.
/// What it misses it takes first from what is free, then from others: at most one from each owner, from those
/// above the ceiling first, never below the floor, nothing that is just being handed over, and only from
/// owners with at least two more than itself. So each steal lowers the sum of the squares of all shares, and
/// stealing must come to an end. An adaptive instance may take several from one owner, by the same rule for
/// each of them: what it takes is bounded by what it has.
///
/// No special case is needed when one owner is above the ceiling and all others are at the floor: fewer
/// owners than the remainder are then above the floor, so the rule above already makes each owner at the
/// floor want one more.
///
/// Instances that are [passive](View::passive) have no part in that: what they do not take is shared among
/// the others, and nothing is stolen from them. So what is free does not stay free because of an instance
/// that is limited or cut off.
///
/// What it had last and nobody took meanwhile comes before all else that is free, and an adaptive instance
/// takes all of that at once: after an outage of the store so everybody gets back what it had.
///
/// What else it takes is chosen at random from all that fit, so that instances that see the same meet little.
/// Where the assignment is fixed, there is no share to find: the instance takes all that is free of what the
/// view shows to it.
///
/// The same `seed` makes the same choices.
pub fn plan(view: &View, settings: &Settings, seed: u64) -> Plan {
    draw(view, settings, &mut StdRng::seed_from_u64(seed))
}

/// As [`plan`], with the randomness of a balancer, which every round continues.
pub(crate) fn draw(view: &View, settings: &Settings, rng: &mut impl Rng) -> Plan {
    if settings.assignment().is_fixed() {
        return Plan { renew: view.mine.clone(), claim: view.free.clone(), ..Plan::default() };
    }
    let share = Share::of(view);
    let needed = share.needed.min(settings.max_partitions().saturating_sub(share.own));
    // A fleet that grows by doubling meets at few partitions, while one that takes its whole need at once
    // meets at all of them.
    let (bound, passes) = match settings.strategy() {
        Strategy::Balanced => (1, 1),
        Strategy::Greedy => (needed, 1),
        Strategy::Adaptive => (share.own.max(1).max(view.former.len()), share.own.max(1)),
    };
    let wanted = needed.min(bound);
    let claim = choose_free(view, wanted, rng);
    debug_assert!(claim.len() <= wanted, "no more than wanted is claimed");
    let mut steal = Vec::new();
    // One partition per owner and pass, the largest share first: the losses are spread over the fleet.
    for pass in 0..passes {
        let chosen = share.choose_from_others(view, pass, &steal, wanted - claim.len() - steal.len(), rng);
        if chosen.is_empty() {
            break;
        }
        steal.extend(chosen);
    }
    Plan { renew: view.mine.clone(), claim, steal, could_grow: needed > wanted }
}

fn choose_free(view: &View, wanted: usize, rng: &mut impl Rng) -> Vec<PartitionId> {
    debug_assert!(view.former.is_sorted(), "the search below needs it");
    let mut chosen = view.former.iter().cloned().sample(rng, wanted);
    let others = view.free.iter().filter(|partition| view.former.binary_search(partition).is_err());
    chosen.extend(others.cloned().sample(rng, wanted - chosen.len()));
    chosen
}

/// The other instances among which the partitions are shared out.
fn active(view: &View) -> impl Iterator<Item = &Peer> {
    view.others.iter().filter(|peer| !view.passive.contains(&peer.owner))
}

/// What would be fair, and what this instance misses.
struct Share {
    own: usize,
    floor: usize,
    ceiling: usize,
    needed: usize,
}

impl Share {
    fn of(view: &View) -> Self {
        let own = view.mine.len();
        let loads = || active(view).map(|peer| peer.partitions.len());
        let partitions = own + view.free.len() + loads().sum::<usize>();
        let owners = loads().count() + 1;
        let (floor, remainder) = (partitions / owners, partitions % owners);
        let needed = match floor.checked_sub(own) {
            // At the floor: one more, as long as fewer owners than the remainder have that. It would be one
            // too many otherwise, and somebody else would steal it back.
            Some(0) => usize::from(loads().filter(|&load| load > floor).count() < remainder),
            missing => missing.unwrap_or(0),
        };
        let ceiling = partitions.div_ceil(owners);
        // After an outage the others are not there yet, and the share looks larger than it is: the own former
        // partitions are safe to take.
        let needed = needed.max(view.former.len().min(ceiling.saturating_sub(own)));
        Self { own, floor, ceiling, needed }
    }

    /// At most one partition of each owner that can spare it after what it lost in the passes before; owners
    /// above the ceiling come first.
    fn choose_from_others(
        &self,
        view: &View,
        pass: usize,
        chosen: &[PartitionId],
        wanted: usize,
        rng: &mut impl Rng,
    ) -> Vec<PartitionId> {
        let own = self.own + chosen.len();
        // `pass` partitions of each owner were chosen before: its load is that much smaller. With a
        // difference of one, a steal would only turn the two shares around, forever.
        let can_spare = |load: usize| load > self.floor + pass && load >= own + pass + 2;
        if wanted == 0 || !active(view).any(|peer| can_spare(peer.partitions.len())) {
            return Vec::new();
        }
        let out_of_reach: BTreeSet<_> = chosen.iter().chain(&view.moving).collect();
        let mut pool: Vec<(&OwnerId, usize, &PartitionId)> = Vec::new();
        for Peer { owner, partitions, .. } in active(view) {
            if can_spare(partitions.len()) {
                let left = partitions.iter().filter(|partition| !out_of_reach.contains(partition));
                pool.extend(left.map(|partition| (owner, partitions.len() - pass, partition)));
            }
        }
        pool.shuffle(rng);
        // The sort is stable: within each of the two groups the order stays random.
        pool.sort_by_key(|(_, load, _)| *load <= self.ceiling);
        // Only now: the first of each owner is a random one, and of the owners above the ceiling first.
        let mut chosen_from = BTreeSet::new();
        pool.retain(|(owner, ..)| chosen_from.insert(*owner));
        pool.into_iter().take(wanted).map(|(_, _, partition)| partition.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: std::ops::Range<usize>) -> Vec<PartitionId> {
        numbers.map(|number| format!("{number:03}").parse().unwrap()).collect()
    }

    /// A hub of which this instance has `own` partitions, each of the others as many as its number says, and
    /// nobody the rest.
    fn view(own: usize, others: &[usize], free: usize) -> View {
        let mut view = View { mine: ids(0..own), ..View::default() };
        let mut next = own;
        for (number, load) in others.iter().enumerate() {
            let owner = format!("peer-{number}").parse().unwrap();
            view.others.push(Peer::new(owner, ids(next..next + load)));
            next += load;
        }
        view.free = ids(next..next + free);
        view
    }

    fn greedy(view: &View) -> Plan {
        plan(view, &Settings::default().with_strategy(Strategy::Greedy), 7)
    }

    /// 7 partitions, 3 owners: floor 2, remainder 1. Only one owner may have 3.
    #[test]
    fn an_owner_at_the_floor_takes_one_more_only_while_the_remainder_lasts() {
        assert_eq!(greedy(&view(2, &[2, 2], 1)).claim.len(), 1);
        assert_eq!(greedy(&view(2, &[3, 2], 0)), Plan { renew: ids(0..2), ..Plan::default() });
    }

    /// With a difference of one both shares are fair, and a steal would be answered by the same steal.
    #[test]
    fn nothing_is_stolen_from_an_owner_with_one_more() {
        assert!(greedy(&view(2, &[3], 0)).is_settled());
        assert_eq!(greedy(&view(2, &[4], 0)).steal.len(), 1);
    }

    #[test]
    fn an_adaptive_instance_at_most_doubles_and_says_that_it_wants_more() {
        let adaptive = |view: &View| plan(view, &Settings::default(), 7);
        let first = adaptive(&view(0, &[], 8));
        assert_eq!((first.claim.len(), first.could_grow), (1, true));
        let next = adaptive(&view(4, &[], 4));
        assert_eq!((next.claim.len(), next.could_grow), (4, false));
    }

    #[test]
    fn what_the_instance_had_last_comes_before_all_else_that_is_free() {
        let mut view = view(0, &[4], 4);
        view.former = view.free[2..4].to_vec();
        for seed in 0..20 {
            let mut claim = plan(&view, &Settings::default(), seed).claim;
            claim.sort();
            assert_eq!(claim, view.former, "seed {seed}");
        }
    }

    #[test]
    fn what_is_being_handed_over_is_not_stolen() {
        let mut view = view(0, &[4], 0);
        view.moving = ids(0..3);
        assert_eq!(greedy(&view).steal, ids(3..4));
    }
}
