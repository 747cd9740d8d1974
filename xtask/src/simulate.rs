//! `cargo xtask simulate`: builds the simulator with optimizations and runs it.

use crate::shell::{Result, cargo};

/// Hands everything on; what it prints stays what the simulator prints.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let build =
        ["run", "--quiet", "--release", "--package", "eventhubs-simulator", "--example", "simulate", "--"];
    let status = cargo(build).args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("the simulator: {status}").into()) }
}
