//! `cargo xtask bench`.

use std::process::Command;

use crate::help;
use crate::shell::{Result, cargo, run, target};
use crate::tools;

/// The readers that are foreign programs.
const FOREIGN: &[&str] = &["python", "python-aio", "js", "official-rust"];

/// What is measured, each with the help that the benchmark itself gives.
const HELP: &[(&str, &str)] = &[
    ("receive", include_str!("../bench/help/receive.txt")),
    ("slow", include_str!("../bench/help/slow.txt")),
    ("idle", include_str!("../bench/help/idle.txt")),
    ("emulator", include_str!("../bench/help/emulator.txt")),
];

const OVERVIEW: &str = include_str!("../bench/help/bench.txt");

/// Builds the benchmark as users build our crates, installs what it compares with, and hands `arguments` on.
/// Help and mistakes come before the work that they can come before.
pub(crate) fn start(arguments: &[&str]) -> Result<()> {
    let Some(help) = help_for(arguments)? else {
        println!("{}", OVERVIEW.trim_end());
        return Ok(());
    };
    if help::is_wanted(arguments) {
        println!("{}", help.trim_end());
        return Ok(());
    }
    help::check_options(help, arguments)?;
    let target = target()?;
    let packages = ["--package", "eventhubs-bench", "--package", "eventhubs-cli"];
    run(cargo(["build", "--release", "--quiet"]).args(packages))?;
    let program = target.join("release/eventhubs-bench");
    // A mistake in a value shows here, before minutes of installing.
    run(Command::new(&program).args(arguments).env("EVENTHUBS_BENCH_ONLY_CHECK", "1"))?;
    if needs_foreign(arguments) {
        tools::install_compared(&target)?;
    }
    run(Command::new(program).args(arguments))
}

/// The help of what is to be measured; `None` for the help of all.
fn help_for(arguments: &[&str]) -> Result<Option<&'static str>> {
    match arguments.first() {
        None | Some(&("-h" | "--help" | "help")) => Ok(None),
        Some(what) => match HELP.iter().find(|(name, _)| name == what) {
            Some((_, help)) => Ok(Some(help)),
            None => Err(format!("unknown benchmark {what}\n\n{}", OVERVIEW.trim_end()).into()),
        },
    }
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
    fn help_and_mistakes_come_before_any_work() {
        assert!(help_for(&["--help"]).unwrap().is_none());
        assert!(help_for(&["receive", "--help"]).unwrap().unwrap().contains("--only"));
        assert!(help_for(&["recieve"]).unwrap_err().to_string().starts_with("unknown benchmark recieve"));
        assert!(start(&["receive", "--onyl", "js"]).is_err());
    }

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
