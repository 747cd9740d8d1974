//! Which file of a crate uses which: the paths in its `use` declarations and expressions, followed through
//! re-exports.
//!
//! The arguments of macros are not seen, and neither are tests.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// The path of a module, for example `["tap", "session"]`; empty for the crate's root.
type Module = Vec<String>;

/// One arrow: a file uses another. Paths are relative to `src`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) from: String,
    pub(crate) to: String,
}

/// The arrows between the files of one crate, given as paths relative to `src` and texts. The root is left
/// out: it declares every module, and re-exports are followed through it.
///
/// # Errors
/// A file cannot be parsed; the text names it.
pub(crate) fn uses(files: &[(&str, &str)]) -> Result<Vec<Use>, String> {
    let modules = Modules::read(files)?;
    let arrows = modules.files.iter().filter(|(module, _)| !module.is_empty()).flat_map(|(module, file)| {
        let targets = file.paths.iter().filter_map(|path| modules.resolve(module, path, MAX_HOPS));
        targets
            .filter(|to| !to.is_empty() && *to != *module)
            .map(|to| Use { from: file.path.clone(), to: modules.files[&to].path.clone() })
    });
    Ok(arrows.collect::<BTreeSet<_>>().into_iter().collect())
}

/// How many re-exports one path may go through; more is a circle of re-exports, which rustc refuses.
const MAX_HOPS: usize = 8;

#[derive(Debug, Default)]
struct Modules {
    files: BTreeMap<Module, File>,
}

#[derive(Debug, Default)]
struct File {
    path: String,
    /// The paths that the file uses, without its re-exports.
    paths: BTreeSet<Vec<String>>,
    /// The paths that it re-exports, by the name that they get.
    exports: BTreeMap<String, Vec<String>>,
    /// The modules that only tests have.
    tests: BTreeSet<String>,
}

impl Modules {
    fn read(files: &[(&str, &str)]) -> Result<Self, String> {
        let mut modules = Self::default();
        for (path, text) in files {
            let parsed = syn::parse_file(text).map_err(|error| format!("{path}: {error}"))?;
            let mut file = File { path: (*path).to_owned(), ..File::default() };
            file.visit_file(&parsed);
            modules.files.insert(module_of(path), file);
        }
        let tests = modules.test_modules();
        modules.files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Ok(modules)
    }

    fn test_modules(&self) -> Vec<Module> {
        let tests = self.files.iter().flat_map(|(module, file)| {
            file.tests.iter().map(|name| module.iter().chain([name]).cloned().collect())
        });
        tests.collect()
    }

    /// The module that has the item of this path; `None` where it is of another crate.
    fn resolve(&self, from: &Module, path: &[String], hops: usize) -> Option<Module> {
        let (mut at, mut rest) = self.start(from, path)?;
        while let Some((name, after)) = rest.split_first() {
            let child: Module = at.iter().chain([name]).cloned().collect();
            if self.files.contains_key(&child) {
                (at, rest) = (child, after);
                continue;
            }
            let Some(export) = self.files.get(&at).and_then(|file| file.exports.get(name)) else { break };
            return self.resolve(&at, export, hops.checked_sub(1)?);
        }
        Some(at)
    }

    /// Where a path begins, and what is left of it.
    fn start<'p>(&self, from: &Module, path: &'p [String]) -> Option<(Module, &'p [String])> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some((Module::new(), rest)),
            "self" => Some((from.clone(), rest)),
            "super" => {
                let mut at = from.clone();
                let ups = path.iter().take_while(|name| *name == "super").count();
                at.truncate(at.len().checked_sub(ups)?);
                Some((at, &path[ups..]))
            }
            name => {
                let child: Module =
                    from.iter().map(String::as_str).chain([name]).map(str::to_owned).collect();
                self.files.contains_key(&child).then_some((child, rest))
            }
        }
    }
}

fn module_of(path: &str) -> Module {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    stem.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(str::to_owned).collect()
}

impl Visit<'_> for File {
    fn visit_item(&mut self, item: &Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => self.skip(module),
            Item::Fn(function) if is_for_tests(&function.attrs) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let is_export = !matches!(item.vis, Visibility::Inherited);
        flatten(&item.tree, &mut Vec::new(), &mut |name, path| {
            if is_export {
                self.exports.insert(name, path);
            } else {
                self.paths.insert(path);
            }
        });
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// `pub(in path)` uses nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}
}

impl File {
    fn skip(&mut self, module: &ItemMod) {
        self.tests.insert(module.ident.to_string());
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = |tokens: &syn::MetaList| tokens.tokens.to_string().contains("test");
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(is_test)
    })
}

/// Calls `found` with each path of a `use` declaration and the name that it gets.
fn flatten(tree: &UseTree, path: &mut Vec<String>, found: &mut impl FnMut(String, Vec<String>)) {
    let mut leaf = |ident: &syn::Ident, name: &syn::Ident| {
        let ended = (ident != "self").then(|| ident.to_string());
        found(name.to_string(), path.iter().cloned().chain(ended).collect());
    };
    match tree {
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(rename) => leaf(&rename.ident, &rename.rename),
        UseTree::Glob(_) => found("*".to_owned(), path.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|item| flatten(item, path, found)),
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            flatten(&part.tree, path, found);
            path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let uses = uses(files).expect("they parse");
        uses.iter().map(|Use { from, to }| format!("{from} → {to}")).collect()
    }

    #[test]
    fn an_item_is_used_where_it_is_defined_not_where_it_is_exported() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use b::{inner::Deep, B};"),
            ("a.rs", "use crate::{B, Deep as D}; fn f() { std::mem::drop(1) }"),
            ("b.rs", "pub struct B; pub mod inner;"),
            ("b/inner.rs", "pub struct Deep;"),
        ];
        assert_eq!(arrows(&files), ["a.rs → b.rs", "a.rs → b/inner.rs"]);
    }

    #[test]
    fn children_parents_and_paths_in_expressions_count() {
        let files = [
            ("lib.rs", "mod a; mod c;"),
            ("a/mod.rs", "mod b; use b::B; fn f() { crate::c::g() } fn x(_: self::b::B) {}"),
            ("a/b.rs", "use super::f; pub struct B;"),
            ("c.rs", "pub fn g() {}"),
        ];
        assert_eq!(arrows(&files), ["a/b.rs → a/mod.rs", "a/mod.rs → a/b.rs", "a/mod.rs → c.rs"]);
    }

    #[test]
    fn tests_and_the_root_do_not_count() {
        let files = [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod peer; use a::A;"),
            ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] use crate::b;"),
            ("b.rs", "pub struct B;"),
            ("peer.rs", "use crate::b::B;"),
        ];
        assert!(arrows(&files).is_empty(), "{:?}", arrows(&files));
    }

    #[test]
    fn a_file_that_does_not_parse_is_named() {
        assert!(uses(&[("a.rs", "fn {")]).expect_err("no code").starts_with("a.rs: "));
    }
}
