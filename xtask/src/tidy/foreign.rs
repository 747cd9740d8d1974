//! No public signature names a type of a crate that changes more often than ours may: a new version of that
//! would break our users.
//!
//! Reads the sources, so items that a macro makes are not seen. `pub` is taken for public: the lint
//! `unreachable_pub` forbids it on anything else.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Field, ImplItem, Item, ItemImpl, Meta, Path, Type, UseTree, Visibility};

use super::arrows::matches;
use super::workspace::{Ours, Source, Workspace};

/// By the names that code uses.
const FOREIGN: &[&str] = &[
    "azure_*",
    "deadpool*",
    "fe2o3*",
    "http_types",
    "httparse",
    "hyper*",
    "percent_encoding",
    "quick_xml",
    "rand",
    "rand_core",
    "redb",
    "reqwest",
    "rustls*",
    "secrecy",
    "serde_amqp*",
    "smol_str",
    "socket2",
    "tokio_postgres_rustls",
    "tokio_rustls",
    "tokio_tungstenite",
    "tokio_util",
];

/// What a handler passes on to other libraries: the ecosystem has one cancellation token, unchanged since tokio-util 0.7.0.
const SHARED: &[&str] = &["tokio_util::sync::CancellationToken"];

/// What exists to adapt a foreign crate, and what nobody links.
const EXEMPT: &[&str] = &["eventhubs-azure-core", "eventhubs-cli"];

pub(crate) fn types_in_public_signatures(workspace: &Workspace) -> Vec<String> {
    let products = workspace.products().filter(|(_, package, _)| !EXEMPT.contains(&&*package.name));
    products.flat_map(|(_, _, ours)| breaches_of(ours)).collect()
}

fn breaches_of(ours: &Ours) -> Vec<String> {
    let src = format!("{}/src/", ours.folder);
    let sources = ours.sources.iter().filter(|source| source.path.starts_with(&src));
    let parsed: Vec<_> = sources.map(|source| (source, syn::parse_file(&source.text))).collect();
    let files = || parsed.iter().filter_map(|(source, file)| Some((*source, file.as_ref().ok()?)));
    let public: BTreeSet<_> = files().flat_map(|(_, file)| public_types(&file.items)).collect();
    let unread = parsed.iter().filter(|(_, file)| file.is_err());
    let unread = unread.map(|(source, _)| format!("{}: cannot be parsed", source.path));
    unread.chain(files().flat_map(|(source, file)| breaches_in(source, &file.items, &public))).collect()
}

fn public_types(items: &[Item]) -> Vec<String> {
    let name = |vis: &Visibility, ident: &syn::Ident| is_public(vis).then(|| ident.to_string());
    let public = items.iter().filter_map(|item| match item {
        Item::Struct(item) => name(&item.vis, &item.ident),
        Item::Enum(item) => name(&item.vis, &item.ident),
        _ => None,
    });
    public.collect()
}

fn breaches_in(source: &Source, items: &[Item], public: &BTreeSet<String>) -> Vec<String> {
    let mut finder = Finder { names: imported(items), public, found: BTreeSet::new() };
    for item in items {
        finder.public_item(item);
    }
    finder
        .found
        .into_iter()
        .map(|path| format!("{}: `{path}` is in a public signature", source.path))
        .collect()
}

/// The names that a file gets from other crates or modules, with what they are.
fn imported(items: &[Item]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for item in items {
        if let Item::Use(item) = item {
            import(&item.tree, "", &mut names);
        }
    }
    names
}

fn import(tree: &UseTree, prefix: &str, names: &mut BTreeMap<String, String>) {
    match tree {
        UseTree::Path(path) => import(&path.tree, &format!("{prefix}{}::", path.ident), names),
        UseTree::Name(name) if name.ident == "self" => {
            let path = prefix.trim_end_matches("::");
            let last = path.rsplit("::").next().unwrap_or(path);
            names.insert(last.to_owned(), path.to_owned());
        }
        UseTree::Name(name) => _ = names.insert(name.ident.to_string(), format!("{prefix}{}", name.ident)),
        UseTree::Rename(name) => _ = names.insert(name.rename.to_string(), format!("{prefix}{}", name.ident)),
        UseTree::Group(group) => group.items.iter().for_each(|tree| import(tree, prefix, names)),
        UseTree::Glob(_) => {}
    }
}

struct Finder<'a> {
    names: BTreeMap<String, String>,
    public: &'a BTreeSet<String>,
    found: BTreeSet<String>,
}

impl Finder<'_> {
    fn public_item(&mut self, item: &Item) {
        match item {
            Item::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
            Item::Struct(item) if is_public(&item.vis) => {
                self.visit_generics(&item.generics);
                item.fields.iter().filter(|field| is_public(&field.vis)).for_each(|field| self.field(field));
            }
            Item::Enum(item) if is_public(&item.vis) => {
                let fields = item.variants.iter().flat_map(|variant| &variant.fields);
                fields.for_each(|field| self.field(field));
            }
            Item::Trait(item) if is_public(&item.vis) => {
                item.supertraits.iter().for_each(|bound| self.visit_type_param_bound(bound));
                for item in &item.items {
                    match item {
                        syn::TraitItem::Fn(item) => self.visit_signature(&item.sig),
                        other => self.visit_trait_item(other),
                    }
                }
            }
            Item::Type(item) if is_public(&item.vis) => self.visit_item_type(item),
            Item::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Use(item) if is_public(&item.vis) => {
                let mut names = BTreeMap::new();
                import(&item.tree, "", &mut names);
                for path in names.values() {
                    self.name(path);
                }
            }
            Item::Mod(item) if is_public(&item.vis) && !is_test(&item.attrs) => {
                let items = item.content.iter().flat_map(|(_, items)| items);
                items.for_each(|item| self.public_item(item));
            }
            Item::Impl(item) => self.implementation(item),
            _ => {}
        }
    }

    fn field(&mut self, field: &Field) {
        self.visit_type(&field.ty);
    }

    fn implementation(&mut self, item: &ItemImpl) {
        if let Some((_, of, _)) = &item.trait_ {
            if is_named(&item.self_ty, self.public) {
                self.visit_path(of);
            }
            return;
        }
        for item in &item.items {
            match item {
                ImplItem::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
                ImplItem::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
                _ => {}
            }
        }
    }

    fn name(&mut self, path: &str) {
        let root = path.split("::").next().unwrap_or(path);
        if FOREIGN.iter().any(|pattern| matches(pattern, root)) && !SHARED.contains(&path) {
            self.found.insert(path.to_owned());
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        if let Some(first) = path.segments.first() {
            let first = first.ident.to_string();
            let rest = path.segments.iter().skip(1).map(|segment| format!("::{}", segment.ident));
            let root = self.names.get(&first).cloned().unwrap_or(first);
            self.name(&format!("{root}{}", rest.collect::<String>()));
        }
        visit::visit_path(self, path);
    }
}

/// Whether it is the type of one of these names, as far as its last segment tells.
pub(crate) fn is_named(ty: &Type, names: &BTreeSet<String>) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|last| names.contains(&last.ident.to_string()))
}

pub(crate) fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

/// Whether an item exists for tests only.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string().contains("test"),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::workspace::fixture::source;
    use super::*;

    fn breaches(text: &str) -> Vec<String> {
        let breaches = types_in_public_signatures(&source("crates/eventhubs/src/retry.rs", text));
        breaches.iter().map(|breach| breach.split('`').nth(1).unwrap_or(breach).to_owned()).collect()
    }

    #[test]
    fn a_foreign_type_in_each_kind_of_public_item_is_a_breach() {
        let import = "use rand::rngs::StdRng;\nuse secrecy::{self, SecretString as Key};\n";
        for (item, expected) in [
            ("pub fn f(rng: &mut StdRng) {}", "rand::rngs::StdRng"),
            ("pub fn f() -> Result<(), rustls::Error> {}", "rustls::Error"),
            ("pub fn f(key: impl Into<Key>) {}", "secrecy::SecretString"),
            ("pub fn f<R>(rng: R) where R: rand::Rng {}", "rand::Rng"),
            ("pub struct S { pub key: Option<Key> }", "secrecy::SecretString"),
            ("pub enum E { A(fe2o3_amqp::Sender) }", "fe2o3_amqp::Sender"),
            ("pub trait T { fn f(&self) -> StdRng; }", "rand::rngs::StdRng"),
            ("pub type T = Box<azure_core::Error>;", "azure_core::Error"),
            ("pub use rustls::ClientConfig;", "rustls::ClientConfig"),
            ("pub mod inner { pub fn f(_: rand::Error) {} }", "rand::Error"),
            ("struct S; impl S { pub fn f(&self, _: StdRng) {} }", "rand::rngs::StdRng"),
            ("pub struct S; impl From<rustls::Error> for S {}", "rustls::Error"),
        ] {
            assert_eq!(breaches(&format!("{import}{item}")), [expected], "{item}");
        }
    }

    #[test]
    fn a_foreign_type_that_nobody_outside_sees_is_fine() {
        for item in [
            "pub(crate) fn f(rng: &mut rand::rngs::StdRng) {}",
            "pub fn f() { let rng = rand::rng(); }",
            "pub struct S { rng: rand::rngs::StdRng }",
            "struct S; impl rustls::Verify for S {}",
            "pub struct S; impl S { fn f(&self, _: rand::Error) {} }",
            "#[cfg(test)]\npub mod tests { pub fn f(_: rand::Error) {} }",
            "pub fn f(rand: u64) -> Vec<u8> {}",
        ] {
            assert!(breaches(item).is_empty(), "{item}");
        }
    }
}
