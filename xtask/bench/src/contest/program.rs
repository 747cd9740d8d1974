//! The programs that read: ours, next to this one, and foreign ones where `cargo xtask bench` installed them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde::de::DeserializeOwned;

use super::scene::Scene;
use super::{PREFETCH, Result};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contestant {
    /// The limit: socket read and hand parse into owned events, over tokio
    Limit,
    /// A bare receiver of fe2o3-amqp
    Fe2o3,
    /// Our `PartitionReceiver`
    PartitionReceiver,
    /// Our `ConsumerClient::receive` with an empty callback
    Receive,
    /// Our `ConsumerClient::receive_batch` with an empty callback
    ReceiveBatch,
    /// The same as `receive`, with policies for failures and checkpoints
    ReceivePolicies,
    /// The same as `receive`, 16 events of a partition at once in order of 1 000 keys
    ReceiveKeyed,
    /// The same as `receive`, with metrics that nobody reads and spans that are not sampled
    ReceiveObserved,
    /// Python's azure-eventhub, blocking
    Python,
    /// Python's azure-eventhub, asyncio
    PythonAio,
    /// JavaScript's @azure/event-hubs
    Js,
    /// Microsoft's Rust SDK
    OfficialRust,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no contestant is hidden");
        f.write_str(value.get_name())
    }
}

impl Contestant {
    /// Everyone, or those that need nothing to be installed.
    pub(crate) fn all(ours_only: bool) -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|who| !ours_only || who.is_ours()).collect()
    }

    /// Whether it is one of the programs of this package.
    pub(crate) fn is_ours(self) -> bool {
        !matches!(self, Self::Python | Self::PythonAio | Self::Js | Self::OfficialRust)
    }

    /// The foreign SDKs reach an emulator's port over plain TCP only. How many connections they have is their own
    /// affair, and the limit has one.
    pub(crate) fn takes_part(self, scene: &Scene) -> bool {
        let spreads = self.is_ours() && self != Self::Limit;
        (self.is_ours() || !scene.tls) && (spreads || scene.connections == 1)
    }
}

/// What a reader is told.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) port: u16,
    pub(crate) partitions: u32,
    pub(crate) connections: u32,
    pub(crate) prefetch: u32,
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    /// Of how many partitions the handler is slow.
    pub(crate) slow: u32,
    /// Whether it is only to attach.
    pub(crate) idle: bool,
    pub(crate) latency: bool,
    pub(crate) count_allocations: bool,
    pub(crate) trust: Option<PathBuf>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            port: 0,
            partitions: 1,
            connections: 1,
            prefetch: PREFETCH,
            seconds: 1.0,
            threads: 1,
            slow: 0,
            idle: false,
            latency: false,
            count_allocations: false,
            trust: None,
        }
    }
}

impl Order {
    /// Runs a reader to its end, and reads what it printed.
    pub(crate) fn run<T: DeserializeOwned>(&self, who: Contestant) -> Result<T> {
        Ok(self.try_run(who).map_err(|error| format!("{who}: {error}"))?)
    }

    fn try_run<T: DeserializeOwned>(&self, who: Contestant) -> Result<T> {
        let mut command = self.command(who)?;
        let output = command.stderr(Stdio::inherit()).output();
        let output =
            output.map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
        if !output.status.success() {
            return Err(output.status.to_string().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn command(&self, who: Contestant) -> Result<Command> {
        match who {
            Contestant::Python => Ok(self.foreign(python()?, "receive.py", "sync")),
            Contestant::PythonAio => Ok(self.foreign(python()?, "receive.py", "aio")),
            Contestant::Js => Ok(self.foreign("node".into(), "receive.mjs", "js")),
            Contestant::OfficialRust => {
                let mut command = Command::new(installed("witness/release/receive")?);
                command.args(self.figures());
                Ok(command)
            }
            _ => self.rust(who),
        }
    }

    fn rust(&self, who: Contestant) -> Result<Command> {
        let program =
            if self.count_allocations { "eventhubs-bench-reader-counting" } else { "eventhubs-bench-reader" };
        let mut command = Command::new(beside(program)?);
        command
            .arg(who.to_string())
            .args(["--port", &self.port.to_string()])
            .args(["--partitions", &self.partitions.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .args(["--prefetch", &self.prefetch.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .args(["--threads", &self.threads.to_string()])
            .args(["--slow", &self.slow.to_string()])
            .args(self.idle.then_some("--idle"))
            .args(self.latency.then_some("--latency"));
        if let Some(certificate) = &self.trust {
            // Our client trusts what the system trusts, and this is how the system is told.
            command.arg("--tls").arg(certificate).env("SSL_CERT_FILE", certificate);
        }
        Ok(command)
    }

    fn foreign(&self, interpreter: OsString, script: &str, mode: &str) -> Command {
        let mut command = Command::new(interpreter);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(script)).arg(mode);
        command.args(self.figures());
        if let Ok(packages) = installed("js/node_modules/@azure/event-hubs/package.json") {
            command.env("EVENT_HUBS_PACKAGE", packages);
        }
        command
    }

    /// What all foreign readers are told: port, partitions, credit, seconds.
    fn figures(&self) -> [String; 4] {
        [
            self.port.to_string(),
            self.partitions.to_string(),
            self.prefetch.to_string(),
            self.seconds.to_string(),
        ]
    }
}

fn python() -> Result<OsString> {
    Ok(installed("python/bin/python")?.into())
}

/// A program of this package.
fn beside(program: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}

/// Something in cargo's target folder, which this program was built into.
fn installed(path: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let places = this.ancestors().map(|folder| folder.join(path));
    let found = places.into_iter().find(|place| place.exists());
    Ok(found.ok_or_else(|| format!("{path} is not installed; `cargo xtask bench receive` does that"))?)
}
