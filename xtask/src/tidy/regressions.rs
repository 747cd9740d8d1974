//! Rules about `docs/regressions.md`: each test that it names is in the file that it names.

use std::fs;

use super::workspace::Workspace;
use crate::shell::root;

const DOCUMENT: &str = "docs/regressions.md";

pub(crate) fn have_tests(_: &Workspace) -> Vec<String> {
    let text = fs::read_to_string(root().join(DOCUMENT)).unwrap_or_default();
    let rows = rows(&text);
    if rows.is_empty() {
        return vec![format!("{DOCUMENT}: there is no table")];
    }
    // From the disk: the tests of the workspace itself are in no product.
    let source = |path: &str| fs::read_to_string(root().join(path)).ok();
    rows.iter().flat_map(|row| missing(row, source)).collect()
}

/// The last cell of each row, without headers.
fn rows(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | "));
    rows.map(|(_, tests)| tests).filter(|tests| *tests != "test here").collect()
}

/// A cell is "`path`: `test`, `test`; `path`: `test`".
fn missing(cell: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let (mut breaches, mut path, mut count) = (Vec::new(), "", 0);
    for quoted in cell.split('`').skip(1).step_by(2) {
        if quoted.contains('/') {
            path = quoted;
            continue;
        }
        count += 1;
        if !source(path).is_some_and(|text| text.contains(&format!("fn {quoted}("))) {
            breaches.push(format!("{DOCUMENT}: there is no test {quoted} in {path}"));
        }
    }
    if count == 0 {
        breaches.push(format!("{DOCUMENT}: a row without a test: {cell}"));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_in(cell: &str) -> Vec<String> {
        let source = |path: &str| (path == "tests/a.rs").then(|| "async fn it_holds() {}".to_owned());
        missing(cell, source)
    }

    #[test]
    fn a_test_that_is_not_in_its_file_is_a_breach() {
        assert!(missing_in("`tests/a.rs`: `it_holds`").is_empty());
        for cell in ["`tests/a.rs`: `it_hold`", "`tests/b.rs`: `it_holds`", "`tests/a.rs`", "none"] {
            assert_eq!(missing_in(cell).len(), 1, "{cell}");
        }
        assert_eq!(missing_in("`tests/a.rs`: `it_holds`, `a`; `tests/b.rs`: `b`").len(), 2);
    }

    #[test]
    fn the_tests_are_in_the_last_cell() {
        let text = "| what | source | test here |\n|---|---|---|\n| It `broke`. | x#1 | `a/b.rs`: `c` |\n";
        assert_eq!(rows(text), ["`a/b.rs`: `c`"]);
    }
}
