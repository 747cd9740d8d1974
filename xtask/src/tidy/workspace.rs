//! What the rules look at: `cargo metadata` and our sources, cut down to what a test can write by hand.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, NodeDep};

use super::weight::{self, Lean};
use crate::shell::{Result, root};

#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// By package id; ours and foreign ones, for all platforms and features.
    pub(crate) packages: BTreeMap<String, Package>,
    pub(crate) lean: Vec<Lean>,
}

#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) rust_version: Option<Version>,
    /// The ids of the packages that its users compile with it.
    pub(crate) uses: Vec<String>,
    /// What only our own packages have.
    pub(crate) ours: Option<Ours>,
}

#[derive(Debug, Default)]
pub(crate) struct Ours {
    /// Relative to the workspace, with `/`.
    pub(crate) folder: String,
    pub(crate) manifest: String,
    /// The names of what is in the folder itself.
    pub(crate) entries: Vec<String>,
    /// The dev-dependencies that are found by path and carry a version.
    pub(crate) versioned_dev: Vec<String>,
    /// Tests and examples included.
    pub(crate) sources: Vec<Source>,
}

#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new().current_dir(root()).exec()?;
        let mut packages = BTreeMap::new();
        for package in &metadata.packages {
            packages.insert(package.id.repr.clone(), convert(package, &metadata)?);
        }
        Ok(Self { packages, lean: weight::load()? })
    }

    /// Our packages below `crates/`: the ones that users depend on.
    pub(crate) fn products(&self) -> impl Iterator<Item = (&str, &Package, &Ours)> {
        self.ours().filter(|(_, _, ours)| ours.folder.starts_with("crates/"))
    }

    /// Our packages, with their ids.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&str, &Package, &Ours)> {
        self.packages.iter().filter_map(|(id, package)| Some((&**id, package, package.ours.as_ref()?)))
    }

    /// Every package that the users of `from` compile, with the way from `from` to it.
    pub(crate) fn reach<'w>(&'w self, from: &'w str) -> Vec<(&'w Package, String)> {
        let mut way_to = BTreeMap::from([(from, self.packages[from].name.clone())]);
        let mut queue = VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            for next in &self.packages[id].uses {
                if !way_to.contains_key(&**next) {
                    way_to.insert(next, format!("{} → {}", way_to[id], self.packages[next].name));
                    queue.push_back(next);
                }
            }
        }
        way_to.remove(from);
        way_to.into_iter().map(|(id, way)| (&self.packages[id], way)).collect()
    }
}

fn convert(package: &cargo_metadata::Package, metadata: &Metadata) -> Result<Package> {
    let node = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).find(|node| node.id == package.id);
    let uses = node.iter().flat_map(|node| &node.deps).filter(|dep| is_normal(dep));
    Ok(Package {
        name: package.name.to_string(),
        rust_version: package.rust_version.clone(),
        uses: uses.map(|dep| dep.pkg.repr.clone()).collect(),
        ours: metadata.workspace_members.contains(&package.id).then(|| ours(package)).transpose()?,
    })
}

fn is_normal(dep: &NodeDep) -> bool {
    dep.dep_kinds.iter().any(|info| info.kind == DependencyKind::Normal)
}

fn ours(package: &cargo_metadata::Package) -> Result<Ours> {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().unwrap_or(manifest);
    let versioned_dev = package.dependencies.iter().filter(|dependency| {
        dependency.kind == DependencyKind::Development
            && dependency.path.is_some()
            && !dependency.req.comparators.is_empty()
    });
    let mut sources = Vec::new();
    read_sources(folder, &mut sources)?;
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(Ours {
        folder: relative(folder)?,
        manifest: fs::read_to_string(manifest)?,
        entries: entries.collect::<Result<_>>()?,
        versioned_dev: versioned_dev.map(|dependency| dependency.name.clone()).collect(),
        sources,
    })
}

fn read_sources(folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source { path: relative(&path)?, text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

fn relative(path: &Path) -> Result<String> {
    let parts = path.strip_prefix(root())?.iter().map(|part| part.to_string_lossy());
    Ok(parts.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A workspace of these packages, each with the ids of those that it uses; `eventhubs*` are ours.
    pub(crate) fn workspace(packages: &[(&str, &[&str])]) -> Workspace {
        let packages = packages.iter().map(|(name, uses)| {
            let ours = name.starts_with("eventhubs");
            let ours = ours.then(|| Ours { folder: format!("crates/{name}"), ..Ours::default() });
            let uses = uses.iter().map(|id| (*id).to_owned()).collect();
            ((*name).to_owned(), Package { name: (*name).to_owned(), uses, ours, ..Package::default() })
        });
        Workspace { packages: packages.collect(), ..Workspace::default() }
    }

    /// A workspace of one of our packages with one source file.
    pub(crate) fn source(path: &str, text: &str) -> Workspace {
        let mut workspace = workspace(&[("eventhubs", &[])]);
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        ours(&mut workspace, "eventhubs").sources.push(source);
        workspace
    }

    pub(crate) fn ours<'w>(workspace: &'w mut Workspace, id: &str) -> &'w mut Ours {
        let package = workspace.packages.get_mut(id).expect("the fixture has it");
        package.ours.as_mut().expect("it is ours")
    }
}
