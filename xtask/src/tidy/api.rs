//! `docs/api/<crate>.txt` is the public API of each library below `crates/`, so that a change of it is seen in
//! review as one of a file. `cargo xtask api` writes the files.
//!
//! Reads the sources, as [`foreign`](super::foreign) does and with its limits: items that a macro makes are not
//! seen. It needs no tool and no nightly compiler, which the JSON of rustdoc does.

use std::collections::BTreeSet;
use std::fs;

use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, ItemTrait, Path, Token, TraitItem, UseTree};

use super::api_text::text;
use super::foreign::{is_named, is_public, is_test};
use super::workspace::{Ours, Workspace};
use crate::shell::{Result, root};

/// Where the files are, relative to the workspace.
const FOLDER: &str = "docs/api";

/// The first lines of each file.
const HEADER: &str = "# The public API, one item per line. `cargo xtask api` writes this file.\n";

pub(crate) fn is_as_recorded(workspace: &Workspace) -> Vec<String> {
    let recorded = |name: &str| fs::read_to_string(root().join(path(name))).unwrap_or_default();
    let changed = libraries(workspace).filter(|(name, ours)| recorded(name) != api(ours));
    let told = changed.map(|(name, _)| format!("{}: run `cargo xtask api` and review its diff", path(name)));
    told.collect()
}

/// Writes the file of each library.
pub(crate) fn record(workspace: &Workspace) -> Result<()> {
    fs::create_dir_all(root().join(FOLDER))?;
    for (name, ours) in libraries(workspace) {
        fs::write(root().join(path(name)), api(ours))?;
    }
    Ok(())
}

fn path(package: &str) -> String {
    format!("{FOLDER}/{package}.txt")
}

fn libraries(workspace: &Workspace) -> impl Iterator<Item = (&str, &Ours)> {
    let has_library = |ours: &Ours| {
        let lib = format!("{}/src/lib.rs", ours.folder);
        ours.sources.iter().any(|source| source.path == lib)
    };
    let products = workspace.products().filter(move |(_, _, ours)| has_library(ours));
    products.map(|(_, package, ours)| (&*package.name, ours))
}

fn api(ours: &Ours) -> String {
    let src = format!("{}/src/", ours.folder);
    let sources = ours.sources.iter().filter(|source| source.path.starts_with(&src));
    let files: Vec<_> = sources.filter_map(|source| syn::parse_file(&source.text).ok()).collect();
    let mut listing = Listing::default();
    // The names first: which implementations are listed depends on them.
    for file in &files {
        listing.name_types(&file.items);
    }
    for file in &files {
        listing.items("", &file.items);
    }
    listing.lines.sort_unstable();
    format!("{HEADER}{}\n", listing.lines.join("\n"))
}

#[derive(Default)]
struct Listing {
    /// The names of the public types and traits of the crate.
    types: BTreeSet<String>,
    lines: Vec<String>,
}

impl Listing {
    fn name_types(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Struct(item) if is_public(&item.vis) => _ = self.types.insert(item.ident.to_string()),
                Item::Enum(item) if is_public(&item.vis) => _ = self.types.insert(item.ident.to_string()),
                Item::Trait(item) if is_public(&item.vis) => _ = self.types.insert(item.ident.to_string()),
                Item::Mod(item) if is_public(&item.vis) => {
                    item.content.iter().for_each(|(_, items)| self.name_types(items));
                }
                _ => {}
            }
        }
    }

    fn items(&mut self, module: &str, items: &[Item]) {
        for item in items {
            self.item(module, item);
        }
    }

    fn item(&mut self, module: &str, item: &Item) {
        match item {
            Item::Fn(item) if is_public(&item.vis) => {
                self.line(&item.attrs, &format!("{module}{}", text(&item.sig)));
            }
            Item::Struct(item) if is_public(&item.vis) => {
                self.data(module, "struct", &item.attrs, &item.ident, &item.generics);
                self.fields(&item.ident.to_string(), &item.fields, |field| is_public(&field.vis));
            }
            Item::Enum(item) if is_public(&item.vis) => {
                self.data(module, "enum", &item.attrs, &item.ident, &item.generics);
                for variant in &item.variants {
                    let name = format!("{}::{}", item.ident, variant.ident);
                    self.line(&variant.attrs, &name);
                    self.fields(&name, &variant.fields, |_| true);
                }
            }
            Item::Trait(item) if is_public(&item.vis) => self.definition(module, item),
            Item::Type(item) if is_public(&item.vis) => {
                let (name, generics) = (&item.ident, text(&item.generics));
                self.line(&item.attrs, &format!("{module}type {name}{generics} = {}", text(&item.ty)));
            }
            Item::Const(item) if is_public(&item.vis) => {
                self.line(&item.attrs, &format!("{module}const {}: {}", item.ident, text(&item.ty)));
            }
            Item::Use(item) if is_public(&item.vis) => self.exports(&item.attrs, module, &item.tree, ""),
            Item::Mod(item) if is_public(&item.vis) && !is_test(&item.attrs) => {
                self.line(&item.attrs, &format!("{module}mod {}", item.ident));
                let inner = format!("{module}{}::", item.ident);
                item.content.iter().for_each(|(_, items)| self.items(&inner, items));
            }
            Item::Macro(item)
                if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) =>
            {
                let name = item.ident.iter().map(ToString::to_string).collect::<String>();
                self.line(&item.attrs, &format!("macro {name}!"));
            }
            Item::Impl(item) => self.implementation(item),
            _ => {}
        }
    }

    fn data(
        &mut self,
        module: &str,
        kind: &str,
        attributes: &[Attribute],
        ident: &syn::Ident,
        generics: &syn::Generics,
    ) {
        let bounds = text(&generics.where_clause);
        self.line(attributes, &format!("{module}{kind} {ident}{} {bounds}", text(generics)));
        for derived in derives(attributes) {
            self.lines.push(format!("impl {} for {ident}", text(&derived)));
        }
    }

    fn fields(&mut self, of: &str, fields: &Fields, is_seen: impl Fn(&syn::Field) -> bool) {
        for (index, field) in fields.iter().enumerate().filter(|(_, field)| is_seen(field)) {
            let name = field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
            self.line(&field.attrs, &format!("{of}.{name}: {}", text(&field.ty)));
        }
    }

    fn definition(&mut self, module: &str, item: &ItemTrait) {
        let (name, bounds) = (&item.ident, text(&item.supertraits));
        self.line(&item.attrs, &format!("{module}trait {name}{}: {bounds}", text(&item.generics)));
        for item in &item.items {
            match item {
                TraitItem::Fn(item) => {
                    // A method with a default may be added later; one without may not.
                    let default = if item.default.is_some() { " { .. }" } else { "" };
                    self.line(&item.attrs, &format!("{name}::{}{default}", text(&item.sig)));
                }
                TraitItem::Type(item) => {
                    self.line(&item.attrs, &format!("{name}::type {}: {}", item.ident, text(&item.bounds)));
                }
                TraitItem::Const(item) => {
                    self.line(&item.attrs, &format!("{name}::const {}: {}", item.ident, text(&item.ty)));
                }
                _ => {}
            }
        }
    }

    fn implementation(&mut self, item: &ItemImpl) {
        if is_test(&item.attrs) {
            return;
        }
        let (generics, of) = (text(&item.generics), text(&item.self_ty));
        let bounds = text(&item.generics.where_clause);
        let Some((not, implemented, _)) = &item.trait_ else {
            return self.methods(format!("impl{generics} {of} {bounds}").trim_end(), &item.items);
        };
        let is_ours = |path: &Path| {
            path.segments.last().is_some_and(|last| self.types.contains(&last.ident.to_string()))
        };
        if is_named(&item.self_ty, &self.types) || is_ours(implemented) {
            let implemented = format!("{}{}", text(not), text(implemented));
            self.line(&item.attrs, &format!("impl{generics} {implemented} for {of} {bounds}"));
        }
    }

    fn methods(&mut self, of: &str, items: &[ImplItem]) {
        for item in items {
            match item {
                ImplItem::Fn(item) if is_public(&item.vis) => {
                    self.line(&item.attrs, &format!("{of}: {}", text(&item.sig)));
                }
                ImplItem::Const(item) if is_public(&item.vis) => {
                    self.line(&item.attrs, &format!("{of}: const {}: {}", item.ident, text(&item.ty)));
                }
                _ => {}
            }
        }
    }

    /// One line per name, so that the diff of a re-export shows what is new.
    fn exports(&mut self, attributes: &[Attribute], module: &str, tree: &UseTree, path: &str) {
        match tree {
            UseTree::Path(tree) => {
                self.exports(attributes, module, &tree.tree, &format!("{path}{}::", tree.ident));
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.exports(attributes, module, tree, path));
            }
            leaf => self.line(attributes, &format!("{module}use {path}{}", text(leaf))),
        }
    }

    /// Adds an item with those of its attributes that users depend on.
    fn line(&mut self, attributes: &[Attribute], item: &str) {
        if is_test(attributes) {
            return;
        }
        let matters = |attribute: &&Attribute| {
            ["cfg", "deprecated", "non_exhaustive"].iter().any(|name| attribute.path().is_ident(name))
        };
        let attributes = attributes.iter().filter(matters);
        let mut words = vec![item.trim_end_matches([' ', ':', ',']).to_owned()];
        words.extend(attributes.map(text));
        self.lines.push(words.join(" "));
    }
}

fn derives(attributes: &[Attribute]) -> Vec<Path> {
    let derives = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    let paths = derives
        .filter_map(|derive| derive.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated).ok());
    paths.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::workspace::fixture;
    use super::*;

    fn listed(source: &str) -> Vec<String> {
        let mut workspace = fixture::source("crates/eventhubs/src/lib.rs", source);
        let api = api(fixture::ours(&mut workspace, "eventhubs"));
        api.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn each_public_item_has_a_line_and_no_private_one() {
        let source = "
            pub use inner::{One, two as Two};
            #[derive(Debug, Clone)] #[non_exhaustive]
            pub struct Client<T: Send> { pub id: u64, secret: T }
            pub(crate) struct Hidden;
            impl Clone for Hidden {}
            impl<T: Send> Client<T> {
                pub async fn send(&self, to: &[(u8, String)]) -> Result<Vec<T>, Error> { todo!() }
                fn inner(&self) {}
            }
            impl<T: Send> Drop for Client<T> { fn drop(&mut self) {} }
            #[cfg(feature = \"more\")]
            pub fn more(f: impl Fn(u8) -> bool) {}
            #[cfg(test)] pub fn test() {}";
        assert_eq!(
            listed(source),
            [
                "Client.id: u64",
                "fn more(f: impl Fn(u8) -> bool) #[cfg(feature = \"more\")]",
                "impl Clone for Client",
                "impl Debug for Client",
                "impl<T: Send> Client<T>: async fn send(&self, to: &[(u8, String)]) -> Result<Vec<T>, Error>",
                "impl<T: Send> Drop for Client<T>",
                "struct Client<T: Send> #[non_exhaustive]",
                "use inner::One",
                "use inner::two as Two",
            ]
        );
    }

    #[test]
    fn a_method_with_a_default_is_told_from_one_without() {
        let source =
            "pub trait Store: Send { fn list(&self) -> u8; fn limit(&self) -> usize { 1 } type Row: Send; }";
        assert_eq!(
            listed(source),
            [
                "Store::fn limit(&self) -> usize { .. }",
                "Store::fn list(&self) -> u8",
                "Store::type Row: Send",
                "trait Store: Send"
            ]
        );
    }

    #[test]
    fn variants_and_their_fields_are_listed() {
        assert_eq!(
            listed("pub enum Kind { Plain, Of(u8), With { name: &'static str } }"),
            [
                "Kind::Of",
                "Kind::Of.0: u8",
                "Kind::Plain",
                "Kind::With",
                "Kind::With.name: &'static str",
                "enum Kind"
            ]
        );
    }

    #[test]
    fn a_change_that_is_not_recorded_is_a_breach() {
        let workspace = fixture::source("crates/eventhubs/src/lib.rs", "pub fn only_in_this_test() {}");
        assert_eq!(is_as_recorded(&workspace).len(), 1);
    }
}
