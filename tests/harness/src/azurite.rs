//! Azurite, Microsoft's emulator of Azure Storage.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout;

use crate::installed;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const ACCOUNT: &str = "devstoreaccount1";

/// The account key that Microsoft publishes for emulators.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A blob service of its own on a port that the system chose. It ends when dropped, or with the process.
#[derive(Debug)]
pub struct Azurite {
    process: Option<Child>,
    port: u16,
    data: Option<TempDir>,
}

/// Options of an [`Azurite`].
#[derive(Debug, Default)]
pub struct AzuriteBuilder {
    persistent: bool,
}

impl AzuriteBuilder {
    /// Keeps the blobs on disk, so that they are there after a restart.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If Azurite is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, Azurite ends.
    pub async fn start(self) -> Azurite {
        let data = self.persistent.then(|| TempDir::new().expect("a temporary folder"));
        let mut azurite = Azurite { process: None, port: 0, data };
        azurite.restart_on_same_port().await;
        azurite
    }
}

impl Azurite {
    /// Options first.
    pub fn builder() -> AzuriteBuilder {
        AzuriteBuilder::default()
    }

    /// Starts one that keeps its blobs in memory, as [`AzuriteBuilder::start`] does.
    ///
    /// # Panics
    /// If Azurite is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, Azurite ends.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// The one that all tests of this process share.
    ///
    /// # Panics
    /// If Azurite is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, Azurite ends, and the next call starts it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Azurite> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What clients connect with.
    pub fn connection_string(&self) -> String {
        Self::connection_string_at(self.port)
    }

    /// What clients connect with if there is a proxy in front.
    pub fn connection_string_at(port: u16) -> String {
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};\
             BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT}"
        )
    }

    /// The name for a container that no other test of this process has.
    pub fn unused_container() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("test-{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Stops the service; its port refuses connections until the restart.
    ///
    /// # Panics
    /// If the process does not end.
    ///
    /// # Cancel safety
    /// If dropped, the service may still be stopping.
    pub async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        drop(process.stdin.take());
        let ended = tokio::task::spawn_blocking(move || process.wait());
        let ended = timeout(STOP_LIMIT, ended).await.expect("Azurite ends within its limit");
        ended.expect("the wait does not panic").expect("Azurite can be waited for");
    }

    /// Starts the stopped service again where it was.
    ///
    /// # Panics
    /// If it does not start, because somebody took the port for example.
    ///
    /// # Cancel safety
    /// If dropped, Azurite ends when `self` is dropped.
    pub async fn restart_on_same_port(&mut self) {
        let process = self.process.insert(self.spawn());
        let output = process.stdout.take().expect("the output is a pipe");
        let (sender, port) = oneshot::channel();
        std::thread::spawn(move || watch(output, sender));
        let port = timeout(START_LIMIT, port).await.expect("Azurite starts within its limit");
        self.port = port.expect("Azurite ends with its reason on standard error");
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new("node");
        command
            .arg("--require")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ends_with_parent.cjs"))
            .arg(home().join("node_modules/azurite/dist/src/blob/main.js"))
            .args(["--blobHost", "127.0.0.1", "--blobPort", &self.port.to_string()])
            .args(["--silent", "--disableTelemetry"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        match &self.data {
            Some(folder) => command.arg("--location").arg(folder.path()),
            None => command.arg("--inMemoryPersistence"),
        };
        command.spawn().expect("node can be started")
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Nothing can be done about a process that cannot be killed.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Tells the port as soon as it is known, then reads on, for a closed pipe would end Azurite.
fn watch(output: ChildStdout, port: oneshot::Sender<u16>) {
    let mut lines = BufReader::new(output).lines().map_while(Result::ok);
    if let Some(found) = lines.find_map(|line| port_in(&line)) {
        let _ = port.send(found);
    }
    lines.for_each(drop);
}

fn port_in(line: &str) -> Option<u16> {
    let (_, port) = line.split_once("listens on http://127.0.0.1:")?;
    port.trim().parse().ok()
}

/// Where it is installed, unless told otherwise.
fn home() -> PathBuf {
    env::var_os("AZURITE_HOME").map_or_else(|| installed("azurite"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::net::TcpStream;

    use super::*;

    async fn answers(port: u16) -> io::Result<()> {
        TcpStream::connect(("127.0.0.1", port)).await.map(drop)
    }

    #[tokio::test]
    async fn it_listens_until_it_is_stopped_and_again_after_a_restart() {
        let mut azurite = Azurite::builder().persistent().start().await;
        let port = azurite.port();
        answers(port).await.unwrap();
        azurite.stop().await;
        answers(port).await.unwrap_err();
        azurite.restart_on_same_port().await;
        assert_eq!(azurite.port(), port);
        answers(port).await.unwrap();
    }

    #[tokio::test]
    async fn it_ends_when_dropped() {
        let azurite = Azurite::start().await;
        let port = azurite.port();
        drop(azurite);
        answers(port).await.unwrap_err();
    }
}
