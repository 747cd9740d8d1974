//! The emulator's process, and what the system knows of it.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::Result;
use super::row::Take;
use crate::clock;
use crate::machine::resident_kib;

/// More than any take stores.
const RETENTION_EVENTS: &str = "100000000";
/// In bytes.
const RETENTION_BYTES: &str = "100000000000";

/// A running `eventhubs emulator`, killed when it is dropped.
#[derive(Debug)]
pub(super) struct Broker {
    child: Child,
    pub(super) connection_string: String,
    pub(super) partitions: u32,
    /// From the start of the program to the answer to `GET /health`, in milliseconds.
    pub(super) start_up_ms: f64,
}

#[derive(Deserialize)]
struct Announcement {
    namespaces: Vec<Namespace>,
    health: String,
}

#[derive(Deserialize)]
struct Namespace {
    event_hubs: Vec<Hub>,
}

#[derive(Deserialize)]
struct Hub {
    connection_string: String,
}

impl Broker {
    /// Starts the program, which is next to this one, and waits until it is healthy.
    pub(super) async fn start(partitions: u32, folder: Option<&Path>) -> Result<Self> {
        let began = clock::nanos();
        let program = std::env::current_exe()?.with_file_name("eventhubs");
        let mut command = Command::new(&program);
        command
            .args(["emulator", "--port", "0", "--health-port", "0", "--json"])
            .args(["--retention-events", RETENTION_EVENTS, "--retention-bytes", RETENTION_BYTES])
            .args(["--hub", &format!("bench:{partitions}")]);
        if let Some(folder) = folder {
            command.arg("--data").arg(folder);
        }
        let started = command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true).spawn();
        let mut child = started.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let stdout = child.stdout.take().ok_or("its output is not piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?.ok_or("it ended before it listened")?;
        let announcement: Announcement = serde_json::from_str(&line)?;
        be_healthy(&announcement.health).await?;
        let start_up_ms = (clock::nanos() - began) as f64 / 1e6;
        let hub = announcement.namespaces.into_iter().flat_map(|namespace| namespace.event_hubs).next();
        let connection_string = hub.ok_or("it serves no event hub")?.connection_string;
        Ok(Self { child, connection_string, partitions, start_up_ms })
    }

    /// Does something with this many events, and returns what it cost the broker.
    pub(super) async fn meter(&self, events: usize, doing: impl Future<Output = Result<()>>) -> Result<Take> {
        let (began, cpu_began) = (clock::nanos(), self.cpu_nanos()?);
        doing.await?;
        let (nanos, cpu_nanos) = (clock::nanos() - began, self.cpu_nanos()? - cpu_began);
        Ok(Take {
            events_per_s: events as f64 / (nanos as f64 / 1e9),
            cpu_ns_per_event: cpu_nanos as f64 / events as f64,
        })
    }

    /// Of all threads, user and system time.
    fn cpu_nanos(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()?))? {
            let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += stat.split_whitespace().next().ok_or("no schedstat")?.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// What of it is in memory now.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        Ok(resident_kib(&self.id()?)?)
    }

    fn id(&self) -> Result<String> {
        Ok(self.child.id().ok_or("the broker has ended")?.to_string())
    }
}

async fn be_healthy(url: &str) -> Result<()> {
    let host = url.strip_prefix("http://").and_then(|url| url.split_once('/')).ok_or("no health URL")?.0;
    let mut stream = TcpStream::connect(host).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into()) }
}
