//! `cargo xtask soak`: what shows once in some hundred runs, and only on a machine that is busy; deploys without
//! end, kills, and handlers with faults.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use cargo_metadata::Message;

use crate::shell::{Result, cargo, output, root, target};

const SEEDS: Range<u64> = 1..31;
const COPIES: usize = 30;
const MOST_COPIES: usize = 200;

/// Enough for more than 500 hand-overs.
const DEPLOYS: usize = 8;
/// With these, 250 000 events: 100 kills and 25 suspensions on each store.
const KILLS: usize = 125;
/// With these, 200 000 events on each store.
const HANDLER_ROUNDS: usize = 400;
const MOST_ROUNDS: usize = 1000;

/// Plays each schedule of faults in many processes at once; `arguments` are the seeds and the number of
/// copies.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    if let ["deploys", arguments @ ..] = arguments {
        let rounds = number("deploys", arguments, DEPLOYS)?;
        return play("deploys::", "EVENTHUBS_DEPLOY_ROUNDS", rounds);
    }
    if let ["kills", arguments @ ..] = arguments {
        return play("exactly_once::", "EVENTHUBS_KILLS", number("kills", arguments, KILLS)?);
    }
    if let ["handlers", arguments @ ..] = arguments {
        let rounds = number("handlers", arguments, HANDLER_ROUNDS)?;
        return play("handlers::", "EVENTHUBS_HANDLER_ROUNDS", rounds);
    }
    let (seeds, copies) = read(arguments)?;
    let program = build()?;
    let logs = target()?.join("soak");
    fs::create_dir_all(&logs)?;
    let mut failed = Vec::new();
    for seed in seeds {
        let before = failed.len();
        let started: Vec<_> =
            (0..copies).map(|copy| start(&program, &logs, seed, copy)).collect::<Result<_>>()?;
        for (mut child, log) in started {
            if child.wait()?.success() { fs::remove_file(log)? } else { failed.push(log) }
        }
        println!("seed {seed}: {} of {copies} hold", copies - (failed.len() - before));
    }
    match &failed[..] {
        [] => Ok(()),
        [first, ..] => Err(format!("{} runs failed, the first: {}", failed.len(), first.display()).into()),
    }
}

/// Plays the tests whose names begin so as often as the variable says.
fn play(name: &str, variable: &str, rounds: usize) -> Result<()> {
    let mut playing = test(&build()?, name);
    let is_ok = playing.env(variable, rounds.to_string()).status()?.success();
    if is_ok { Ok(()) } else { Err(format!("{name} failed: see above").into()) }
}

fn number(what: &str, arguments: &[&str], default: usize) -> Result<usize> {
    match arguments.first().map(|rounds| rounds.parse()) {
        None => Ok(default),
        Some(Ok(rounds @ 1..=MOST_ROUNDS)) if arguments.len() == 1 => Ok(rounds),
        _ => {
            let given = arguments.join(" ");
            Err(format!("{what} {given}: give one number from 1 to {MOST_ROUNDS}").into())
        }
    }
}

fn read(arguments: &[&str]) -> Result<(Range<u64>, usize)> {
    match arguments {
        [] => Ok((SEEDS, COPIES)),
        [of] => Ok((seeds(of)?, COPIES)),
        [of, number] => Ok((seeds(of)?, copies(number)?)),
        _ => Err("give seeds and copies, nothing more: cargo xtask soak 1..31 30".into()),
    }
}

fn seeds(text: &str) -> Result<Range<u64>> {
    let seeds = match text.split_once("..") {
        Some((first, end)) => first.parse().and_then(|first| Ok(first..end.parse()?)),
        None => text.parse().map(|seed| seed..seed + 1),
    };
    match seeds {
        Ok(seeds) if !seeds.is_empty() => Ok(seeds),
        _ => Err(format!("seeds {text}: give one, or the first and the one after the last: 1..31").into()),
    }
}

fn copies(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(copies @ 1..=MOST_COPIES) => Ok(copies),
        _ => Err(format!("copies {text}: give a number from 1 to {MOST_COPIES}").into()),
    }
}

/// Builds the integration tests, and says where they are.
fn build() -> Result<PathBuf> {
    let mut building = cargo(["test", "--no-run", "--package", "eventhubs-tests", "--test", "it"]);
    let messages = output(building.args(["--message-format", "json-render-diagnostics"]))?;
    let programs = Message::parse_stream(messages.as_bytes()).filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.profile.test => artifact.executable,
        _ => None,
    });
    let program = programs.last().ok_or("cargo built no integration tests")?;
    Ok(program.into_std_path_buf())
}

/// The tests whose names begin so, which say on the terminal what they see.
fn test(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.args([name, "--nocapture"]).current_dir(root().join("tests"));
    command
}

/// Starts one copy, and says where it writes.
fn start(program: &Path, logs: &Path, seed: u64, copy: usize) -> Result<(Child, PathBuf)> {
    let log = logs.join(format!("seed-{seed}-{copy}.log"));
    let file = File::create(&log)?;
    let child = test(program, "schedules::")
        .env("EVENTHUBS_SCHEDULE_SEED", seed.to_string())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    Ok((child, log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_copies_are_read_or_named() {
        assert_eq!(read(&[]).unwrap(), (SEEDS, COPIES));
        assert_eq!(read(&["5"]).unwrap(), (5..6, COPIES));
        assert_eq!(read(&["2..4", "7"]).unwrap(), (2..4, 7));
        for (wrong, named) in [
            (&["x"][..], "seeds x"),
            (&["4..2"], "seeds 4..2"),
            (&["1", "0"], "copies 0"),
            (&["1", "2", "3"], "nothing more"),
        ] {
            assert!(read(wrong).unwrap_err().to_string().contains(named), "{wrong:?}");
        }
        let deploys = |arguments: &[&str]| number("deploys", arguments, DEPLOYS);
        assert_eq!((deploys(&[]).unwrap(), deploys(&["3"]).unwrap()), (DEPLOYS, 3));
        for wrong in [&["x"][..], &["0"], &["1", "2"]] {
            assert!(deploys(wrong).unwrap_err().to_string().contains("give one number"), "{wrong:?}");
        }
    }
}
