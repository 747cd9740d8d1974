//! How many foreign packages are compiled by each store, and by the crates that every store and extension builds on.

use std::collections::BTreeSet;

use super::workspace::Workspace;
use crate::shell::{Result, cargo, output};

/// Our crate, and how many foreign packages its users may have to compile for it, procedural macros included.
const LIMITS: &[(&str, usize)] = &[
    ("eventhubs-checkpoint-store", 17),
    ("eventhubs-load-balancer", 27),
    ("eventhubs-checkpoint-store-blob", 164),
    ("eventhubs-checkpoint-store-postgres", 96),
    ("eventhubs-checkpoint-store-redis", 90),
    ("eventhubs-checkpoint-store-sqlite", 33),
];

#[derive(Debug)]
pub(crate) struct Lean {
    pub(crate) name: &'static str,
    pub(crate) limit: usize,
    pub(crate) packages: BTreeSet<String>,
}

/// Asks `cargo tree`, which counts with the crate's own features only; `cargo metadata` unites those of the
/// workspace.
pub(crate) fn load() -> Result<Vec<Lean>> {
    let load = |(name, limit): &(&'static str, usize)| {
        let tree = output(&mut cargo(["tree", "--package", name, "--edges", "normal", "--prefix", "none"]))?;
        Ok(Lean { name, limit: *limit, packages: packages(&tree) })
    };
    LIMITS.iter().map(load).collect()
}

pub(crate) fn of_the_lean_crates(workspace: &Workspace) -> Vec<String> {
    let heavy = workspace.lean.iter().filter(|lean| lean.packages.len() > lean.limit);
    heavy
        .map(|lean| {
            let packages: Vec<_> = lean.packages.iter().map(String::as_str).collect();
            format!(
                "{}: {} packages, limit {}: {}",
                lean.name,
                packages.len(),
                lean.limit,
                packages.join(", ")
            )
        })
        .collect()
}

/// Name and version of each line, except our own; a package that occurs twice in the tree counts once.
fn packages(tree: &str) -> BTreeSet<String> {
    let name_and_version = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let foreign = tree.lines().filter(|line| !line.is_empty() && !line.starts_with("eventhubs"));
    foreign.map(name_and_version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_limit(limit: usize) -> Workspace {
        let packages = packages(
            "eventhubs-x v0.1.0 (/a)\nsyn v2.0.1\nsyn v3.0.1\n\nsyn v2.0.1 (*)\nmacro v1.0.0 (proc-macro)\n",
        );
        Workspace { lean: vec![Lean { name: "lean", limit, packages }], ..Workspace::default() }
    }

    #[test]
    fn one_package_more_than_the_limit_is_a_breach() {
        assert!(of_the_lean_crates(&with_limit(3)).is_empty());
        assert_eq!(
            of_the_lean_crates(&with_limit(2)),
            ["lean: 3 packages, limit 2: macro v1.0.0, syn v2.0.1, syn v3.0.1"]
        );
    }
}
