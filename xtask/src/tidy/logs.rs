//! `docs/logs.md` lists what our libraries log: operators build alerts on it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::workspace::Workspace;
use crate::shell::root;

/// What a program that receives logs.
const CRATES: &[&str] = &[
    "eventhubs",
    "eventhubs-amqp",
    "eventhubs-checkpoint-store-blob",
    "eventhubs-checkpoint-store-postgres",
    "eventhubs-checkpoint-store-sqlite",
    "eventhubs-checkpoint-store-redis",
    "eventhubs-load-balancer",
    "eventhubs-opentelemetry",
];

const DOCUMENT: &str = "docs/logs.md";

/// The macros of `tracing`, and what they are called in the document.
const MACROS: &[(&str, &str)] =
    &[("error", "ERROR"), ("warn", "WARN"), ("info", "INFO"), ("debug", "DEBUG"), ("info_span", "span")];

/// One place that logs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    of: String,
    level: String,
    text: String,
    fields: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.fields.iter().map(|field| format!("`{field}`")).collect();
        write!(f, "{}: | {} | {} | {} |", self.of, self.level, self.text, fields.join(", "))
    }
}

pub(crate) fn are_documented(workspace: &Workspace) -> Vec<String> {
    let text = fs::read_to_string(root().join(DOCUMENT)).unwrap_or_default();
    compare(&logged(workspace), &documented(&text))
}

fn compare(logged: &BTreeSet<Line>, documented: &BTreeSet<Line>) -> Vec<String> {
    let missing = logged.difference(documented).map(|line| format!("{DOCUMENT} lacks {line}"));
    let stale = documented.difference(logged).map(|line| format!("{DOCUMENT} has what nobody logs: {line}"));
    missing.chain(stale).collect()
}

fn logged(workspace: &Workspace) -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    for (_, package, ours) in workspace.products().filter(|(_, package, _)| CRATES.contains(&&*package.name))
    {
        for source in ours.sources.iter().filter(|source| source.path.contains("/src/")) {
            let code = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let tokens = code.parse().unwrap_or_default();
            search(tokens, &package.name, &mut lines);
        }
    }
    lines
}

/// Goes through the tokens, so that a macro within the argument of another is found too.
fn search(tokens: TokenStream, of: &str, lines: &mut BTreeSet<Line>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let name = match tokens[..at] {
            [.., TokenTree::Ident(ref name), TokenTree::Punct(ref mark)] if mark.as_char() == '!' => {
                name.to_string()
            }
            _ => String::new(),
        };
        match MACROS.iter().find(|(known, _)| *known == name) {
            Some((_, level)) => lines.extend(line(group.stream(), of, level)),
            None => search(group.stream(), of, lines),
        }
    }
}

/// What a call of a macro logs: its fields, and its first literal as the text. After the text of an event
/// come format arguments, and after the name of a span its fields.
fn line(arguments: TokenStream, of: &str, level: &str) -> Option<Line> {
    let mut fields = BTreeSet::new();
    let mut text = None;
    for argument in split(arguments) {
        match &argument[..] {
            [TokenTree::Literal(literal)] if text.is_none() => {
                text = syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value());
            }
            [TokenTree::Ident(_), TokenTree::Punct(colon), ..] if colon.as_char() == ':' => {}
            _ if text.is_some() && level != "span" => {}
            argument => fields.extend(argument.iter().find_map(name_of)),
        }
    }
    let (of, level) = (of.to_owned(), level.to_owned());
    Some(Line { of, level, text: text?, fields: fields.into_iter().collect() })
}

fn name_of(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => None,
        _ => None,
    }
}

fn split(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut arguments = vec![Vec::new()];
    for token in tokens {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => arguments.push(Vec::new()),
            _ => arguments.last_mut().into_iter().for_each(|argument| argument.push(token.clone())),
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

/// The rows of the tables: one section per crate, whose heading names it; the column after the fields is for
/// people.
fn documented(text: &str) -> BTreeSet<Line> {
    let mut of = String::new();
    let mut lines = BTreeSet::new();
    for row in text.lines() {
        if let Some(heading) = row.strip_prefix("## ") {
            heading.trim_matches('`').clone_into(&mut of);
        }
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if let ["", level, text, fields, ..] = cells[..]
            && MACROS.iter().any(|(_, known)| *known == level)
        {
            let mut fields: Vec<_> = fields.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            fields.sort();
            lines.insert(Line { of: of.clone(), level: level.to_owned(), text: text.to_owned(), fields });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::workspace::fixture::source;
    use super::*;

    const CODE: &str = r#"
        fn f() {
            select! { () = pause => tracing::warn!(%partition, since = ?limit, "late by {}", name), }
            info_span!(parent: None, "partition", %owner)
        }
    "#;
    const TABLE: &str = "## `eventhubs`\n\n| level | text | fields | |\n|---|---|---|---|\n\
                         | WARN | late by {} | `since`, `partition` | a hint |\n| span | partition | `owner` | |\n";

    #[test]
    fn the_document_has_each_line_with_its_level_and_fields() {
        let logged = logged(&source("crates/eventhubs/src/pump.rs", CODE));
        assert_eq!(logged.len(), 2);
        assert_eq!(compare(&logged, &documented(TABLE)), [""; 0]);
    }

    #[test]
    fn a_line_that_changed_is_a_breach_on_both_sides() {
        let logged = logged(&source("crates/eventhubs/src/pump.rs", CODE));
        for changed in
            [TABLE.replace("late", "slow"), TABLE.replace("WARN", "INFO"), TABLE.replace("since", "after")]
        {
            assert_eq!(compare(&logged, &documented(&changed)).len(), 2);
        }
    }
}
