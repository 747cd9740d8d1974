//! The vectors LB-1 to LB-20 of contract §8.4: where we decide as the other SDKs do, and where not, and why.

use std::collections::BTreeSet;

use eventhubs_load_balancer::{Peer, Plan, Strategy, View, plan};
use eventhubs_types::{OwnerId, PartitionId};

use crate::setup::{owner, partitions, settings};

/// Newly claimed and stolen.
type Takes = (usize, usize);

struct Vector {
    id: u32,
    mine: usize,
    others: &'static [(&'static str, usize)],
    /// Expired, released, or never owned.
    free: usize,
    /// What we do: balanced, greedy.
    ours: [Takes; 2],
    /// From whom we may steal.
    victims: &'static [&'static str],
    /// Balanced and greedy of Python, of JavaScript, of Go and Rust; and one cycle of .NET, which is as
    /// balanced.
    theirs: [Takes; 7],
}

const PEERS: [&str; 7] =
    ["python balanced", "python greedy", "js balanced", "js greedy", "go balanced", "go greedy", ".net"];

/// JavaScript, Go and Rust steal all they miss at once. We take one from each owner a round: two newcomers
/// that come together would otherwise drive an owner below its floor and start a chain of steals.
const ONE_STEAL_A_ROUND: &[&str] = &["js greedy", "go greedy"];

/// Python steals one partition a round, however many owners can spare one.
const ONE_STEAL_OF_EACH: &[&str] = &["python greedy", "js greedy", "go greedy"];

/// Python never steals at the floor, so one owner stays above the ceiling forever. We correct it, as the
/// others do.
const HELPS_AT_THE_FLOOR: &[&str] = &["python balanced", "python greedy"];

/// The vectors at which we do not do as all others, each for the reason it names.
const DIFFERENCES: [(u32, &[&str]); 5] = [
    (2, ONE_STEAL_A_ROUND),
    (8, ONE_STEAL_A_ROUND),
    (9, ONE_STEAL_A_ROUND),
    (12, HELPS_AT_THE_FLOOR),
    (15, ONE_STEAL_OF_EACH),
];

const NONE: Takes = (0, 0);
const CLAIM: Takes = (1, 0);
const STEAL: Takes = (0, 1);

#[rustfmt::skip]
const VECTORS: [Vector; 20] = [
    Vector { id: 1, mine: 0, others: &[], free: 4, ours: [CLAIM, (4, 0)], victims: &[],
        theirs: [CLAIM, (4, 0), CLAIM, (4, 0), CLAIM, (4, 0), CLAIM] },
    Vector { id: 2, mine: 0, others: &[("b", 4)], free: 0, ours: [STEAL, STEAL], victims: &["b"],
        theirs: [STEAL, STEAL, STEAL, (0, 2), STEAL, (0, 2), STEAL] },
    Vector { id: 3, mine: 0, others: &[("b", 2)], free: 2, ours: [CLAIM, (2, 0)], victims: &[],
        theirs: [CLAIM, (2, 0), CLAIM, (2, 0), CLAIM, (2, 0), CLAIM] },
    Vector { id: 4, mine: 2, others: &[("b", 2)], free: 0, ours: [NONE; 2], victims: &[], theirs: [NONE; 7] },
    Vector { id: 5, mine: 2, others: &[("b", 3)], free: 0, ours: [NONE; 2], victims: &[], theirs: [NONE; 7] },
    Vector { id: 6, mine: 2, others: &[("b", 2)], free: 1, ours: [CLAIM; 2], victims: &[], theirs: [CLAIM; 7] },
    Vector { id: 7, mine: 2, others: &[("b", 2)], free: 1, ours: [CLAIM; 2], victims: &[], theirs: [CLAIM; 7] },
    Vector { id: 8, mine: 0, others: &[("b", 5)], free: 0, ours: [STEAL, STEAL], victims: &["b"],
        theirs: [STEAL, STEAL, STEAL, (0, 2), STEAL, (0, 2), STEAL] },
    Vector { id: 9, mine: 1, others: &[("b", 6)], free: 0, ours: [STEAL, STEAL], victims: &["b"],
        theirs: [STEAL, STEAL, STEAL, (0, 2), STEAL, (0, 2), STEAL] },
    // Go and Rust may steal from c as well, which leaves b above the ceiling and costs another steal.
    Vector { id: 10, mine: 1, others: &[("b", 4), ("c", 3)], free: 0, ours: [STEAL; 2], victims: &["b"], theirs: [STEAL; 7] },
    Vector { id: 11, mine: 2, others: &[("b", 3), ("c", 3)], free: 0, ours: [NONE; 2], victims: &[], theirs: [NONE; 7] },
    Vector { id: 12, mine: 2, others: &[("b", 4), ("c", 2)], free: 0, ours: [STEAL; 2], victims: &["b"],
        theirs: [NONE, NONE, STEAL, STEAL, STEAL, STEAL, STEAL] },
    Vector { id: 13, mine: 0, others: &[], free: 8, ours: [CLAIM, (8, 0)], victims: &[],
        theirs: [CLAIM, (8, 0), CLAIM, (8, 0), CLAIM, (8, 0), CLAIM] },
    Vector { id: 14, mine: 0, others: &[("b", 1), ("c", 1), ("d", 1)], free: 0, ours: [NONE; 2], victims: &[], theirs: [NONE; 7] },
    Vector { id: 15, mine: 0, others: &[("a", 8), ("b", 8), ("c", 8), ("d", 8)], free: 0, ours: [STEAL, (0, 4)],
        victims: &["a", "b", "c", "d"], theirs: [STEAL, STEAL, STEAL, (0, 6), STEAL, (0, 6), STEAL] },
    Vector { id: 16, mine: 2, others: &[("b", 4), ("c", 4)], free: 0, ours: [STEAL; 2], victims: &["b", "c"], theirs: [STEAL; 7] },
    Vector { id: 17, mine: 3, others: &[("b", 3), ("c", 3)], free: 1, ours: [CLAIM; 2], victims: &[], theirs: [CLAIM; 7] },
    Vector { id: 18, mine: 5, others: &[("b", 2), ("c", 3)], free: 0, ours: [NONE; 2], victims: &[], theirs: [NONE; 7] },
    Vector { id: 19, mine: 0, others: &[("b", 1)], free: 0, ours: [NONE; 2], victims: &[], theirs: [NONE; 7] },
    Vector { id: 20, mine: 0, others: &[], free: 16, ours: [CLAIM, (16, 0)], victims: &[],
        theirs: [CLAIM, (16, 0), CLAIM, (16, 0), CLAIM, (16, 0), CLAIM] },
];

fn view(vector: &Vector) -> View {
    let total = vector.mine + vector.free + vector.others.iter().map(|(_, load)| load).sum::<usize>();
    let mut rest = partitions(total).into_iter();
    let mut view = View::default();
    view.mine = rest.by_ref().take(vector.mine).collect();
    for (name, load) in vector.others {
        let held = rest.by_ref().take(*load).collect();
        view.others.push(Peer::new(owner(name), held));
    }
    view.free = rest.collect();
    view
}

fn takes(plan: &Plan) -> Takes {
    (plan.claim.len(), plan.steal.len())
}

fn victim(view: &View, partition: &PartitionId) -> OwnerId {
    let mut owners = view.others.iter().filter(|peer| peer.partitions.contains(partition));
    owners.next().expect("a stolen partition had an owner").owner.clone()
}

#[test]
fn each_of_the_twenty_vectors_is_decided_as_written() {
    for vector in &VECTORS {
        let view = view(vector);
        for (strategy, expected) in [Strategy::Balanced, Strategy::Greedy].into_iter().zip(vector.ours) {
            let mut victims = BTreeSet::new();
            for seed in 0..100 {
                let plan = plan(&view, &settings(strategy), seed);
                assert_eq!(takes(&plan), expected, "LB-{} {strategy:?}", vector.id);
                victims.extend(plan.steal.iter().map(|partition| victim(&view, partition)));
            }
            let expected: BTreeSet<_> = vector.victims.iter().map(|name| owner(name)).collect();
            assert_eq!(victims, expected, "LB-{} {strategy:?}", vector.id);
        }
    }
}

#[test]
fn we_differ_from_the_other_sdks_only_where_we_say_why() {
    for vector in &VECTORS {
        let [balanced, greedy] = vector.ours;
        let ours = [balanced, greedy, balanced, greedy, balanced, greedy, balanced];
        let differing =
            (0..PEERS.len()).filter(|peer| ours[*peer] != vector.theirs[*peer]).map(|peer| PEERS[peer]);
        let explained =
            DIFFERENCES.iter().find(|(id, _)| *id == vector.id).map_or(&[][..], |(_, peers)| peers);
        assert_eq!(differing.collect::<Vec<_>>(), explained, "LB-{}", vector.id);
    }
}
