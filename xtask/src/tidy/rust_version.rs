use std::collections::BTreeSet;

use super::workspace::Workspace;

/// A dependency that states a newer Rust than the crate that its users compile with it.
pub(crate) fn of_dependencies(workspace: &Workspace) -> Vec<String> {
    let mut breaches = BTreeSet::new();
    for (id, package, _) in workspace.products() {
        let Some(promised) = &package.rust_version else {
            breaches.insert(format!("{} states no rust-version", package.name));
            continue;
        };
        for (used, _) in workspace.reach(id) {
            if let Some(needed) = used.rust_version.as_ref().filter(|needed| *needed > promised) {
                breaches.insert(format!("{} needs Rust {needed}, we promise {promised}", used.name));
            }
        }
    }
    breaches.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use cargo_metadata::semver::Version;

    use super::super::workspace::fixture::workspace;
    use super::*;

    #[test]
    fn a_dependency_may_state_our_version_and_not_a_newer_one() {
        let mut workspace =
            workspace(&[("eventhubs", &["same", "newer"]), ("same", &[]), ("newer", &[]), ("unused", &[])]);
        for (name, minor) in [("eventhubs", 88), ("same", 88), ("newer", 89), ("unused", 99)] {
            let package = workspace.packages.get_mut(name).expect("listed above");
            package.rust_version = Some(Version::new(1, minor, 0));
        }
        assert_eq!(of_dependencies(&workspace), ["newer needs Rust 1.89.0, we promise 1.88.0"]);
    }

    #[test]
    fn a_crate_of_ours_without_a_rust_version_is_a_breach() {
        let breaches = of_dependencies(&workspace(&[("eventhubs", &[])]));
        assert_eq!(breaches, ["eventhubs states no rust-version"]);
    }
}
