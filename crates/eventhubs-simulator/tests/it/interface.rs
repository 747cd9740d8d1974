//! What programs and people are shown of an outcome.

use eventhubs_simulator::{Kind, Report, simulate, simulate_all, table};

use crate::scenario;

#[test]
fn the_object_of_a_run_has_exactly_the_fields_that_programs_read() {
    let outcome = simulate(&scenario("cold_start", 2, 4), 7);
    let row = serde_json::to_value(outcome.row()).expect("it is JSON");
    let fields: Vec<_> = row.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "conflicts",
            "converge_s",
            "instances",
            "needless_steals",
            "ownership_changes",
            "partitions",
            "peak_rps",
            "scenario",
            "seed",
            "steady_rps",
        ]
    );
    // Four claims, and two of them stolen by the instance that came later.
    assert_eq!(row["ownership_changes"], 6);
}

#[test]
fn a_line_has_as_many_columns_as_the_header() {
    let outcome = simulate(&scenario("cold_start", 2, 4), 7);
    let columns = |line: &str| line.split_whitespace().count();
    assert_eq!(columns(&table::line(&outcome)), columns(table::HEADER));
    assert_eq!(table::line(&outcome).len(), table::HEADER.len());
}

#[test]
fn outcomes_come_in_the_order_of_the_runs_however_many_threads_play_them() {
    let runs: Vec<_> = (1..=6).map(|seed| (scenario("join", 4, 8), seed)).collect();
    let outcomes = simulate_all(&runs, 3, |_| {});
    let seeds: Vec<_> = outcomes.iter().map(|outcome| outcome.seed).collect();
    assert_eq!(seeds, [1, 2, 3, 4, 5, 6]);
    assert_eq!(outcomes, simulate_all(&runs, 1, |_| {}));
}

#[test]
fn a_report_has_a_row_for_each_scenario_and_the_way_to_replay_what_broke() {
    let mut impatient = scenario("crash", 4, 8);
    impatient.expect.converge_s = Some(1.0);
    let scenarios = [scenario("cold_start", 4, 8), impatient];
    let outcomes: Vec<_> = scenarios.iter().map(|scenario| simulate(scenario, 7)).collect();
    let peers = [(Kind::Go, simulate(&scenarios[0], 7))];
    let report = Report::new(&scenarios, &outcomes, &peers).to_string();
    for line in [
        "| `cold_start` | 4 × 8 | 1 |",
        "| `crash` | 4 × 8 | 1 |",
        "| `cold_start` | go |",
        "1 of 1 |",
        "0 of 1 |",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(report.contains("* P8 convergence: "), "{report}");
    assert!(report.contains(&outcomes[1].replay()), "{report}");
}
