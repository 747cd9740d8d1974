//! Scenario files: what is refused, and what the error names.

use eventhubs_simulator::{Action, Scenario, ScenarioError};

const LEAST: &str = "name = 'x'\nabout = 'x'\ninstances = 2\npartitions = 4\nduration_s = 60\n";

fn parse(more: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(&format!("{LEAST}{more}"))
}

fn error(more: &str) -> String {
    parse(more).expect_err("it makes no sense").to_string()
}

#[test]
fn what_a_file_leaves_out_has_a_default() {
    let scenario = parse("").unwrap();
    assert!((scenario.interval_s - 10.0).abs() < 1e-9 && (scenario.expiry_s - 60.0).abs() < 1e-9);
    assert!(scenario.store.has_clock && scenario.events.is_empty());
}

#[test]
fn events_are_read_with_their_fields() {
    let scenario = parse("[[event]]\nat_s = 3\ndo = 'join'\nfraction = 0.5\nover_s = 2\n").unwrap();
    let event = scenario.events[0];
    assert!((event.at_s - 3.0).abs() < 1e-9);
    assert_eq!(event.action, Action::Join { fraction: 0.5, over_s: 2.0 });
}

#[test]
fn a_field_that_does_not_exist_is_refused_by_name() {
    for more in [
        "colour = 'red'",
        "[store]\ncolour = 'red'",
        "[expect]\ncolour = 'red'",
        "[clocks]\ncolour = 'red'",
        "[[event]]\ndo = 'crash'\nfraction = 0.1\ncolour = 'red'",
        "[[event]]\ndo = 'store'\nfor_s = 1\nmodel = { colour = 'red' }",
    ] {
        assert!(error(more).contains("colour"), "{}", error(more));
    }
}

#[test]
fn an_action_that_does_not_exist_is_refused_with_those_that_do() {
    let error = error("[[event]]\ndo = 'explode'\n");
    assert!(error.contains("explode") && error.contains("crash"), "{error}");
}

#[test]
fn a_value_that_makes_no_sense_is_refused_with_its_field() {
    let cases = [
        ("[[event]]\ndo = 'crash'\nfraction = 1.5\n", "`fraction`"),
        ("[[event]]\nat_s = -1\ndo = 'crash'\nfraction = 0.5\n", "`at_s`"),
        ("settle_s = nan\n", "`settle_s`"),
        ("settle_s = 1e9\n", "`settle_s`"),
        ("fleet = []\n", "`fleet`"),
        ("interval_s = 30\n", "`interval_s`"),
        ("[store]\nlatency_ms = [30, 5]\n", "`latency_ms`"),
        ("[store]\nerrors = -0.1\n", "`errors`"),
        ("[store]\nstale_ms = -1\n", "`stale_ms`"),
        ("[clocks]\nskew_s = inf\n", "`skew_s`"),
    ];
    for (more, field) in cases {
        assert!(error(more).starts_with(field), "{}", error(more));
    }
    let late = "[[event]]\nat_s = 5\ndo = 'crash'\nfraction = 0.5\n";
    let early = "[[event]]\nat_s = 4\ndo = 'crash'\nfraction = 0.5\n";
    assert!(error(&format!("{late}{early}")).starts_with("`at_s`"));
}

#[test]
fn a_fleet_has_an_instance_and_not_more_than_the_limit() {
    for instances in [0, 5_001] {
        let error = parse("").unwrap().with_size(instances, 4).unwrap_err();
        assert!(error.to_string().starts_with("`instances`"), "{error}");
    }
    assert!(parse("").unwrap().with_size(1, 0).is_err());
}
