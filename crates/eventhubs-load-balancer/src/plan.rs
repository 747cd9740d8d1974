//! What one instance renews, claims and steals in a round, from what it sees. Pure: its randomness is passed in. Its tests are in
//! `tests/it`: `plan_vectors`, `plan_exhaustive` and `plan_random`.

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
    /// Takes at most so many of the free partitions.
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
/// It keeps what it has, and never gives back: balance is reached by those who have too little. An instance wants the
/// floor of partitions / owners, and one more as long as fewer owners than the remainder have that. What it misses it
/// takes first from what is free, then from others: at most one from each owner, from those above the ceiling first,
/// never below the floor, nothing that is just being handed over, and only from owners with at least two more than itself. Each steal so lowers the sum of the
/// squares of all shares, and stealing must come to an end. An adaptive instance may take several from one owner, by the
/// same rule for each of them: what it takes is bounded by what it has.
///
/// The share needs no rule of its own for an owner above the ceiling while all others are at the floor: then fewer owners than the remainder are above the floor, and those at it want one more.
///
/// Instances that are [passive](View::passive) have no part in that: what they do not take is shared among the others, and
/// nothing is stolen from them. So what is free does not stay free because of an instance that is limited or cut off.
///
/// What it had last and nobody took meanwhile comes before all else that is free, and an adaptive instance takes all of
/// that at once: after an outage of the store so everybody gets back what it had.
///
/// What else it takes is chosen at random from all that fit, so that instances that see the same meet little. Where the
/// assignment is fixed, there is no share to find: the instance takes all that is free of what the view shows to it.
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
    let (bound, passes) = match settings.strategy() {
        Strategy::Balanced => (1, 1),
        Strategy::Greedy => (needed, 1),
        Strategy::Adaptive => (share.own.max(1).max(view.former.len()), share.own.max(1)),
    };
    let wanted = needed.min(bound);
    let claim = choose_free(view, wanted, rng);
    let mut steal = Vec::new();
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
            Some(0) => usize::from(loads().filter(|&load| load > floor).count() < remainder),
            missing => missing.unwrap_or(0),
        };
        let ceiling = partitions.div_ceil(owners);
        let needed = needed.max(view.former.len().min(ceiling.saturating_sub(own)));
        Self { own, floor, ceiling, needed }
    }

    /// At most one partition of each owner that can spare it after what it lost in the passes before; owners above the
    /// ceiling come first.
    fn choose_from_others(
        &self,
        view: &View,
        pass: usize,
        chosen: &[PartitionId],
        wanted: usize,
        rng: &mut impl Rng,
    ) -> Vec<PartitionId> {
        let own = self.own + chosen.len();
        let can_spare = |load: usize| load > self.floor + pass && load >= own + pass + 2;
        if wanted == 0 || !active(view).any(|peer| can_spare(peer.partitions.len())) {
            return Vec::new();
        }
        let out_of_reach: BTreeSet<_> = chosen.iter().chain(&view.moving).collect();
        let mut pool: Vec<(&OwnerId, usize, &PartitionId)> = Vec::new();
        for Peer { owner, partitions } in active(view) {
            if can_spare(partitions.len()) {
                let left = partitions.iter().filter(|partition| !out_of_reach.contains(partition));
                pool.extend(left.map(|partition| (owner, partitions.len() - pass, partition)));
            }
        }
        pool.shuffle(rng);
        // The sort is stable: within each of the two groups the order stays random.
        pool.sort_by_key(|(_, load, _)| *load <= self.ceiling);
        let mut robbed = BTreeSet::new();
        pool.retain(|(owner, ..)| robbed.insert(*owner));
        pool.into_iter().take(wanted).map(|(_, _, partition)| partition.clone()).collect()
    }
}
