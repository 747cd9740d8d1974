//! Who may use whom. A name may end in `*`, for any ending.

use super::workspace::Workspace;

/// Each of our crates, and those that it may use directly.
const ARROWS: &[(&str, &[&str])] = &[
    ("eventhubs-types", &[]),
    ("eventhubs-checkpoint-store", &["eventhubs-types"]),
    (
        "eventhubs-checkpoint-store-*",
        &["eventhubs-checkpoint-store", "eventhubs-dead-letters", "eventhubs-types"],
    ),
    ("eventhubs-dead-letters", &["eventhubs-types"]),
    ("eventhubs-load-balancer", &["eventhubs-checkpoint-store", "eventhubs-types"]),
    ("eventhubs-simulator", &["eventhubs-checkpoint-store", "eventhubs-load-balancer", "eventhubs-types"]),
    ("eventhubs-amqp-frames", &[]),
    ("eventhubs-amqp", &["eventhubs-amqp-frames", "eventhubs-types"]),
    ("eventhubs-azure-core", &["eventhubs-amqp"]),
    ("eventhubs-emulator", &["eventhubs-amqp-frames", "eventhubs-types"]),
    (
        "eventhubs",
        &[
            "eventhubs-amqp",
            "eventhubs-checkpoint-store",
            "eventhubs-dead-letters",
            "eventhubs-load-balancer",
            "eventhubs-types",
        ],
    ),
    ("eventhubs-opentelemetry", &["eventhubs"]),
    ("eventhubs-testkit", &["eventhubs"]),
    ("eventhubs-cli", &["eventhubs*"]),
];

const AMQP: &[&str] = &["fe2o3*", "serde_amqp*"];
const HTTP: &[&str] = &["azure_*", "http-types", "hyper*", "object_store", "reqwest"];
/// Without hyper-util, by which the AMQP side reads the proxies of the environment as the HTTP client of the
/// blob store does.
const HTTP_CLIENTS: &[&str] = &["azure_*", "http-types", "object_store", "reqwest"];
const TLS: &[&str] = &["rustls*", "tokio-rustls"];
const OPENSSL: &[&str] = &["openssl", "openssl-sys", "native-tls"];

/// Our crates, and what none of them may reach, directly or indirectly.
struct Wall {
    before: &'static [&'static str],
    never: &'static [&'static [&'static str]],
    why: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        before: &[
            "eventhubs-types",
            "eventhubs-checkpoint-store",
            "eventhubs-dead-letters",
            "eventhubs-load-balancer",
        ],
        never: &[AMQP, HTTP, TLS, OPENSSL],
        why: "the core can be tested without a network",
    },
    Wall { before: &["eventhubs-checkpoint-store-*"], never: &[AMQP], why: "stores know nothing of AMQP" },
    Wall {
        before: &["eventhubs", "eventhubs-amqp"],
        never: &[HTTP_CLIENTS],
        why: "only the blob store speaks HTTP",
    },
    Wall {
        before: &["eventhubs-amqp-frames"],
        never: &[AMQP, HTTP, TLS, OPENSSL],
        why: "bytes only: the crates above say what they mean, and by which AMQP library",
    },
    Wall { before: &["eventhubs-emulator"], never: &[HTTP], why: "the emulator speaks AMQP only" },
    Wall { before: &["*"], never: &[OPENSSL], why: "TLS is rustls; a default feature brings OpenSSL back" },
];

pub(crate) fn between_our_crates(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (_, package, _) in workspace.products() {
        let Some((_, may_use)) = ARROWS.iter().find(|(name, _)| matches(name, &package.name)) else {
            breaches.push(format!("{}: say in the table of arrows.rs what it may use", package.name));
            continue;
        };
        let used = package.uses.iter().map(|id| &workspace.packages[id]).filter(|used| used.ours.is_some());
        let unwanted = used.filter(|used| !any_matches(may_use, &used.name));
        breaches.extend(unwanted.map(|used| format!("{} must not use {}", package.name, used.name)));
    }
    breaches
}

pub(crate) fn to_foreign_crates(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for (id, package, _) in workspace.products() {
        let walls = WALLS.iter().filter(|wall| any_matches(wall.before, &package.name));
        for Wall { never, why, .. } in walls {
            let reached = workspace.reach(id).into_iter();
            let unwanted = reached.filter(|(to, _)| never.iter().any(|family| any_matches(family, &to.name)));
            breaches.extend(unwanted.map(|(_, way)| format!("{way}: {why}")));
        }
    }
    breaches
}

fn any_matches(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

pub(super) fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::workspace::fixture::workspace;
    use super::*;

    #[test]
    fn a_store_may_use_the_store_trait() {
        let workspace = workspace(&[
            ("eventhubs-checkpoint-store-blob", &["eventhubs-checkpoint-store", "reqwest"]),
            ("eventhubs-checkpoint-store", &[]),
            ("reqwest", &["rustls"]),
            ("rustls", &[]),
        ]);
        assert!(between_our_crates(&workspace).is_empty());
        assert!(to_foreign_crates(&workspace).is_empty());
    }

    #[test]
    fn a_store_that_uses_the_amqp_crate_is_a_breach() {
        let workspace = workspace(&[
            ("eventhubs-checkpoint-store-blob", &["eventhubs-amqp"]),
            ("eventhubs-amqp", &["fe2o3-amqp"]),
            ("fe2o3-amqp", &[]),
        ]);
        assert_eq!(
            between_our_crates(&workspace),
            ["eventhubs-checkpoint-store-blob must not use eventhubs-amqp"]
        );
        assert_eq!(
            to_foreign_crates(&workspace),
            ["eventhubs-checkpoint-store-blob → eventhubs-amqp → fe2o3-amqp: stores know nothing of AMQP"]
        );
    }

    #[test]
    fn an_emulator_in_the_product_is_a_breach() {
        let workspace = workspace(&[("eventhubs", &["eventhubs-emulator"]), ("eventhubs-emulator", &[])]);
        assert_eq!(between_our_crates(&workspace), ["eventhubs must not use eventhubs-emulator"]);
    }

    #[test]
    fn a_crate_without_a_row_is_a_breach() {
        let breaches = between_our_crates(&workspace(&[("eventhubs-surprise", &[])]));
        assert_eq!(breaches, ["eventhubs-surprise: say in the table of arrows.rs what it may use"]);
    }

    #[test]
    fn tls_below_the_load_balancer_is_a_breach_however_deep() {
        let workspace = workspace(&[
            ("eventhubs-load-balancer", &["a"]),
            ("a", &["b"]),
            ("b", &["rustls-webpki", "a"]),
            ("rustls-webpki", &[]),
        ]);
        assert_eq!(
            to_foreign_crates(&workspace),
            ["eventhubs-load-balancer → a → b → rustls-webpki: the core can be tested without a network"]
        );
    }

    #[test]
    fn openssl_is_a_breach_in_every_crate() {
        let workspace =
            workspace(&[("eventhubs-checkpoint-store-blob", &["openssl-sys"]), ("openssl-sys", &[])]);
        assert_eq!(to_foreign_crates(&workspace).len(), 1);
    }
}
