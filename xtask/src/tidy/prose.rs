//! Rules about what people read: phrases that `docs/words.md` replaces, and paths in ARCHITECTURE.md that
//! have to exist.

use std::fs;
use std::path::{Path, PathBuf};

use super::workspace::Workspace;
use crate::shell::root;

/// Phrases of another language in English words, each with what to write.
const PHRASES: &[(&str, &str)] = &[
    ("behind the last", "after the last"),
    ("for ever", "forever"),
    ("for so long", "for this long"),
    ("goes on", "continues"),
    ("of ours", "of this crate, or an eventhubs instance"),
    ("one a call", "one per call"),
    ("so many bytes", "this many bytes"),
    ("so many events", "this many events"),
    ("so many partitions", "this many partitions"),
    ("stands in", "is in"),
    ("what the user gave", "the configuration"),
];

/// Documents that quote, that name the phrases, or that a program writes.
const EXEMPT: &[&str] = &["docs/amqp-crate.md", "docs/contract.md", "docs/simulation.md", "docs/words.md"];

/// Phrases occur in comments, documents and messages alike: a phrase has a space, which no name has.
pub(crate) fn phrases(workspace: &Workspace) -> Vec<String> {
    let sources = workspace.ours().flat_map(|(_, _, ours)| &ours.sources);
    let sources = sources.filter(|source| !source.path.ends_with("tidy/prose.rs"));
    let mut breaches: Vec<_> = sources.flat_map(|source| in_text(&source.path, &source.text)).collect();
    for path in documents() {
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if !EXEMPT.contains(&shown.as_str()) {
            breaches.extend(in_text(&shown, &fs::read_to_string(&path).unwrap_or_default()));
        }
    }
    breaches
}

fn in_text(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().zip(1..);
    let found = lines.flat_map(|(line, number)| {
        let found = PHRASES.iter().filter(|(phrase, _)| has_words(line, phrase));
        found.map(move |(phrase, better)| format!("{path}:{number}: {phrase:?}: write {better:?}"))
    });
    found.collect()
}

/// Whether the phrase is there as whole words.
fn has_words(line: &str, phrase: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(phrase).any(|(at, _)| {
        !is_word(line[..at].chars().next_back()) && !is_word(line[at + phrase.len()..].chars().next())
    })
}

fn documents() -> Vec<PathBuf> {
    let markdown = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect::<Vec<_>>()
    };
    [markdown(&root()), markdown(&root().join("docs"))].concat()
}

/// Each path of the table "If you look for" in ARCHITECTURE.md leads somewhere.
pub(crate) fn paths_exist(_: &Workspace) -> Vec<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let paths = paths(&text);
    if paths.is_empty() {
        return vec!["ARCHITECTURE.md: the table \"If you look for\" is gone".to_owned()];
    }
    let missing = paths.into_iter().filter(|path| !root().join(path).exists());
    missing.map(|path| format!("ARCHITECTURE.md: {path} does not exist")).collect()
}

fn paths(text: &str) -> Vec<&str> {
    let section =
        text.split("\n## ").find(|section| section.starts_with("If you look for")).unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted.filter(|quoted| quoted.contains('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_as_whole_words_with_its_place() {
        let text = "/// It waits for ever.\nlet forever = 1;\n// hours\n";
        assert_eq!(in_text("a.rs", text), [r#"a.rs:1: "for ever": write "forever""#]);
        assert!(has_words("an instance of ours.", "of ours"));
        assert!(!has_words("of oursins", "of ours"));
    }

    #[test]
    fn the_paths_of_the_table_are_found() {
        let text = "# A\n\n## If you look for …\n\n| … | it is in |\n|---|---|\n| x, `Latest` | `a/b.rs`, `c/d.rs` |\n\n## Next\n| `e/f.rs` |\n";
        assert_eq!(paths(text), ["a/b.rs", "c/d.rs"]);
    }
}
