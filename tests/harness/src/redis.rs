//! Redis, as a server of its own for a test: alone, with a replica, or as a cluster.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use crate::within;

const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// The bus of a cluster has the port of its node and this, so no port may be above what is left.
const BUS: u16 = 10_000;

/// Runs Redis until standard input ends: with the test, however that ends. A server that ends by itself ends the
/// script, so that a port that was taken is noticed.
const SCRIPT: &str = r#"
    exec 3<&0; redis-server "$@" < /dev/null & server=$!
    (cat > /dev/null; kill -s KILL $server) <&3 & reader=$!
    wait $server; kill $reader
"#;

/// A server on the loopback interface with a folder of its own. It ends when dropped, or with the process.
#[derive(Debug)]
pub struct RedisServer {
    process: Option<Child>,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    has_tls: bool,
    password: Option<String>,
}

/// Options of a [`RedisServer`].
#[derive(Debug, Default)]
pub struct RedisServerBuilder {
    arguments: Vec<String>,
    has_tls: bool,
    password: Option<String>,
}

impl RedisServerBuilder {
    /// An option of the configuration file: `option("maxmemory-policy", "allkeys-lru")`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Keeps each write on disk before it is answered, so that it is there after a kill.
    #[must_use]
    pub fn persistent(self) -> Self {
        self.option("appendonly", "yes").option("appendfsync", "always")
    }

    /// Asks for this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.option("requirepass", password)
    }

    /// Takes TLS connections only, with this certificate and its key.
    #[must_use]
    pub fn tls(mut self, certificate: &Path, key: &Path) -> Self {
        self.has_tls = true;
        self.option("tls-cert-file", &certificate.display().to_string())
            .option("tls-key-file", &key.display().to_string())
            .option("tls-auth-clients", "no")
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// If Redis is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server ends.
    pub async fn start(self) -> RedisServer {
        assert!(
            is_installed("redis-server") && is_installed("redis-cli"),
            "redis-server 7 or newer is not installed; run `cargo xtask test` once, it installs it, or \
             `sudo apt-get install redis-server`"
        );
        let folder = TempDir::new().expect("a temporary folder");
        let Self { arguments, has_tls, password } = self;
        let mut server = RedisServer { process: None, port: 0, folder, arguments, has_tls, password };
        // Another process may take the port before Redis does.
        for _ in 0..10 {
            server.port = free_port();
            if server.try_start().await {
                return server;
            }
        }
        panic!("Redis ends as soon as it is started: {}", server.log());
    }
}

impl RedisServer {
    /// Options first.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// Starts one that keeps nothing on disk, as [`RedisServerBuilder::start`] does.
    ///
    /// # Panics
    /// If Redis is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server ends.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts a replica of this server, and waits until it has all that the server has.
    ///
    /// # Panics
    /// If it does not start.
    ///
    /// # Cancel safety
    /// If dropped, the replica ends.
    pub async fn start_replica(&self) -> Self {
        let replica = Self::start().await;
        replica.cli(&["REPLICAOF", "127.0.0.1", &self.port.to_string()]);
        let is_linked = async {
            while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
                sleep(LOOK).await;
            }
        };
        within(START_LIMIT, is_linked).await;
        replica
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What clients connect with, without a password.
    pub fn url(&self) -> String {
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// Sends a command with `redis-cli`. Returns its reply, or its error, as text.
    ///
    /// # Panics
    /// If `redis-cli` cannot be started.
    pub fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--no-auth-warning"]);
        if self.has_tls {
            cli.args(["--tls", "--insecure"]);
        }
        if let Some(password) = &self.password {
            cli.args(["-a", password]);
        }
        let output = cli.args(command).stdin(Stdio::null()).output().expect("redis-cli can be started");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Kills the server; its port refuses connections until the restart.
    ///
    /// # Panics
    /// If the process cannot be waited for.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().expect("Redis can be waited for");
        }
    }

    /// Starts the killed server again where it was.
    ///
    /// # Panics
    /// If it does not start, because somebody took the port for example.
    ///
    /// # Cancel safety
    /// If dropped, the server ends when `self` is dropped.
    pub async fn restart_on_same_port(&mut self) {
        assert!(self.try_start().await, "Redis starts again: {}", self.log());
    }

    /// `false` when the process has ended.
    async fn try_start(&mut self) -> bool {
        self.process = Some(self.spawn());
        let answers = async {
            loop {
                if self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None))) {
                    return false;
                }
                // A server that asks for a password answers that, and one that loads its data says so.
                let answer = self.cli(&["PING"]);
                if answer == "PONG" && self.is_ours() {
                    return true;
                }
                sleep(LOOK).await;
            }
        };
        within(START_LIMIT, answers).await
    }

    /// Whether the server on the port is this one, and no other one that took it.
    fn is_ours(&self) -> bool {
        self.cli(&["CONFIG", "GET", "dir"]).ends_with(&self.folder.path().display().to_string())
    }

    fn spawn(&self) -> Child {
        let port = self.port.to_string();
        let (plain, tls) = if self.has_tls { ("0", port.as_str()) } else { (port.as_str(), "0") };
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh", "--port", plain]);
        if self.has_tls {
            command.args(["--tls-port", tls]);
        }
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes"])
            // A replica that asks for a copy gets it at once, and not after five seconds.
            .args(["--repl-diskless-sync-delay", "0"])
            .arg("--dir")
            .arg(self.folder.path())
            .arg("--logfile")
            .arg(self.log_file())
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("sh can be started")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("redis.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            // Nothing can be done about a process that cannot be waited for.
            let _ = process.wait();
        }
    }
}

/// Nodes that share the slots, each a master without a replica.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts three nodes, and waits until each knows of all slots.
    ///
    /// # Panics
    /// If Redis is not installed or the cluster does not form.
    ///
    /// # Cancel safety
    /// If dropped, the nodes end.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let node = RedisServer::builder().option("cluster-enabled", "yes").persistent();
            nodes.push(node.option("cluster-node-timeout", "2000").start().await);
        }
        let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.push("--cluster-yes");
        let output = nodes[0].cli(&create);
        let is_formed = async {
            while !nodes.iter().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
                sleep(LOOK).await;
            }
        };
        assert!(output.contains("All 16384 slots covered"), "the cluster forms: {output}");
        within(START_LIMIT, is_formed).await;
        Self { nodes }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The nodes, to be killed.
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// What clients connect with.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }
}

fn is_installed(program: &str) -> bool {
    let mut probe = Command::new(program);
    probe.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback interface has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        if port < u16::MAX - BUS {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_its_data_over_a_kill_and_ends_when_dropped() {
        let mut server = RedisServer::builder().persistent().start().await;
        assert_eq!(server.cli(&["SET", "key", "value"]), "OK");
        server.kill();
        assert!(server.cli(&["PING"]).is_empty());
        server.restart_on_same_port().await;
        assert_eq!(server.cli(&["GET", "key"]), "value");
        let port = server.port();
        drop(server);
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }

    #[tokio::test]
    async fn a_replica_has_what_its_master_has() {
        let master = RedisServer::start().await;
        master.cli(&["SET", "key", "value"]);
        let replica = master.start_replica().await;
        assert_eq!(replica.cli(&["GET", "key"]), "value");
    }

    #[tokio::test]
    async fn a_cluster_forms() {
        let cluster = RedisCluster::start().await;
        assert_eq!(cluster.urls().len(), cluster.nodes().len());
    }
}
