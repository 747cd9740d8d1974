use crate::Scenario;

const FILES: &[&str] = &[include_str!("../scenarios/cold_start.toml")];

/// The scenarios that come with the simulator, in the order of the report.
pub fn catalog() -> Vec<Scenario> {
    let parse = |text: &&str| Scenario::parse(text).expect("a test reads every scenario of the catalog");
    FILES.iter().map(parse).collect()
}
