//! `cargo xtask bench`.

use std::process::Command;

use crate::shell::{Result, cargo, run, target};
use crate::tools;

/// The readers that are not programs of ours.
const FOREIGN: &[&str] = &["python", "python-aio", "js", "official-rust"];

/// Builds the benchmark as users build our crates, installs what it compares with, and hands `arguments` on.
pub(crate) fn start(arguments: &[&str]) -> Result<()> {
    let target = target()?;
    if needs_foreign(arguments) {
        tools::install_compared(&target)?;
    }
    let packages = ["--package", "eventhubs-bench", "--package", "eventhubs-cli"];
    run(cargo(["build", "--release", "--quiet"]).args(packages))?;
    run(Command::new(target.join("release/eventhubs-bench")).args(arguments))
}

fn needs_foreign(arguments: &[&str]) -> bool {
    let help_or_quick = ["-h", "--help", "help", "--quick"];
    if arguments.is_empty() || arguments.iter().any(|argument| help_or_quick.contains(argument)) {
        return false;
    }
    if arguments.first().is_some_and(|what| *what != "receive") {
        return false;
    }
    match only(arguments) {
        Some(readers) => readers.split(',').any(|reader| FOREIGN.contains(&reader)),
        None => true,
    }
}

fn only<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument.starts_with("--only"))?;
    match arguments[at].strip_prefix("--only=") {
        Some(readers) => Some(readers),
        None => arguments.get(at + 1).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_programs_are_installed_only_for_the_readers_that_need_them() {
        for line in ["receive", "receive --json", "receive --only limit,js", "receive --only=official-rust"] {
            assert!(needs_foreign(&line.split(' ').collect::<Vec<_>>()), "{line}");
        }
        for line in [
            "--help",
            "receive --help",
            "receive --quick",
            "receive --only limit,receive",
            "receive --only=limit",
            "emulator",
            "emulator --json",
            "slow --json",
            "idle",
        ] {
            assert!(!needs_foreign(&line.split(' ').collect::<Vec<_>>()), "{line}");
        }
    }
}
