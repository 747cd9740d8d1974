//! `eventhubs`: the project on the command line.

mod emulator;
mod send;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Azure Event Hubs on the command line.
#[derive(Debug, Parser)]
#[command(name = "eventhubs", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Emulator(emulator::Options),
    Send(send::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(io::stderr).init();
    let done = match command {
        Command::Emulator(options) => emulator::run(options).await,
        Command::Send(options) => send::run(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // nobody is left to tell when standard error is closed
            let _ = report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with everything that caused it, one line each.
fn report(error: &dyn Error) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "error: {error}")?;
    let mut source = error.source();
    while let Some(cause) = source {
        writeln!(stderr, "  because: {cause}")?;
        source = cause.source();
    }
    Ok(())
}
