//! Larger fleets, drawn at random; and the fairness of the random choice itself.

use std::collections::{BTreeMap, BTreeSet};

use eventhubs_checkpoint_store::{Ownership, Version};
use eventhubs_load_balancer::{Strategy, View, plan};
use eventhubs_types::PartitionId;
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::plan_exhaustive::check;
use crate::setup::{owner, partition, partitions, settings, view_of};

/// A fleet, and who holds which partition of a hub.
fn fleets() -> impl proptest::strategy::Strategy<Value = (usize, Vec<Option<usize>>)> {
    (1..12_usize)
        .prop_flat_map(|owners| (Just(owners), prop::collection::vec(prop::option::of(0..owners), 1..64)))
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![Just(Strategy::Balanced), Just(Strategy::Greedy), Just(Strategy::Adaptive)]
}

fn id_of(partition: &PartitionId) -> usize {
    partition.as_str().parse().expect("ids are numbers here")
}

/// All owners look at once, plan, and claim; of those that claim the same, the first wins. Says whether
/// anybody wanted something.
fn round(assignment: &mut [Option<usize>], owners: usize, strategy: Strategy, rng: &mut StdRng) -> bool {
    let before = assignment.to_vec();
    let mut order: Vec<usize> = (0..owners).collect();
    order.shuffle(rng);
    let mut has_claims = false;
    for me in order {
        let view = view_of(&before, me);
        let plan = plan(&view, &settings(strategy), rng.random());
        check(&view, strategy, &plan);
        has_claims |= !plan.is_settled();
        for id in plan.claim.iter().chain(&plan.steal).map(id_of) {
            if assignment[id] == before[id] {
                assignment[id] = Some(me);
            }
        }
    }
    has_claims
}

fn spread(assignment: &[Option<usize>], owners: usize) -> usize {
    let load = |owner| assignment.iter().filter(|holder| **holder == Some(owner)).count();
    let loads: Vec<usize> = (0..owners).map(load).collect();
    loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0)
}

proptest! {
    #[test]
    fn owners_that_act_at_the_same_time_come_to_fair_shares_and_rest(
        (owners, mut assignment) in fleets(), strategy in strategies(), seed: u64,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut rounds = 0;
        while round(&mut assignment, owners, strategy, &mut rng) {
            rounds += 1;
            prop_assert!(rounds < 200, "no end in sight: {assignment:?}");
        }
        prop_assert!(!assignment.contains(&None), "every partition is owned");
        prop_assert!(spread(&assignment, owners) <= 1, "{assignment:?}");
    }

    #[test]
    fn one_owner_alone_at_work_never_takes_more_than_it_needs((owners, mut assignment) in fleets(), seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let had = assignment.iter().filter(|holder| **holder == Some(0)).count();
        let view = view_of(&assignment, 0);
        let ceiling = assignment.len().div_ceil(view.others.len() + 1);
        for _ in 0..assignment.len() {
            let plan = plan(&view_of(&assignment, 0), &settings(Strategy::Greedy), rng.random());
            for id in plan.claim.iter().chain(&plan.steal).map(id_of) {
                assignment[id] = Some(0);
            }
        }
        let has = assignment.iter().filter(|holder| **holder == Some(0)).count();
        prop_assert!(has <= ceiling.max(had), "{has} of {} among {owners}", assignment.len());
        prop_assert!(plan(&view_of(&assignment, 0), &settings(Strategy::Greedy), rng.random()).is_settled());
    }

    #[test]
    fn the_order_of_the_records_changes_nothing((_, assignment) in fleets(), strategy in strategies(), seed: u64) {
        let record = |(id, holder): (usize, &Option<usize>)| {
            let holder = holder.map(|holder| owner(&holder.to_string()));
            Ownership::new(partition(id), holder, Version::new("1"), None)
        };
        let mut records: Vec<_> = assignment.iter().enumerate().map(record).collect();
        let mut ids = partitions(assignment.len());
        let (held, expired) = (BTreeSet::new(), BTreeSet::from([partition(0)]));
        let decide = |records: &[_], ids: &[_]| {
            let view = View::new(ids, &owner("0"), records, &held, &expired);
            let plan = plan(&view, &settings(strategy), seed);
            (view, plan)
        };
        let first = decide(&records, &ids);
        let mut rng = StdRng::seed_from_u64(seed);
        records.shuffle(&mut rng);
        ids.shuffle(&mut rng);
        prop_assert_eq!(first, decide(&records, &ids));
    }
}

/// The chi-square statistic of how often each partition was taken, if each is as likely as another.
fn chi_square(view: &View, candidates: usize) -> f64 {
    const DRAWS: u32 = 8_000;
    let mut rng = StdRng::seed_from_u64(42);
    let mut taken: BTreeMap<PartitionId, u32> = BTreeMap::new();
    for _ in 0..DRAWS {
        let plan = plan(view, &settings(Strategy::Balanced), rng.random());
        for partition in plan.claim.into_iter().chain(plan.steal) {
            *taken.entry(partition).or_default() += 1;
        }
    }
    assert_eq!(taken.len(), candidates, "every candidate is taken at some time");
    let expected = f64::from(DRAWS) / f64::from(u32::try_from(candidates).expect("a few candidates"));
    taken.values().map(|&times| (f64::from(times) - expected).powi(2) / expected).sum()
}

/// A statistic above this has a chance of one in a thousand with 7 degrees of freedom.
const UNLIKELY: f64 = 24.3;

#[test]
fn a_claim_is_chosen_over_all_free_partitions_alike() {
    let assignment = [vec![Some(1); 8], vec![None; 8]].concat();
    assert!(chi_square(&view_of(&assignment, 0), 8) < UNLIKELY);
}

#[test]
fn a_steal_is_chosen_over_all_partitions_of_all_victims_alike() {
    let assignment = [vec![Some(1); 4], vec![Some(2); 4]].concat();
    assert!(chi_square(&view_of(&assignment, 0), 8) < UNLIKELY);
}
