//! What each of the other SDKs claims and steals (docs/contract.md §8). Pure.

use std::cmp::Reverse;

use eventhubs_load_balancer::{Peer, View};
use eventhubs_types::PartitionId;
use rand::rngs::StdRng;
use rand::seq::{IteratorRandom as _, SliceRandom as _};

use super::Kind;

/// What is claimed of what is free, and what is stolen.
pub(super) type Takes = (Vec<PartitionId>, Vec<PartitionId>);

/// What an instance with this balancer takes in one cycle, besides what it has (docs/contract.md §8.3).
pub(super) fn plan(kind: Kind, is_greedy: bool, view: &View, rng: &mut StdRng) -> Takes {
    let share = Share::of(view);
    match kind {
        Kind::Python => python(&share, is_greedy, rng),
        Kind::JavaScript => javascript(&share, is_greedy, rng),
        Kind::DotNet => dotnet(&share, rng),
        Kind::Java => java(&share, rng),
        Kind::Go | Kind::Rust => go(&share, is_greedy, kind == Kind::Rust, rng),
        Kind::Ours => unreachable!("ours is no model"),
    }
}

/// What all of the rules look at, in the words of docs/contract.md §8.1.
struct Share<'v> {
    view: &'v View,
    own: usize,
    min: usize,
    max: usize,
    /// How many owners may have one more than the least.
    remainder: usize,
}

impl<'v> Share<'v> {
    fn of(view: &'v View) -> Self {
        let held: usize = view.others.iter().map(load).sum();
        let partitions = view.mine.len() + view.free.len() + held;
        let owners = view.owners();
        Self {
            view,
            own: view.mine.len(),
            min: partitions / owners,
            max: partitions.div_ceil(owners),
            remainder: partitions % owners,
        }
    }

    fn loads(&self) -> impl Iterator<Item = usize> {
        self.view.others.iter().map(load)
    }

    fn claim(&self, count: usize, rng: &mut StdRng) -> Vec<PartitionId> {
        self.view.free.iter().cloned().sample(rng, count)
    }

    /// One random partition of all owners whose load is as asked for.
    fn steal_where(&self, fits: impl Fn(usize) -> bool, rng: &mut StdRng) -> Vec<PartitionId> {
        let fitting = self.view.others.iter().filter(|peer| fits(load(peer)));
        fitting.flat_map(|peer| &peer.partitions).cloned().sample(rng, 1)
    }

    /// One random partition of the first of the owners that have most.
    fn steal_from_most_loaded(&self, rng: &mut StdRng) -> Vec<PartitionId> {
        let most = self.loads().max();
        let owner = self.view.others.iter().find(|peer| Some(load(peer)) == most);
        owner.into_iter().flat_map(|peer| &peer.partitions).cloned().sample(rng, 1)
    }
}

fn load(peer: &Peer) -> usize {
    peer.partitions.len()
}

fn python(share: &Share<'_>, is_greedy: bool, rng: &mut StdRng) -> Takes {
    let missing = share.max.saturating_sub(share.own);
    let claim = share.claim(if is_greedy { missing } else { missing.min(1) }, rng);
    if claim.is_empty() && share.own < share.min {
        return (claim, share.steal_from_most_loaded(rng));
    }
    (claim, Vec::new())
}

fn javascript(share: &Share<'_>, is_greedy: bool, rng: &mut StdRng) -> Takes {
    let above = share.loads().filter(|&load| load > share.min).count();
    let required = share.min + usize::from(above < share.remainder);
    let missing = required.saturating_sub(share.own);
    let wanted = if is_greedy { missing } else { missing.min(1) };
    let claim = share.claim(wanted, rng);
    let mut steal = Vec::new();
    let mut owners: Vec<_> = share.view.others.iter().filter(|peer| load(peer) > share.min).collect();
    owners.sort_by_key(|peer| Reverse(load(peer)));
    for (position, peer) in owners.into_iter().enumerate() {
        let keeps = share.min + usize::from(position < share.remainder);
        steal.extend(peer.partitions.iter().cloned().sample(rng, load(peer).saturating_sub(keeps)));
    }
    steal.truncate(wanted - claim.len());
    (claim, steal)
}

fn dotnet(share: &Share<'_>, rng: &mut StdRng) -> Takes {
    let nobody_below = share.loads().all(|load| load >= share.min);
    if share.own > share.min || (share.own == share.min && !nobody_below) {
        return Takes::default();
    }
    let claim = share.claim(1, rng);
    if !claim.is_empty() {
        return (claim, Vec::new());
    }
    let mut steal = share.steal_where(|load| load > share.min + 1, rng);
    if steal.is_empty() && share.own < share.min {
        steal = share.steal_where(|load| load == share.min + 1, rng);
    }
    (Vec::new(), steal)
}

fn java(share: &Share<'_>, rng: &mut StdRng) -> Takes {
    let loads = || share.loads().chain([share.own]);
    let with_one_more = loads().filter(|&load| load == share.min + 1).count();
    let is_even = loads().all(|load| load == share.min || load == share.min + 1);
    let wants = share.own < share.min || loads().min() == Some(share.own);
    if (is_even && with_one_more == share.remainder) || !wants {
        return Takes::default();
    }
    let claim = share.claim(1, rng);
    if !claim.is_empty() {
        return (claim, Vec::new());
    }
    (Vec::new(), share.steal_from_most_loaded(rng))
}

/// Go takes the first of the candidates, where Rust takes random ones.
fn go(share: &Share<'_>, is_greedy: bool, shuffles: bool, rng: &mut StdRng) -> Takes {
    let max = share.min + usize::from(share.remainder > 0 && share.own >= share.min);
    let missing = max.saturating_sub(share.own);
    let wanted = if is_greedy { missing } else { missing.min(1) };
    let above = share.view.others.iter().filter(|peer| load(peer) > max);
    let mut take = |mut candidates: Vec<PartitionId>, count: usize| {
        if shuffles {
            candidates.shuffle(rng);
        }
        candidates.truncate(count);
        candidates
    };
    let claim = take(share.view.free.clone(), wanted);
    let steal = take(above.flat_map(|peer| &peer.partitions).cloned().collect(), wanted - claim.len());
    (claim, steal)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;
    use crate::store::partition;

    /// Claimed and stolen.
    type Counts = (usize, usize);

    const NONE: Counts = (0, 0);
    const CLAIM: Counts = (1, 0);
    const STEAL: Counts = (0, 1);

    /// The vector's number, what I own, what others own, what is free; and what they do: Python balanced and
    /// greedy, JavaScript balanced and greedy, Go and Rust balanced and greedy, .NET.
    type Vector = (u32, usize, &'static [usize], usize, [Counts; 7]);

    const fn claims(greedy: usize) -> [Counts; 7] {
        let all = (greedy, 0);
        [CLAIM, all, CLAIM, all, CLAIM, all, CLAIM]
    }

    const fn steals(javascript: usize, go: usize) -> [Counts; 7] {
        [STEAL, STEAL, STEAL, (0, javascript), STEAL, (0, go), STEAL]
    }

    /// The table of docs/contract.md §8.4. What is expired or released is free.
    const VECTORS: [Vector; 20] = [
        (1, 0, &[], 4, claims(4)),
        (2, 0, &[4], 0, steals(2, 2)),
        (3, 0, &[2], 2, claims(2)),
        (4, 2, &[2], 0, [NONE; 7]),
        (5, 2, &[3], 0, [NONE; 7]),
        (6, 2, &[2], 1, claims(1)),
        (7, 2, &[2], 1, claims(1)),
        (8, 0, &[5], 0, steals(2, 2)),
        (9, 1, &[6], 0, steals(2, 2)),
        (10, 1, &[4, 3], 0, steals(1, 1)),
        (11, 2, &[3, 3], 0, [NONE; 7]),
        (12, 2, &[4, 2], 0, [NONE, NONE, STEAL, STEAL, STEAL, STEAL, STEAL]),
        (13, 0, &[], 8, claims(8)),
        (14, 0, &[1, 1, 1], 0, [NONE; 7]),
        (15, 0, &[8, 8, 8, 8], 0, steals(6, 6)),
        (16, 2, &[4, 4], 0, steals(1, 1)),
        (17, 3, &[3, 3], 1, claims(1)),
        (18, 5, &[2, 3], 0, [NONE; 7]),
        (19, 0, &[1], 0, [NONE; 7]),
        (20, 0, &[], 16, claims(16)),
    ];

    const COLUMNS: [(Kind, bool); 7] = [
        (Kind::Python, false),
        (Kind::Python, true),
        (Kind::JavaScript, false),
        (Kind::JavaScript, true),
        (Kind::Go, false),
        (Kind::Go, true),
        (Kind::DotNet, true),
    ];

    fn view(mine: usize, others: &[usize], free: usize) -> View {
        let mut ids = (0..).map(partition);
        let mut take = |count| ids.by_ref().take(count).collect::<Vec<_>>();
        let mut view = View::default();
        view.mine = take(mine);
        for (name, load) in ["b", "c", "d", "e"].iter().zip(others) {
            view.others.push(Peer::new(name.parse().unwrap(), take(*load)));
        }
        view.free = take(free);
        view
    }

    fn counts(kind: Kind, is_greedy: bool, view: &View, seed: u64) -> Counts {
        let (claim, steal) = plan(kind, is_greedy, view, &mut StdRng::seed_from_u64(seed));
        (claim.len(), steal.len())
    }

    #[test]
    fn the_models_decide_the_vectors_of_the_contract_as_the_sdks_do() {
        for (id, mine, others, free, expected) in VECTORS {
            let view = view(mine, others, free);
            for ((kind, is_greedy), expected) in COLUMNS.into_iter().zip(expected) {
                for seed in 0..20 {
                    let counts = counts(kind, is_greedy, &view, seed);
                    assert_eq!(counts, expected, "LB-{id} {kind:?} greedy: {is_greedy}");
                }
            }
        }
    }

    #[test]
    fn rust_decides_as_go_does_but_at_random() {
        for (id, mine, others, free, expected) in VECTORS {
            let view = view(mine, others, free);
            assert_eq!(counts(Kind::Rust, true, &view, id.into()), expected[5], "LB-{id}");
        }
        let view = view(0, &[2], 2);
        let chosen = |kind| {
            let plans = (0..50).map(|seed| plan(kind, false, &view, &mut StdRng::seed_from_u64(seed)));
            plans.flat_map(|(claim, _)| claim).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((chosen(Kind::Go), chosen(Kind::Rust)), (1, 2));
    }

    #[test]
    fn java_takes_one_if_least_loaded_in_an_uneven_fleet() {
        let counts = |mine, others, free| counts(Kind::Java, true, &view(mine, others, free), 7);
        assert_eq!(counts(0, &[], 4), CLAIM);
        assert_eq!(counts(0, &[4], 0), STEAL);
        assert_eq!(counts(2, &[2], 1), CLAIM);
        assert_eq!(counts(2, &[3], 0), NONE);
        assert_eq!(counts(2, &[4, 2], 0), STEAL);
        assert_eq!(counts(5, &[2, 3], 0), NONE);
    }
}
