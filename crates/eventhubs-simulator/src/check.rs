//! The properties that every run must keep, and the bounds of its scenario.

use crate::outcome::{Numbers, Violation};
use crate::peer::Kind;
use crate::scenario::{Action, Scenario};

/// How much above its budget the mean rate may be: the pauses are random.
const BUDGET_TOLERANCE: f64 = 1.1;

/// What is checked.
pub(crate) struct Facts<'f> {
    pub(crate) numbers: &'f Numbers,
    /// Whether all was fair when the measurement began, if it had to be.
    pub(crate) was_fair: bool,
    pub(crate) moved_when_fair: bool,
    /// How many instances there are at the end.
    pub(crate) live: usize,
    /// What broke the chain of versions of a record.
    pub(crate) breach: Option<&'f str>,
}

/// The properties that do not hold.
///
/// P4 holds for every fleet. Where an eventhubs instance takes part, P7 and P11 hold as well; what depends on
/// the pace and the number of requests of a balancer is checked for eventhubs only.
pub(crate) fn violations(scenario: &Scenario, facts: &Facts<'_>) -> Vec<Violation> {
    let mut checks = vec![p4_one_winner(facts)];
    let mut exceeded = Vec::new();
    if scenario.fleet.contains(&Kind::Ours) {
        checks.extend([p7_fair(facts), p11_calm(scenario, facts)]);
    }
    if scenario.fleet.iter().all(|kind| *kind == Kind::Ours) {
        checks.extend([p8_converges_in_time(scenario, facts), p9_request_budget(scenario, facts)]);
        exceeded = limits(scenario, facts);
    }
    checks.into_iter().flatten().chain(exceeded).collect()
}

fn p4_one_winner(facts: &Facts<'_>) -> Option<Violation> {
    violation("P4 one winner per version", facts.breach.map(str::to_owned))
}

fn p7_fair(facts: &Facts<'_>) -> Option<Violation> {
    let fact = match (facts.was_fair, facts.numbers.converge_s) {
        (false, _) => "shares were not fair when the measurement began",
        (_, None) => "shares are not fair at the end",
        _ => return None,
    };
    violation("P7 fairness", Some(fact.to_owned()))
}

fn p8_converges_in_time(scenario: &Scenario, facts: &Facts<'_>) -> Option<Violation> {
    let limit = scenario.expect.converge_s.unwrap_or_else(|| time_to_converge(scenario));
    at_most("P8 convergence", "s", facts.numbers.converge_s?, limit)
}

/// ⌈log₂(partitions per instance + 1)⌉ + 6 rounds, and after a crash or an outage an expiry and two rounds
/// more.
fn time_to_converge(scenario: &Scenario) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the sizes are small")]
    let share = scenario.partitions as f64 / scenario.instances as f64;
    let waits_for_expiry = |action: &Action| matches!(action, Action::Crash { .. } | Action::Store { .. });
    let growth = ((share + 1.0).log2().ceil() + 6.0) * scenario.interval_s;
    let has_to_wait = scenario.events.iter().any(|event| waits_for_expiry(&event.action));
    growth + if has_to_wait { scenario.expiry_s + 2.0 * scenario.interval_s } else { 0.0 }
}

fn p9_request_budget(scenario: &Scenario, facts: &Facts<'_>) -> Option<Violation> {
    facts.numbers.converge_s?;
    let limit = steady_budget(scenario, facts.live) * BUDGET_TOLERANCE;
    at_most("P9 request budget", "requests/s", facts.numbers.steady_rps, limit)
}

/// One listing per instance and interval, and three renewals per partition and expiry. With fewer than 2 000
/// partitions the interval is shorter, down to a fifth, so that the listings of as many instances as there
/// can be stay within the same rate.
#[expect(clippy::cast_precision_loss, reason = "the sizes are small")]
fn steady_budget(scenario: &Scenario, instances: usize) -> f64 {
    let interval_s = scenario.interval_s * (scenario.partitions as f64 / 2_000.0).clamp(0.2, 1.0);
    instances as f64 / interval_s + 3.0 * scenario.partitions as f64 / scenario.expiry_s
}

fn p11_calm(scenario: &Scenario, facts: &Facts<'_>) -> Option<Violation> {
    let is_disturbed = scenario.store.errors + scenario.store.hangs > 0.0;
    let fact = facts.moved_when_fair && !is_disturbed;
    violation("P11 calm", fact.then(|| "a partition changed its owner though all was fair".to_owned()))
}

/// What the scenario itself expects.
fn limits(scenario: &Scenario, facts: &Facts<'_>) -> Vec<Violation> {
    let (expect, numbers) = (&scenario.expect, facts.numbers);
    #[expect(clippy::cast_precision_loss, reason = "a hub has few partitions")]
    let partitions = scenario.partitions as f64;
    let of_partitions = |part: Option<f64>| part.map(|part| part * partitions);
    let peak = expect.peak_rps.map(f64::from);
    let conflicts = of_partitions(expect.conflicts);
    let needless = of_partitions(expect.needless_steals);
    let changes = expect.ownership_changes.map(f64::from);
    let limits = [
        ("conflicts", "claims", numbers.conflicts.into(), conflicts),
        ("needless steals", "steals", numbers.needless_steals.into(), needless),
        ("ownership changes", "changes", numbers.ownership_changes.into(), changes),
        ("P10 peak", "requests/s", numbers.peak_rps.into(), peak),
        ("steady rate", "requests/s", numbers.steady_rps, expect.steady_rps),
        ("longest unread", "s", numbers.longest_unread_s, expect.unread_s),
    ];
    let exceeded =
        limits.into_iter().filter_map(|(name, unit, value, limit)| at_most(name, unit, value, limit?));
    exceeded.collect()
}

fn at_most(property: &'static str, unit: &str, value: f64, limit: f64) -> Option<Violation> {
    violation(property, (value > limit).then(|| format!("{value:.1} {unit}, at most {limit:.1} are allowed")))
}

fn violation(property: &'static str, fact: Option<String>) -> Option<Violation> {
    fact.map(|fact| Violation { property, fact })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run of a good fleet finds.
    const GOOD: Numbers = Numbers {
        converge_s: Some(15.0),
        conflicts: 1,
        needless_steals: 1,
        ownership_changes: 20,
        peak_rps: 30,
        steady_rps: 15.0,
        longest_unread_s: 0.5,
    };

    fn scenario(fleet: &str) -> Scenario {
        let text = format!(
            "name = 'x'\nabout = 'x'\ninstances = 50\npartitions = 100\nduration_s = 60\nfleet = ['{fleet}']\n[expect]\n\
             conflicts = 0.02\nneedless_steals = 0.02\nownership_changes = 20\npeak_rps = 45\nsteady_rps = 15\n\
             unread_s = 1"
        );
        Scenario::parse(&text).unwrap()
    }

    const WELL: Facts<'_> =
        Facts { numbers: &GOOD, was_fair: true, moved_when_fair: false, live: 100, breach: None };

    fn broken(facts: &Facts<'_>, fleet: &str) -> Vec<&'static str> {
        let violations = violations(&scenario(fleet), facts);
        violations.into_iter().map(|violation| violation.property).collect()
    }

    fn broken_by(numbers: &Numbers) -> Vec<&'static str> {
        broken(&Facts { numbers, ..WELL }, "ours")
    }

    #[test]
    fn a_good_run_breaks_nothing() {
        assert!(broken(&WELL, "ours").is_empty());
    }

    #[test]
    fn two_winners_break_p4_whoever_plays() {
        let facts = Facts { breach: Some("two winners"), ..WELL };
        for fleet in ["ours", "go"] {
            assert_eq!(broken(&facts, fleet), ["P4 one winner per version"]);
        }
    }

    #[test]
    fn unfair_shares_break_p7_at_the_beginning_and_at_the_end() {
        let was_unfair = Facts { was_fair: false, ..WELL };
        assert_eq!(broken(&was_unfair, "ours"), ["P7 fairness"]);
        let never = Numbers { converge_s: None, ..GOOD };
        assert_eq!(broken_by(&never), ["P7 fairness"]);
        let of_others = Facts { numbers: &never, ..WELL };
        assert!(broken(&of_others, "go").is_empty(), "what others reach is not our promise");
    }

    #[test]
    fn a_long_way_to_fairness_breaks_p8() {
        // Two partitions each: ⌈log₂ 3⌉ + 6 rounds of 10 s.
        let at = |converge_s| broken_by(&Numbers { converge_s: Some(converge_s), ..GOOD });
        assert!(at(80.0).is_empty());
        assert_eq!(at(80.1), ["P8 convergence"]);
    }

    #[test]
    fn too_many_requests_break_p9_and_the_limit_of_the_scenario() {
        let at = |steady_rps| broken_by(&Numbers { steady_rps, ..GOOD });
        assert_eq!(at(60.4), ["steady rate"]);
        // With 100 partitions the interval is a fifth of 10 s.
        assert_eq!(at(60.6), ["P9 request budget", "steady rate"], "100 / 2 s + 3 × 100 / 60 s, and a tenth");
    }

    #[test]
    fn a_herd_breaks_p10() {
        assert_eq!(broken_by(&Numbers { peak_rps: 46, ..GOOD }), ["P10 peak"]);
    }

    #[test]
    fn a_move_when_all_is_fair_breaks_p11() {
        let facts = Facts { moved_when_fair: true, ..WELL };
        assert_eq!(broken(&facts, "ours"), ["P11 calm"]);
    }

    #[test]
    fn what_a_scenario_expects_is_checked() {
        assert_eq!(broken_by(&Numbers { conflicts: 3, ..GOOD }), ["conflicts"]);
        assert_eq!(broken_by(&Numbers { needless_steals: 3, ..GOOD }), ["needless steals"]);
        assert_eq!(broken_by(&Numbers { ownership_changes: 21, ..GOOD }), ["ownership changes"]);
        assert_eq!(broken_by(&Numbers { longest_unread_s: 1.1, ..GOOD }), ["longest unread"]);
    }
}
