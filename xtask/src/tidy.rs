//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that the compiler does not check.

mod api;
mod api_text;
mod arrows;
mod foreign;
mod layers;
mod logs;
mod manifests;
mod modules;
mod prose;
mod regressions;
mod rust_version;
mod sources;
mod weight;
mod workspace;

use crate::shell::Result;
use workspace::Workspace;

/// Every breach of one rule, as text for the person who has to fix it.
type Rule = fn(&Workspace) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("our crates use whom the table allows", arrows::between_our_crates),
    ("folders use whom the table allows", layers::between_folders),
    ("no circle between files", layers::circles),
    ("no crate reaches what it must not", arrows::to_foreign_crates),
    ("no public signature names a foreign type", foreign::types_in_public_signatures),
    ("docs/api is the public API", api::is_as_recorded),
    ("the lean crates stay lean", weight::of_the_lean_crates),
    ("no dependency needs a newer Rust", rust_version::of_dependencies),
    ("manifests inherit", manifests::inherit),
    ("published crates are described", manifests::described),
    ("no circle of versions", manifests::circles),
    ("planning is pure", sources::planning_is_pure),
    ("only the transport opens sockets", sources::sockets),
    ("events are read without the AMQP library", sources::events_are_read_by_hand),
    ("no test is ignored", sources::no_test_is_ignored),
    ("docs/logs.md lists what is logged", logs::are_documented),
    ("the prose has no phrase that docs/words.md replaces", prose::phrases),
    ("the paths of ARCHITECTURE.md exist", prose::paths_exist),
    ("the tests of docs/regressions.md exist", regressions::have_tests),
];

/// Checks every rule before it fails, so that one run shows all breaches.
pub(crate) fn check() -> Result<()> {
    let workspace = Workspace::load()?;
    let breaches: usize = RULES.iter().map(|(name, rule)| report(name, &rule(&workspace))).sum();
    for lean in &workspace.lean {
        println!("{} compiles {} foreign packages, limit {}", lean.name, lean.packages.len(), lean.limit);
    }
    if breaches == 0 { Ok(()) } else { Err(format!("tidy found {breaches} breaches").into()) }
}

/// Writes the public API of each library into `docs/api`.
pub(crate) fn record_api() -> Result<()> {
    api::record(&Workspace::load()?)
}

fn report(rule: &str, breaches: &[String]) -> usize {
    println!("tidy: {rule}: {}", if breaches.is_empty() { "ok" } else { "BROKEN" });
    for breach in breaches {
        println!("  {breach}");
    }
    breaches.len()
}
