//! What each client is expected to say to each check, from `tests/witnesses/matrix.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use super::witness::{Failure, Outcome};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/witnesses/matrix.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrix {
    #[serde(rename = "check")]
    pub(super) checks: Vec<Check>,
    #[serde(rename = "client")]
    pub(super) clients: Vec<Client>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) name: String,
    what: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) name: String,
    title: String,
    /// The folder of its program.
    pub(super) language: String,
    #[serde(default)]
    pub(super) script: String,
    #[serde(default)]
    pub(super) options: Vec<String>,
    /// How long the client may take for anything.
    #[serde(default = "default_patience")]
    patience_seconds: u64,
    /// By check: why the client cannot do this.
    #[serde(default)]
    absent: BTreeMap<String, String>,
    /// By check: what the client does wrong.
    #[serde(default)]
    fails: BTreeMap<String, Defect>,
    /// By check: what the client does wrong now and then, so that it is tried again.
    #[serde(default)]
    unsteady: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defect {
    why: String,
    /// A part of what the check finds.
    found: String,
}

fn default_patience() -> u64 {
    20
}

impl Matrix {
    pub(super) fn load() -> Self {
        let text = std::fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
        let matrix: Self = toml::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
        for client in &matrix.clients {
            for check in client.absent.keys().chain(client.fails.keys()).chain(client.unsteady.keys()) {
                assert!(
                    matrix.checks.iter().any(|known| known.name == *check),
                    "{}: no check {check}",
                    client.name
                );
            }
        }
        matrix
    }

    pub(super) fn client(&self, name: &str) -> &Client {
        let found = self.clients.iter().find(|client| client.name == name);
        found.unwrap_or_else(|| panic!("{FILE} has no client {name}"))
    }

    /// As in `docs/emulator.md`.
    fn table(&self) -> String {
        let titles: Vec<_> = self.clients.iter().map(|client| client.title.as_str()).collect();
        let mut text = format!("| | {} |\n|---|{}\n", titles.join(" | "), ":-:|".repeat(titles.len()));
        let mut notes = Vec::new();
        for check in &self.checks {
            let cells: Vec<_> =
                self.clients.iter().map(|client| client.cell(&check.name, &mut notes)).collect();
            writeln!(text, "| {} | {} |", check.what, cells.join(" | ")).expect("a string takes all");
        }
        text.push('\n');
        for (number, note) in (1..).zip(notes) {
            writeln!(text, "{number}. {note}").expect("a string takes all");
        }
        text
    }
}

impl Client {
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }

    pub(super) fn is_unsteady(&self, check: &str) -> bool {
        self.unsteady.contains_key(check)
    }

    /// What is wrong if the check came out like this.
    pub(super) fn contradiction(&self, check: &str, outcome: &Outcome) -> Option<String> {
        match (outcome, self.absent.get(check), self.fails.get(check)) {
            (Ok(()), None, None) | (Err(Failure::Absent), Some(_), None) => None,
            (Err(Failure::Failed(why)), None, Some(defect)) if why.contains(&defect.found) => None,
            (outcome, absent, defect) => {
                Some(format!("{check}: {outcome:?}, expected {:?}", (absent, defect)))
            }
        }
    }

    fn cell<'a>(&'a self, check: &str, notes: &mut Vec<&'a str>) -> String {
        let mut note = |why: &'a str| {
            let known = notes.iter().position(|known| *known == why);
            known.unwrap_or_else(|| {
                notes.push(why);
                notes.len() - 1
            }) + 1
        };
        match (self.absent.get(check), self.fails.get(check)) {
            (Some(why), _) => format!("– ({})", note(why)),
            (None, Some(defect)) => format!("**✗** ({})", note(&defect.why)),
            (None, None) => match self.unsteady.get(check) {
                Some(why) => format!("✓ ({})", note(why)),
                None => "✓".to_owned(),
            },
        }
    }
}

#[test]
fn the_table_in_the_document_is_what_the_runs_show() {
    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/emulator.md");
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let table = Matrix::load().table();
    assert!(document.contains(&table), "docs/emulator.md does not hold this:\n\n{table}");
}
