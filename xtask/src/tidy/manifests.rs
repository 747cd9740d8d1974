//! Rules about manifests: what they inherit, and what published crates describe.

use super::workspace::Workspace;

const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
];

/// Each of our packages takes its version, edition, oldest Rust, licence and lints from the workspace.
pub(crate) fn inherit(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (_, package, ours) in workspace.ours() {
        let lines: Vec<&str> = ours.manifest.lines().map(str::trim).collect();
        let missing = INHERITED.iter().filter(|wanted| !lines.contains(wanted));
        breaches.extend(missing.map(|wanted| format!("{}: `{wanted}` is missing", package.name)));
        if !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
            breaches.push(format!("{}: `[lints] workspace = true` is missing", package.name));
        }
    }
    breaches
}

const DESCRIBED: &[&str] = &["description = ", "keywords = ", "categories = ", "readme = ", "include = "];
const ALL_FEATURES_ON_DOCS_RS: &[&str] = &["[package.metadata.docs.rs]", "all-features = true"];
const PACKED: &[&str] = &["README.md", "LICENSE"];

/// What a stranger meets on crates.io and docs.rs: a text, the licence, words to search for, and every
/// feature's items.
pub(crate) fn described(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (_, package, ours) in workspace.products() {
        let lines: Vec<&str> = ours.manifest.lines().map(str::trim).collect();
        let is_missing = |start: &&&str| !lines.iter().any(|line| line.starts_with(**start));
        let fields = DESCRIBED.iter().filter(is_missing);
        breaches.extend(fields.map(|field| format!("{}: `{field}…` is missing", package.name)));
        if !lines.windows(2).any(|pair| pair == ALL_FEATURES_ON_DOCS_RS) {
            breaches.push(format!("{}: `{}` is missing", package.name, ALL_FEATURES_ON_DOCS_RS.join(" ")));
        }
        let files = PACKED.iter().filter(|file| !ours.entries.iter().any(|entry| entry == **file));
        breaches.extend(files.map(|file| format!("{}: {file} is missing", package.name)));
    }
    breaches
}

/// `cargo publish` would want the dev-dependency to be published first, and that one wants us.
pub(crate) fn circles(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (_, package, ours) in workspace.products() {
        let is_versioned = |name| ours.versioned_dev.contains(name);
        let uses_us = |id| workspace.reach(id).iter().any(|(used, _)| used.name == package.name);
        let closing = workspace.products().filter(|(id, dev, _)| is_versioned(&dev.name) && uses_us(id));
        let says = |dev: &str| format!("{}: dev-dependency {dev} must be by path only", package.name);
        breaches.extend(closing.map(|(_, dev, _)| says(&dev.name)));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::super::workspace::fixture::{ours, workspace};
    use super::*;

    fn with_manifest(manifest: &str) -> Workspace {
        let mut workspace = workspace(&[("eventhubs", &[])]);
        manifest.clone_into(&mut ours(&mut workspace, "eventhubs").manifest);
        workspace
    }

    #[test]
    fn a_manifest_that_inherits_all_is_fine() {
        let manifest = format!("[package]\n{}\n\n[lints]\nworkspace = true\n", INHERITED.join("\n"));
        assert!(inherit(&with_manifest(&manifest)).is_empty());
    }

    #[test]
    fn an_own_edition_or_own_lints_are_breaches() {
        let manifest = format!("[package]\n{}\n[lints.rust]\nworkspace = true\n", INHERITED.join("\n"));
        let manifest = manifest.replace("edition.workspace = true", "edition = \"2021\"");
        assert_eq!(
            inherit(&with_manifest(&manifest)),
            [
                "eventhubs: `edition.workspace = true` is missing",
                "eventhubs: `[lints] workspace = true` is missing"
            ]
        );
    }

    #[test]
    fn a_crate_without_metadata_is_a_breach_for_each_missing_thing() {
        let breaches = described(&with_manifest("[package]\nkeywords = [\"azure\"]\n"));
        assert_eq!(breaches.len(), DESCRIBED.len() - 1 + 1 + PACKED.len(), "{breaches:?}");
        assert!(breaches.contains(&"eventhubs: LICENSE is missing".to_owned()), "{breaches:?}");
    }

    #[test]
    fn a_versioned_dev_dependency_on_a_crate_that_uses_us_is_a_breach() {
        let mut workspace = workspace(&[("eventhubs", &[]), ("eventhubs-cli", &["eventhubs"])]);
        assert!(circles(&workspace).is_empty());
        ours(&mut workspace, "eventhubs").versioned_dev = vec!["eventhubs-cli".to_owned()];
        assert_eq!(circles(&workspace), ["eventhubs: dev-dependency eventhubs-cli must be by path only"]);
    }

    #[test]
    fn a_versioned_dev_dependency_without_a_circle_is_fine() {
        let mut workspace = workspace(&[("eventhubs", &[]), ("eventhubs-emulator", &[])]);
        ours(&mut workspace, "eventhubs").versioned_dev = vec!["eventhubs-emulator".to_owned()];
        assert!(circles(&workspace).is_empty());
    }
}
