//! `cargo xtask bench` builds and starts this.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tells on the terminal what it found"
)]

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use eventhubs_bench::common::Manner;
use eventhubs_bench::contest::row::{Row, table};
use eventhubs_bench::contest::scene::Scene;
use eventhubs_bench::contest::{Rules, hold};
use eventhubs_bench::{emulator, idle, machine, slow};
use serde::Serialize;

const EXAMPLES: &str = "\
A replayer sends pre-encoded events over the loopback, and each reader reads them in a process of its own.
CPU is user and system time of that process; RSS is its largest; p50 and p99 are the time from sending an event to
handing it over, at half of the events/s that the reader reached; allocations are counted in a separate run.
The last column tells how often the replayer waited for credit, and which part of its time it waited and was busy.

Examples:
  cargo xtask bench receive                                  the whole table, about ten minutes
  cargo xtask bench receive --quick                          do the readers still work?
  cargo xtask bench receive --only limit,partition-receiver  how far are we from the limit?
  cargo xtask bench receive --only partition-receiver,receive-batch --partitions 8,32 --connections 1,2,4 --tls false,true --threads 2
                                                             what do more connections bring?
  cargo xtask bench receive --body 100 --partitions 1,32 --tls false,true --json";

/// What things cost.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Line {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Receiving: our readers, the libraries below them and foreign SDKs side by side on the same bytes
    #[command(after_help = EXAMPLES)]
    Receive(Rules),
    /// Slow handlers: what one costs the other partitions, and how much memory many take
    Slow(slow::Rules),
    /// Idle receivers: how much memory each takes
    Idle(idle::Rules),
    /// The emulator: events in and out, memory, and how long it takes to start; our own clients run on the same machine
    Emulator(emulator::Rules),
}

/// Set where the arguments are to be checked only.
const ONLY_CHECK: &str = "EVENTHUBS_BENCH_ONLY_CHECK";

fn main() -> ExitCode {
    let line = Line::parse();
    if std::env::var_os(ONLY_CHECK).is_some() {
        return ExitCode::SUCCESS;
    }
    let done = match line.what {
        What::Receive(rules) => receive(&rules.settled()),
        What::Slow(rules) => report(rules.manner, || slow::measure(&rules.settled()), slow::tables),
        What::Idle(rules) => report(rules.manner, || idle::measure(&rules.settled()), idle::table),
        What::Emulator(rules) => {
            report(rules.manner, || emulator::measure(&rules.settled()), emulator::row::tables)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn receive(rules: &Rules) -> Result<(), Box<dyn Error>> {
    if !rules.manner.json {
        println!("{}\n", machine::line());
    }
    hold(rules, if rules.manner.json { print_json } else { print_table })
}

/// Measures, and prints all rows at once.
fn report<R: Serialize>(
    Manner { json, .. }: Manner,
    measure: impl FnOnce() -> Result<Vec<R>, Box<dyn Error>>,
    tables: impl Fn(&[R]) -> String,
) -> Result<(), Box<dyn Error>> {
    let machine = machine::line();
    let rows = measure()?;
    if json {
        print_rows(&rows);
    } else {
        println!("{machine}\n\n{}", tables(&rows));
    }
    Ok(())
}

fn print_table(scene: &Scene, rows: &[Row]) {
    println!("{}", table(scene, rows));
}

fn print_json(_: &Scene, rows: &[Row]) {
    print_rows(rows);
}

fn print_rows(rows: &[impl Serialize]) {
    for row in rows {
        println!("{}", serde_json::json!(row));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    /// `cargo xtask bench --help` shows these files, since this program takes minutes to build. With `EVENTHUBS_BENCH_WRITE_HELP` in the
    /// environment they are written.
    #[test]
    fn the_help_that_xtask_shows_is_the_help_of_this_program() {
        let mut command = Line::command();
        command.build();
        let mut texts = vec![("bench".to_owned(), command.render_long_help().to_string())];
        for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
            texts.push((subcommand.get_name().to_owned(), subcommand.render_long_help().to_string()));
        }
        for (name, text) in texts {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("help").join(name).with_extension("txt");
            if std::env::var_os("EVENTHUBS_BENCH_WRITE_HELP").is_some() {
                fs::write(&file, &text).expect("the file can be written");
            }
            let shown = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(shown, text, "{}", file.display());
        }
    }
}
