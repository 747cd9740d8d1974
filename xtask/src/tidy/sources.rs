//! Words that some of our sources must not contain.

use super::workspace::{Source, Workspace};

const PLANNING: &[&str] = &[
    "crates/eventhubs-load-balancer/src/lease.rs",
    "crates/eventhubs-load-balancer/src/plan.rs",
    "crates/eventhubs-load-balancer/src/view.rs",
];

const IMPURE: &[&[&str]] = &[
    &["async"],
    &["await"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["rand", "rng"],
    &["rand", "random"],
];

const SOCKETS: &[&[&str]] = &[&["TcpStream", "connect"], &["TcpSocket"], &["UdpSocket"]];
const MAY_OPEN_SOCKETS: &[&str] = &["crates/eventhubs-amqp/src/transport", "crates/eventhubs-emulator/src/"];

/// Time and randomness are arguments, so that a test can replay each plan.
pub(crate) fn planning_is_pure(workspace: &Workspace) -> Vec<String> {
    let mut breaches = Vec::new();
    for path in PLANNING {
        match product_sources(workspace).find(|source| source.path == *path) {
            Some(source) => breaches.extend(find(source, IMPURE)),
            None => breaches.push(format!("{path} is gone: say in sources.rs where planning lives now")),
        }
    }
    breaches
}

/// Whoever wants to know what goes over the wire reads one file.
pub(crate) fn sockets(workspace: &Workspace) -> Vec<String> {
    let other = product_sources(workspace)
        .filter(|source| !MAY_OPEN_SOCKETS.iter().any(|start| source.path.starts_with(start)));
    other.flat_map(|source| find(source, SOCKETS)).collect()
}

const LIBRARY: &[&[&str]] = &[&["fe2o3_amqp"], &["fe2o3_amqp_types"], &["serde_amqp"]];
const WITHOUT_LIBRARY: &str = "crates/eventhubs-amqp/src/event/";

/// What the AMQP library makes of a message is the oracle of this folder, so the folder may not use it.
pub(crate) fn events_are_read_by_hand(workspace: &Workspace) -> Vec<String> {
    let sources: Vec<_> =
        product_sources(workspace).filter(|source| source.path.starts_with(WITHOUT_LIBRARY)).collect();
    if sources.is_empty() {
        return vec![format!("{WITHOUT_LIBRARY} is gone: say in sources.rs where events are read now")];
    }
    sources.into_iter().flat_map(|source| find(source, LIBRARY)).collect()
}

/// A test that does not run looks green.
pub(crate) fn no_test_is_ignored(workspace: &Workspace) -> Vec<String> {
    let sources = workspace.ours().flat_map(|(_, _, ours)| &ours.sources);
    let ignored = sources.flat_map(|source| {
        let lines = source.text.lines().zip(1..);
        let ignored =
            lines.filter(|(line, _)| line.trim_start().starts_with("#[ignore") || is_ignored_doctest(line));
        ignored.map(|(line, number)| format!("{}:{number}: {}", source.path, line.trim()))
    });
    ignored.collect()
}

fn is_ignored_doctest(line: &str) -> bool {
    let doc = line.trim_start().trim_start_matches(['/', '!']).trim_start();
    doc.strip_prefix("```")
        .is_some_and(|attributes| attributes.split(',').any(|attribute| attribute.trim() == "ignore"))
}

fn product_sources(workspace: &Workspace) -> impl Iterator<Item = &Source> {
    let sources = workspace.products().flat_map(|(_, _, ours)| &ours.sources);
    sources.filter(|source| source.path.contains("/src/"))
}

/// Where one of the word sequences occurs in the code; comments and unit tests do not count.
fn find(source: &Source, unwanted: &[&[&str]]) -> Vec<String> {
    let words = words(&source.text);
    let found = |at: usize| {
        let rest = || words[at..].iter().map(|(_, word)| *word);
        let sequence =
            unwanted.iter().find(|sequence| rest().take(sequence.len()).eq(sequence.iter().copied()))?;
        Some(format!("{}:{}: `{}`", source.path, words[at].0, sequence.join("::")))
    };
    (0..words.len()).filter_map(found).collect()
}

/// The identifiers and keywords of the code, with their line numbers.
fn words(text: &str) -> Vec<(usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines =
        code.lines().zip(1..).map(|(line, number)| (number, line.split("//").next().unwrap_or_default()));
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let words =
        lines.flat_map(|(number, line)| line.split(move |c| !is_part(c)).map(move |word| (number, word)));
    words.filter(|(_, word)| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::workspace::fixture::source;
    use super::*;

    const PLAN: &str = "crates/eventhubs-load-balancer/src/plan.rs";

    fn in_plan(text: &str) -> Vec<String> {
        let mut breaches = planning_is_pure(&source(PLAN, text));
        breaches.retain(|breach| breach.starts_with(PLAN));
        breaches
    }

    #[test]
    fn a_clock_in_a_plan_is_a_breach_with_its_line() {
        let breaches = in_plan("fn f() {\n    let now = tokio::time::Instant::now();\n}\n");
        assert_eq!(breaches, [format!("{PLAN}:2: `Instant::now`")]);
    }

    #[test]
    fn async_and_global_randomness_in_a_plan_are_breaches() {
        assert_eq!(in_plan("async fn f() {}").len(), 1);
        assert_eq!(in_plan("use rand::{rng, RngExt};").len(), 1);
        assert_eq!(in_plan("use rand::{\n    random,\n};").len(), 1);
    }

    #[test]
    fn seeded_randomness_comments_and_unit_tests_are_fine() {
        let text = "// never async\nuse rand::rngs::StdRng;\nfn f(now: Instant) {}\n\
                    #[cfg(test)]\nmod tests {\n    async fn g() {}\n}\n";
        assert!(in_plan(text).is_empty());
    }

    #[test]
    fn a_planning_file_that_moved_is_a_breach() {
        let breaches = planning_is_pure(&source(PLAN, ""));
        assert_eq!(breaches.len(), PLANNING.len() - 1, "{breaches:?}");
    }

    #[test]
    fn an_ignored_test_is_a_breach_and_so_is_an_ignored_doctest() {
        let test = source("crates/eventhubs/tests/it/main.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}");
        assert_eq!(no_test_is_ignored(&test).len(), 1);
        let doctest = source("crates/eventhubs/src/lib.rs", "//! ```rust,ignore\n//! f();\n//! ```\n");
        assert_eq!(no_test_is_ignored(&doctest), ["crates/eventhubs/src/lib.rs:1: //! ```rust,ignore"]);
        assert!(no_test_is_ignored(&source("crates/eventhubs/src/lib.rs", "/// ```no_run\n")).is_empty());
    }

    #[test]
    fn the_amqp_library_in_the_reading_of_events_is_a_breach() {
        let path = "crates/eventhubs-amqp/src/event/message.rs";
        let by_library = source(path, "use bytes::Bytes;\nuse serde_amqp::Value;\n");
        assert_eq!(events_are_read_by_hand(&by_library), [format!("{path}:2: `serde_amqp`")]);
        assert!(events_are_read_by_hand(&source(path, "use bytes::Bytes; // not serde_amqp\n")).is_empty());
        let elsewhere = source("crates/eventhubs-amqp/src/link/attach.rs", "use serde_amqp::Value;\n");
        assert_eq!(events_are_read_by_hand(&elsewhere).len(), 1, "the folder is gone");
    }

    #[test]
    fn a_socket_outside_the_transport_is_a_breach() {
        let text = "let stream = TcpStream::connect(address).await?;";
        let elsewhere = source("crates/eventhubs-amqp/src/receiver.rs", text);
        assert_eq!(sockets(&elsewhere), ["crates/eventhubs-amqp/src/receiver.rs:1: `TcpStream::connect`"]);
        assert!(sockets(&source("crates/eventhubs-amqp/src/transport.rs", text)).is_empty());
        assert!(sockets(&source("crates/eventhubs-emulator/src/server.rs", text)).is_empty());
    }
}
