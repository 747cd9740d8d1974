//! What all measurements have in common: two options, and how rows become tables.

use clap::Args;

/// How a measurement is made, and told.
#[derive(Debug, Clone, Copy, Args)]
pub struct Manner {
    /// A smoke run: does it still work?
    #[arg(long)]
    pub quick: bool,
    /// One JSON object a row instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Rows as tables in Markdown, one below each head; `line` says in which of them a row stands, and its line there.
pub(crate) fn tables<R, const N: usize>(
    heads: [&str; N],
    rows: &[R],
    line: impl Fn(&R) -> (usize, String),
) -> String {
    let mut tables = heads.map(str::to_owned);
    for row in rows {
        let (table, line) = line(row);
        tables[table] += &line;
    }
    tables.join("\n")
}
