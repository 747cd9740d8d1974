//! What goes wrong with the rules of others, or with a broken store: a simulator that never fails shows
//! nothing.

use eventhubs_simulator::{Kind, Outcome, Scenario, simulate};

use crate::scenario;

fn with_fleet(scenario: Scenario, kind: Kind) -> Outcome {
    simulate(&scenario.with_fleet(vec![kind]).expect("a fleet"), 7)
}

#[test]
fn wall_clocks_make_a_fleet_steal_from_itself_but_not_eventhubs() {
    let day = || {
        let mut calm = scenario("skewed_clocks", 10, 32);
        calm.events.clear();
        calm.clocks.fraction = 0.3;
        calm
    };
    for kind in [Kind::Python, Kind::Go, Kind::Rust] {
        let theirs = with_fleet(day(), kind);
        assert!(theirs.numbers.ownership_changes > 0, "{kind:?}");
    }
    assert_eq!(with_fleet(day(), Kind::Ours).numbers.ownership_changes, 0);
}

#[test]
fn a_fleet_that_takes_all_that_is_free_is_stolen_from_again() {
    let needless = |kind| with_fleet(scenario("cold_start", 20, 64), kind).numbers.needless_steals;
    for kind in [Kind::Python, Kind::DotNet, Kind::Java, Kind::Rust] {
        assert!(needless(kind) > 2 * needless(Kind::Ours), "{kind:?}");
    }
}

/// The case LB-12 of contract §8.4.
#[test]
fn a_fleet_of_python_stops_short_of_fairness() {
    let cold = || scenario("cold_start", 20, 64);
    assert_eq!(with_fleet(cold(), Kind::Python).numbers.converge_s, None);
    assert!(with_fleet(cold(), Kind::Ours).numbers.converge_s.is_some());
}

#[test]
fn rust_leaves_its_partitions_unread_until_they_expire_when_it_stops() {
    let unread = |kind| with_fleet(scenario("rolling_deploy", 10, 32), kind).numbers.longest_unread_s;
    assert!(unread(Kind::Rust) > 45.0);
    assert!(unread(Kind::Python) < 30.0);
}

#[test]
fn an_outage_that_does_not_end_leaves_a_fleet_without_partitions() {
    let mut endless = scenario("cold_start", 4, 8);
    endless.store.errors = 1.0;
    let outcome = simulate(&endless, 7);
    assert_eq!(outcome.numbers.converge_s, None);
    assert_eq!(outcome.violations[0].property, "P7 fairness");
    assert!(
        outcome.replay().contains("--scenario cold_start --seed 7 --instances 4 --partitions 8 --fleet ours")
    );
}

#[test]
fn a_throttled_store_refuses_and_the_fleet_still_gets_there() {
    let mut throttled = scenario("cold_start", 20, 64);
    throttled.store.throttle_rps = 6;
    throttled.duration_s = 600.0;
    let outcome = simulate(&throttled, 7);
    assert!(outcome.numbers.peak_rps > 6, "what is refused was asked");
    assert!(outcome.numbers.converge_s.is_some());
}
