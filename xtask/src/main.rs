//! The workspace's own tasks, so that a contributor needs nothing but cargo: `cargo xtask --help`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tells on the terminal what it does"
)]

mod bench;
mod ci;
mod help;
mod image;
mod shell;
mod simulate;
mod soak;
mod system;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use shell::Result;
use system::Missing;

const HELP: &str = "\
The workspace's own tasks.

Usage: cargo xtask <COMMAND>

Commands:
  test [-- ARGS]  Install what the tests need, then run all of them: unit, integration and doc tests
  bench receive   Measure what receiving costs, for us and for others, side by side; also slow, idle, emulator
  tidy            Check the rules that the compiler cannot: who may use whom, lean crates, pure planning
  api             Write the public API of each library into docs/api, which `tidy` compares with the sources
  soak            Play schedules of faults in many processes at once, deploys, kills or handlers with faults, for what shows once in some hundred runs
  simulate        Play fleets of the load balancer on virtual time, and check what must hold
  audit           Check the dependencies against the advisory database, which is fetched
  ci              Everything that must pass before a change lands, cheapest check first

`cargo xtask <COMMAND> --help` tells more.";

const TEST_HELP: &str = "\
Install what the tests need, then run all of them: unit, integration and doc tests.

Usage: cargo xtask test [--no-install] [-- ARGS]

The tests talk to foreign programs, which are installed below the target folder, once per version:
  Azurite                 by npm, from tests/azurite/package-lock.json
  clients in JavaScript   by npm, from tests/witnesses/js/package-lock.json
  clients in Python       by pip, from tests/python/requirements.txt
  Microsoft's Rust SDK    by cargo, from tests/witnesses/rust/Cargo.lock
Only the system has Node.js with npm, Python 3 with venv and headers, a C compiler, PostgreSQL, PgBouncer, Redis, promtool, and
Chromium with its driver. What is missing of them is installed with apt-get, as root or by a sudo that asks for no password. Elsewhere, and with
--no-install, it is an error with one command that installs all of it.
Then `cargo test --workspace ARGS` runs. No test is skipped.

Examples:
  cargo xtask test                            everything
  cargo xtask test -- bears_witness           the clients of others against the emulator
  cargo xtask test -- --test it -- --nocapture  the integration tests, with their output";

const TIDY_HELP: &str = "\
Check the rules that the compiler cannot, and print every breach.

Usage: cargo xtask tidy

Each rule is a function in xtask/src/tidy/ with a test that feeds it a breach. Builds nothing.";

const API_HELP: &str = "\
Write the public API of each library below crates/ into docs/api/<crate>.txt, one item per line.

Usage: cargo xtask api

`cargo xtask tidy` compares these files with the sources, so that each change of the API is seen in review. Run it after
such a change, look at the diff, and commit both. Builds nothing.";

const SOAK_HELP: &str = "\
Play schedules of faults in many processes at once: what shows once in some hundred runs, and only on a busy machine.

Usage: cargo xtask soak [SEEDS] [COPIES]
       cargo xtask soak deploys [ROUNDS]
       cargo xtask soak kills [KILLS]
       cargo xtask soak handlers [ROUNDS]

Each copy is the test `schedules`: a consumer against an emulator that drops, freezes, throttles, refuses and garbles
for four seconds, and nothing may be lost. What a copy printed is kept below the target folder if it fails.

`deploys` is the test of that name: fleets whose instances are replaced one after the other, ROUNDS times each, while the
hub, the links and the store answer late. No event may be lost, and none may come twice.

`kills` is the test `exactly_once`: three processes write a row for each event with a transactional checkpoint, on each store
that has them, while KILLS of them are killed or suspended beyond their leases, and PostgreSQL's answers to COMMIT are lost now and
then. Each row must be there exactly once.

`handlers` is the test of that name: three processes whose handlers are slow, fail and panic read 16 partitions, on blobs and on
SQLite. Each of the ROUNDS publishes 500 events and brings one trouble: a kill, a stop, cut links or an outage of the store. Nothing may
be lost, changed or out of order, and what comes twice must be beyond the checkpoint. EVENTHUBS_HANDLER_SEED sets the seed, which is
printed.

Examples:
  cargo xtask soak            seeds 1 to 30, 30 copies of each: four minutes on two cores
  cargo xtask soak 5 40       seed 5, 40 copies
  cargo xtask soak 100..200   seeds 100 to 199
  cargo xtask soak deploys    eight rounds, more than 500 hand-overs: two minutes on two cores
  cargo xtask soak kills      125 kills and suspensions, 250 000 events on each store: twenty minutes on two cores
  cargo xtask soak handlers   400 rounds, 200 000 events on each store";

const AUDIT_HELP: &str = "\
Check the dependencies against the advisory database of RustSec, which is fetched from GitHub.

Usage: cargo xtask audit

deny.toml names each advisory that is ignored, and how far our use reaches into the crate. It is no step of `cargo xtask ci`: the
database changes without us, and is on no package registry.";

const CI_HELP: &str = "\
Everything that must pass before a change lands, cheapest check first; stops at the first failure.

Usage: cargo xtask ci [STEP]...

Steps: fmt, tidy, clippy, clippy for each feature alone, the quickstart, test (see `cargo xtask test --help`), doc, deny,
package, install from the packages, the image of the emulator, and a check of the workspace with the newest dependencies that its manifests allow. Each step's time is printed.

Examples:
  cargo xtask ci            all of them
  cargo xtask ci fmt tidy   only these";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] | ["-h" | "--help" | "help"] => say(HELP),
        ["test", "-h" | "--help"] => say(TEST_HELP),
        ["tidy", "-h" | "--help"] => say(TIDY_HELP),
        ["api", "-h" | "--help"] => say(API_HELP),
        ["soak", "-h" | "--help"] => say(SOAK_HELP),
        ["simulate", .., "-h" | "--help"] => say(simulate::HELP.trim_end()),
        ["ci", "-h" | "--help"] => say(CI_HELP),
        ["test"] => test::all(&[], Missing::Install),
        ["test", "--no-install"] => test::all(&[], Missing::Refuse),
        ["test", "--no-install", "--", ref rest @ ..] => test::all(rest, Missing::Refuse),
        ["test", "--", ref rest @ ..] => test::all(rest, Missing::Install),
        ["bench", ref rest @ ..] => bench::start(rest),
        ["soak", ref rest @ ..] => soak::run(rest),
        ["simulate", ref rest @ ..] => simulate::run(rest),
        ["tidy"] => tidy::check(),
        ["api"] => tidy::record_api(),
        ["audit", "-h" | "--help"] => say(AUDIT_HELP),
        ["audit"] => ci::audit(),
        ["ci", ref steps @ ..] => ci::check(steps),
        _ => Err(format!("unknown arguments: {}\n\n{HELP}", arguments.join(" ")).into()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "reads as one arm of the dispatch")]
fn say(text: &str) -> Result<()> {
    println!("{text}");
    Ok(())
}
