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
/// P4 holds for every fleet. Where an instance of ours takes part, P7 and P11 hold as well; what depends on the pace and
/// the thrift of a balancer is asked of ours alone.
pub(crate) fn violations(scenario: &Scenario, facts: &Facts<'_>) -> Vec<Violation> {
    let mut checks = vec![p4_one_winner(facts)];
    if scenario.fleet.contains(&Kind::Ours) {
        checks.extend([p7_fair(facts), p11_calm(scenario, facts)]);
    }
    if scenario.fleet.iter().all(|kind| *kind == Kind::Ours) {
        checks.extend([
            p8_converges_in_time(scenario, facts),
            p9_request_budget(scenario, facts),
        ]);
        checks.extend(limits(scenario, facts));
    }
    checks.into_iter().flatten().collect()
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
    let limit = scenario
        .expect
        .converge_s
        .unwrap_or_else(|| time_to_converge(scenario));
    at_most("P8 convergence", "s", facts.numbers.converge_s?, limit)
}

/// ⌈log₂(partitions per instance + 1)⌉ + 6 rounds, and after a crash or an outage an expiry and two rounds more.
fn time_to_converge(scenario: &Scenario) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the sizes are small")]
    let share = scenario.partitions as f64 / scenario.instances as f64;
    let waits_for_expiry = |action: &Action| matches!(action, Action::Crash { .. } | Action::Store { .. });
    let growth = ((share + 1.0).log2().ceil() + 6.0) * scenario.interval_s;
    let has_to_wait = scenario
        .events
        .iter()
        .any(|event| waits_for_expiry(&event.action));
    growth
        + if has_to_wait {
            scenario.expiry_s + 2.0 * scenario.interval_s
        } else {
            0.0
        }
}

fn p9_request_budget(scenario: &Scenario, facts: &Facts<'_>) -> Option<Violation> {
    facts.numbers.converge_s?;
    let limit = steady_budget(scenario, facts.live) * BUDGET_TOLERANCE;
    at_most("P9 request budget", "requests/s", facts.numbers.steady_rps, limit)
}

/// One listing per instance and interval, and three renewals per partition and expiry.
#[expect(clippy::cast_precision_loss, reason = "the sizes are small")]
fn steady_budget(scenario: &Scenario, instances: usize) -> f64 {
    instances as f64 / scenario.interval_s + 3.0 * scenario.partitions as f64 / scenario.expiry_s
}

fn p11_calm(scenario: &Scenario, facts: &Facts<'_>) -> Option<Violation> {
    let is_disturbed = scenario.store.errors + scenario.store.hangs > 0.0;
    let fact = facts.moved_when_fair && !is_disturbed;
    violation(
        "P11 calm",
        fact.then(|| "a partition changed its owner though all was fair".to_owned()),
    )
}

/// What the scenario itself expects.
fn limits(scenario: &Scenario, facts: &Facts<'_>) -> [Option<Violation>; 6] {
    let (expect, numbers) = (&scenario.expect, facts.numbers);
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    let [partitions, conflicts, needless, changes] = [
        scenario.partitions as u64,
        numbers.conflicts,
        numbers.needless_steals,
        numbers.ownership_changes,
    ]
    .map(|count| count as f64);
    let limit = |name, unit, value: f64, limit: Option<f64>| at_most(name, unit, value, limit?);
    let peak = expect
        .peak_per_steady
        .map(|times| times * steady_budget(scenario, facts.live));
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    let most_changes = expect.ownership_changes.map(|count| count as f64);
    [
        limit(
            "conflicts",
            "",
            conflicts,
            expect.conflicts.map(|part| part * partitions),
        ),
        limit(
            "needless steals",
            "",
            needless,
            expect.needless_steals.map(|part| part * partitions),
        ),
        limit("ownership changes", "", changes, most_changes),
        limit("P10 peak", "requests/s", numbers.peak_rps.into(), peak),
        limit("steady rate", "requests/s", numbers.steady_rps, expect.steady_rps),
        limit("longest unread", "s", numbers.longest_unread_s, expect.unread_s),
    ]
}

fn at_most(property: &'static str, unit: &str, value: f64, limit: f64) -> Option<Violation> {
    violation(
        property,
        (value > limit).then(|| format!("{value:.1} {unit}, at most {limit:.1} are allowed")),
    )
}

fn violation(property: &'static str, fact: Option<String>) -> Option<Violation> {
    fact.map(|fact| Violation { property, fact })
}
