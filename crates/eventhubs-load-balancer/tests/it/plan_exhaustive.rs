//! Every assignment of up to six partitions to up to four owners.

use std::collections::BTreeSet;

use eventhubs_checkpoint_store::{Mark, Ownership, Version};
use eventhubs_load_balancer::{Peer, Plan, Strategy, View, plan};
use eventhubs_types::PartitionId;

use crate::setup::{owner, partition, partitions, settings, view_of};

const OWNERS: usize = 4;
const STRATEGIES: [Strategy; 3] = [Strategy::Balanced, Strategy::Greedy, Strategy::Adaptive];

/// All assignments of up to this many partitions: each is free or held by one of the owners.
fn assignments(most: usize) -> Vec<Vec<Option<usize>>> {
    let holders = || std::iter::once(None).chain((0..OWNERS).map(Some));
    let mut all = Vec::new();
    let mut longest = vec![Vec::new()];
    for _ in 0..most {
        let longer =
            |shorter: &Vec<_>| holders().map(|holder| [&shorter[..], &[holder]].concat()).collect::<Vec<_>>();
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn plan_of(view: &View, strategy: Strategy) -> Plan {
    plan(view, &settings(strategy), 1)
}

fn loads(assignment: &[Option<usize>]) -> Vec<usize> {
    let load = |owner| assignment.iter().filter(|holder| **holder == Some(owner)).count();
    (0..OWNERS).map(load).collect()
}

/// Asserts all that must be true of any plan, whoever makes it.
pub(crate) fn check(view: &View, strategy: Strategy, plan: &Plan) {
    // Those that take nothing keep what they have: all rules are about the others.
    let is_active = |peer: &&Peer| !view.passive.contains(&peer.owner);
    let loads: Vec<usize> = view.others.iter().filter(is_active).map(|peer| peer.partitions.len()).collect();
    let total = view.mine.len() + view.free.len() + loads.iter().sum::<usize>();
    let owners = loads.len() + 1;
    let gain = plan.claim.len() + plan.steal.len();

    assert!(plan.renew.iter().eq(&view.mine), "renews all that is mine");
    assert!(plan.claim.iter().all(|partition| view.free.contains(partition)), "claims what is free");
    let gained: BTreeSet<_> = plan.claim.iter().chain(&plan.steal).collect();
    assert_eq!(gained.len(), gain, "takes nothing twice");
    assert!(gained.is_disjoint(&view.mine.iter().collect()), "never takes what is mine");
    assert!(
        gain == 0 || view.mine.len() + gain <= total.div_ceil(owners),
        "never takes more than the ceiling"
    );
    let missing = (total / owners).saturating_sub(view.mine.len()).min(view.free.len());
    match strategy {
        Strategy::Greedy => assert!(plan.claim.len() >= missing, "greedy claims all it misses and can have"),
        Strategy::Adaptive => assert!(gain <= view.mine.len().max(1), "at most doubles"),
        _ => assert!(gain <= 1, "balanced takes one"),
    }
    assert!(plan.steal.is_empty() || plan.claim.len() == view.free.len(), "free first");

    let others = || view.others.iter().filter(is_active).map(|peer| &peer.partitions);
    let stolen = |held: &Vec<_>| plan.steal.iter().filter(|partition| held.contains(*partition)).count();
    for held in others() {
        assert!(stolen(held) <= 1 || strategy == Strategy::Adaptive, "at most one of each owner");
        assert!(stolen(held) == 0 || held.len() - stolen(held) >= total / owners, "never below the floor");
    }
    assert_eq!(others().map(stolen).sum::<usize>(), plan.steal.len(), "steals from others");

    let square = |n: usize| n * n;
    let squares =
        |after: usize| others().map(|held| square(held.len() - after * stolen(held))).sum::<usize>();
    let before = square(view.mine.len() + plan.claim.len()) + squares(0);
    let after = square(view.mine.len() + gain) + squares(1);
    assert!(plan.steal.is_empty() || after < before, "each steal lowers the sum of the squares");
}

#[test]
fn a_plan_takes_only_what_it_may() {
    let all = assignments(6);
    assert_eq!(all.len(), 5 + 25 + 125 + 625 + 3_125 + 15_625);
    for assignment in all {
        // The owners are alike, so what one of them sees is all that any of them may see.
        let view = view_of(&assignment, 0);
        for strategy in STRATEGIES {
            check(&view, strategy, &plan_of(&view, strategy));
        }
    }
}

/// Every choice of the other owners.
fn passive_sets() -> Vec<Vec<usize>> {
    let sets = (0..1_usize << (OWNERS - 1))
        .map(|set| (1..OWNERS).filter(|owner| set >> (owner - 1) & 1 == 1).collect());
    sets.collect()
}

#[test]
fn with_passive_instances_a_plan_takes_what_it_may_and_leaves_none_free() {
    for assignment in assignments(5) {
        for passive in passive_sets() {
            let mut view = view_of(&assignment, 0);
            view.passive = passive.iter().map(|owner_of| owner(&owner_of.to_string())).collect();
            for strategy in STRATEGIES {
                let plan = plan_of(&view, strategy);
                check(&view, strategy, &plan);
                let is_last = view.others.iter().all(|peer| view.passive.contains(&peer.owner));
                assert!(
                    !is_last || view.free.is_empty() || !plan.claim.is_empty(),
                    "{assignment:?} {passive:?}"
                );
            }
        }
    }
}

/// Of those that are not passive, each takes what its plan says until nobody wants anything: then nothing is
/// free, and their shares are even.
#[test]
fn beside_passive_instances_the_others_come_to_even_shares_and_rest() {
    for assignment in assignments(5) {
        for passive in passive_sets() {
            let mut held = assignment.clone();
            let active: Vec<_> = (0..OWNERS).filter(|owner| !passive.contains(owner)).collect();
            for turn in 0.. {
                assert!(turn < 100, "no end in sight: {held:?} {passive:?}");
                let before = held.clone();
                for me in &active {
                    let mut view = view_of(&held, *me);
                    view.passive = passive.iter().map(|owner_of| owner(&owner_of.to_string())).collect();
                    let plan = plan_of(&view, Strategy::Greedy);
                    for taken in plan.claim.iter().chain(&plan.steal) {
                        held[taken.as_str().parse::<usize>().expect("a number")] = Some(*me);
                    }
                }
                if held == before {
                    break;
                }
            }
            assert!(!held.contains(&None), "{assignment:?} {passive:?}");
            let shares: Vec<_> = active.iter().map(|owner| loads(&held)[*owner]).collect();
            let spread = shares.iter().max().unwrap_or(&0) - shares.iter().min().unwrap_or(&0);
            assert!(spread <= 1, "{assignment:?} {passive:?}: {held:?}");
        }
    }
}

/// What another SDK leaves.
const FOREIGN: &str = "";

/// The marks that an owner may leave: to keep, to offer, to wait for another, to have got it from that.
const MARKS: [&str; 5] = ["1", "1 offer", "1 ask 3", "1 done", FOREIGN];

/// What instance 0 sees of such an assignment, where `marks` in turn says what each owner left.
fn marked_view(assignment: &[Option<usize>], marks: &[&str]) -> View {
    let record = |(id, holder): (usize, &Option<usize>)| {
        let record = |holder: usize| {
            let owner = owner(&holder.to_string());
            Ownership::new(partition(id), Some(owner), Version::new("1"), None)
        };
        holder.map(record).map(|record| record.with_mark(Some(Mark::new(marks[id]))))
    };
    let records: Vec<_> = assignment.iter().enumerate().filter_map(record).collect();
    View::new(&partitions(assignment.len()), &owner("0"), &records, &BTreeSet::new(), &BTreeSet::new())
}

#[test]
fn under_any_marks_a_plan_takes_what_it_may_and_an_offer_is_free() {
    for assignment in assignments(4) {
        let count = u32::try_from(assignment.len()).expect("a few");
        // Four partitions only with the marks of eventhubs instances: a fifth takes four times as long.
        let choices = if count < 4 { &MARKS[..] } else { &MARKS[..4] };
        for number in 0..choices.len().pow(count) {
            let marks: Vec<_> =
                (0..count).map(|id| choices[number / choices.len().pow(id) % choices.len()]).collect();
            let mut view = marked_view(&assignment, &marks);
            view.others.sort_by(|one, other| one.owner.cmp(&other.owner));
            let moving = std::mem::take(&mut view.moving);
            let is_offered =
                |id: usize| assignment[id].is_some_and(|owner| owner != 0) && marks[id] == "1 offer";
            let unmarked = (0..assignment.len()).map(|id| assignment[id].filter(|_| !is_offered(id)));
            let mut expected = view_of(&unmarked.collect::<Vec<_>>(), 0);
            expected.offered = (0..assignment.len()).filter(|id| is_offered(*id)).map(partition).collect();
            for peer in &mut expected.others {
                let mark =
                    |partition: &PartitionId| marks[partition.as_str().parse::<usize>().expect("a number")];
                peer.takes_offers = peer.partitions.iter().all(|partition| mark(partition) != FOREIGN);
            }
            assert_eq!(view, expected, "{assignment:?} {marks:?}");
            view.moving = moving;
            for strategy in STRATEGIES {
                let plan = plan_of(&view, strategy);
                check(&view, strategy, &plan);
                assert!(!plan.steal.iter().any(|partition| view.moving.contains(partition)));
            }
        }
    }
}

/// Properties P7 (fairness) and P11 (calm): stealing ends where, and only where, the shares are fair.
#[test]
fn all_who_own_something_are_settled_exactly_where_the_shares_are_fair() {
    for assignment in assignments(6) {
        let loads = loads(&assignment);
        let active = || (0..OWNERS).filter(|owner| loads[*owner] > 0);
        let (most, least) =
            (active().map(|owner| loads[owner]).max(), active().map(|owner| loads[owner]).min());
        let is_fair = !assignment.contains(&None) && most.unwrap_or(0) - least.unwrap_or(0) <= 1;
        for strategy in STRATEGIES {
            let mut settled =
                active().map(|owner| plan_of(&view_of(&assignment, owner), strategy).is_settled());
            if most.is_some() {
                assert_eq!(settled.all(|is_settled| is_settled), is_fair, "{assignment:?}");
            }
        }
    }
}

#[test]
fn a_newcomer_is_settled_exactly_where_nobody_has_two() {
    for assignment in assignments(6) {
        let loads = loads(&assignment);
        let is_full = !assignment.contains(&None) && loads.iter().all(|load| *load <= 1);
        for newcomer in (0..OWNERS).filter(|owner| loads[*owner] == 0) {
            let view = view_of(&assignment, newcomer);
            for strategy in STRATEGIES {
                assert_eq!(plan_of(&view, strategy).is_settled(), is_full, "{assignment:?}");
            }
        }
    }
}
