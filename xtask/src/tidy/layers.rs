//! The layers inside of a crate: which folder may use which, and no circle between files.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{self, Use};
use super::workspace::{Ours, Workspace};

/// The files of `src` itself, in a table of folders.
const ROOT: &str = ".";

/// What each folder of a crate may use besides itself. `src` itself may use all of them.
type Folders = &'static [(&'static str, &'static [&'static str])];

const FOLDERS: &[(&str, Folders)] = &[
    (
        "eventhubs",
        &[
            ("receive", &[ROOT, "policy"]),
            ("pump", &[ROOT, "policy"]),
            ("policy", &[ROOT]),
            ("dead_letters", &[ROOT]),
            ("status", &[ROOT]),
        ],
    ),
    (
        "eventhubs-emulator",
        &[
            ("api", &[ROOT, "auth", "event", "hub", "serve", "wire"]),
            ("serve", &[ROOT, "auth", "codec", "event", "hub", "transport", "wire"]),
            ("wire", &[ROOT, "auth", "codec"]),
            ("transport", &[ROOT]),
            ("hub", &[ROOT, "event"]),
            ("event", &[ROOT, "codec"]),
            ("codec", &[ROOT]),
            ("auth", &[ROOT]),
        ],
    ),
    (
        "eventhubs-amqp",
        &[
            ("producer", &[ROOT, "connection", "event", "recovery", "runtime"]),
            ("link", &["connection", "event", "recovery", "runtime", "tap"]),
            ("connection", &["config", "event", "recovery", "runtime", "tap", "transport"]),
            ("transport", &["config", "recovery", "runtime"]),
            ("config", &["recovery"]),
            ("tap", &["recovery"]),
            ("event", &["recovery"]),
            ("recovery", &["runtime"]),
            ("runtime", &[]),
        ],
    ),
];

/// A circle that stays.
struct Known {
    name: &'static str,
    files: &'static [&'static str],
    #[expect(dead_code, reason = "tells whoever reads the table")]
    why: &'static str,
}

const NOT_YET_TURNED: &str = "from before this rule";
const CIRCLES: &[Known] = &[
    Known {
        name: "eventhubs-load-balancer",
        files: &["balancer.rs", "handover.rs", "round.rs"],
        why: "one `impl Balancer` in three files",
    },
    Known {
        name: "eventhubs-simulator",
        files: &["scenario.rs", "scenario/valid.rs"],
        why: "the checks of one type in a file of their own",
    },
    Known {
        name: "eventhubs-emulator",
        files: &["builder.rs", "emulator.rs"],
        why: "an emulator hands out the builder that starts it",
    },
    Known {
        name: "eventhubs-amqp",
        files: &["client.rs", "receiver_builder.rs"],
        why: "a client hands out a builder that holds it",
    },
    Known {
        name: "eventhubs-amqp",
        files: &["connection/engine.rs", "connection/session.rs"],
        why: NOT_YET_TURNED,
    },
    Known {
        name: "eventhubs-amqp",
        files: &["recovery/conditions.rs", "recovery/error.rs"],
        why: NOT_YET_TURNED,
    },
];

pub(crate) fn between_folders(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (_, package, ours) in workspace.products() {
        let Some((_, table)) = FOLDERS.iter().find(|(name, _)| *name == package.name) else { continue };
        match uses(ours) {
            Ok(uses) => {
                breaches.extend(against(table, &uses).map(|breach| format!("{}: {breach}", package.name)));
            }
            Err(error) => breaches.push(format!("{}: {error}", package.name)),
        }
    }
    breaches
}

pub(crate) fn circles(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (_, package, ours) in workspace.products() {
        let known = |circle: &Vec<&str>| {
            CIRCLES.iter().any(|known| known.name == package.name && circle == known.files)
        };
        match uses(ours) {
            Ok(uses) => {
                let circles = circles_of(&uses).into_iter().filter(|circle| !known(circle));
                breaches.extend(circles.map(|circle| format!("{}: {}", package.name, circle.join(" ↔ "))));
            }
            Err(error) => breaches.push(format!("{}: {error}", package.name)),
        }
    }
    breaches
}

fn uses(ours: &Ours) -> Result<Vec<Use>, String> {
    let src = format!("{}/src/", ours.folder);
    let files =
        ours.sources.iter().filter_map(|source| Some((source.path.strip_prefix(&src)?, &*source.text)));
    modules::uses(&files.collect::<Vec<_>>())
}

fn against(table: &[(&str, &[&str])], uses: &[Use]) -> impl Iterator<Item = String> {
    uses.iter().filter_map(|Use { from, to }| {
        let (reader, read) = (folder(from), folder(to));
        if reader == read || reader == ROOT {
            return None;
        }
        match table.iter().find(|(name, _)| *name == reader) {
            Some((_, allowed)) if allowed.contains(&read) => None,
            Some(_) => Some(format!("{from} must not use {to}")),
            None => Some(format!("{from}: say in the table of layers.rs what {reader}/ may use")),
        }
    })
}

fn folder(path: &str) -> &str {
    path.split_once('/').map_or(ROOT, |(folder, _)| folder)
}

/// The sets of files that use each other, each sorted.
fn circles_of(uses: &[Use]) -> Vec<Vec<&str>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Use { from, to } in uses {
        next.entry(from).or_default().insert(to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|from| (*from, reach(from, &next))).collect();
    let mutual = |file: &&str| {
        let others =
            reached[file].iter().filter(|to| reached.get(**to).is_some_and(|back| back.contains(file)));
        others.copied().collect::<Vec<_>>()
    };
    let circles: BTreeSet<Vec<&str>> = next.keys().map(mutual).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().collect()
}

fn reach<'u>(from: &str, next: &BTreeMap<&str, BTreeSet<&'u str>>) -> BTreeSet<&'u str> {
    let mut reached = BTreeSet::new();
    let mut queue: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = queue.pop() {
        if reached.insert(file) {
            queue.extend(next.get(file).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[(&str, &[&str])] = &[("link", &["codec"]), ("codec", &[])];

    fn breaches(from: &str, to: &str) -> Vec<String> {
        against(TABLE, &[arrow(from, to)]).collect()
    }

    fn arrow(from: &str, to: &str) -> Use {
        Use { from: from.to_owned(), to: to.to_owned() }
    }

    #[test]
    fn a_folder_may_use_itself_and_what_its_row_allows() {
        assert!(breaches("link/attach.rs", "codec/frame.rs").is_empty());
        assert!(breaches("link/attach.rs", "link/mod.rs").is_empty());
        assert!(breaches("client.rs", "link/mod.rs").is_empty());
    }

    #[test]
    fn an_arrow_that_its_row_does_not_allow_is_a_breach() {
        assert_eq!(breaches("codec/frame.rs", "link/mod.rs"), ["codec/frame.rs must not use link/mod.rs"]);
        assert_eq!(breaches("link/mod.rs", "client.rs"), ["link/mod.rs must not use client.rs"]);
    }

    #[test]
    fn a_folder_without_a_row_is_a_breach() {
        let expected = ["new/mod.rs: say in the table of layers.rs what new/ may use"];
        assert_eq!(breaches("new/mod.rs", "codec/frame.rs"), expected);
    }

    #[test]
    fn files_that_use_each_other_by_however_many_steps_are_a_circle() {
        let uses = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d"), ("a", "f")];
        let uses = uses.map(|(from, to)| arrow(from, to));
        assert_eq!(circles_of(&uses), [vec!["a", "b", "c"], vec!["d", "e"]]);
    }

    #[test]
    fn arrows_in_one_direction_are_no_circle() {
        assert!(circles_of(&[arrow("a", "b"), arrow("b", "c"), arrow("a", "c")]).is_empty());
    }
}
