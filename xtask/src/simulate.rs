//! `cargo xtask simulate`: builds the simulator with optimizations and runs it.

use crate::help;
use crate::shell::{Result, cargo};

pub(crate) const HELP: &str = include_str!("../../crates/eventhubs-simulator/examples/simulate/help.txt");

/// Optimized as a whole it takes a minute more to build, and a seventh less to run.
const WHOLE_PROGRAM: [&str; 4] =
    ["--config", "profile.release.lto=true", "--config", "profile.release.codegen-units=1"];

/// Hands everything on; what it prints stays what the simulator prints.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    help::check_options(HELP, arguments)?;
    let build = ["run", "--quiet", "--release", "--package", "eventhubs-simulator", "--example", "simulate"];
    let status = cargo(build).args(WHOLE_PROGRAM).arg("--").args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("the simulator: {status}").into()) }
}
