//! PostgreSQL, and PgBouncer in front of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;

use crate::supervised::{Supervised, free_port};

const USER: &str = "postgres";
const PASSWORD: &str = "password";

/// A server of its own on the loopback interface. It ends when dropped, or with the process.
#[derive(Debug)]
pub struct Postgres {
    server: Supervised,
    port: u16,
}

impl Postgres {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server ends.
    pub async fn start() -> Self {
        Self::start_with_tls("", "").await
    }

    /// Starts one that has this certificate and key, both as PEM.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server ends.
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let (programs, port) = (programs(), free_port());
        let programs = programs.to_str().expect("a path of ASCII");
        let arguments = [programs, &port.to_string(), certificate, key];
        Self { server: Supervised::start(include_str!("postgres.sh"), &arguments).await, port }
    }

    /// The one that all tests of this process share.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server ends, and the next call starts it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database that no other test has, and returns its name.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn create_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.create_database_named(&name);
        name
    }

    /// Creates an empty database unless it is there.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn create_database_named(&self, name: &str) {
        let port = self.port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "--template=template0", name];
        let mut command = Command::new(programs().join("createdb"));
        let output =
            command.args(arguments).env("PGPASSWORD", PASSWORD).output().expect("createdb can be started");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || error.contains("already exists"), "{error}");
    }

    /// What clients connect with.
    pub fn connection_string(&self, database: &str) -> String {
        Self::connection_string_at(self.port, database)
    }

    /// What clients connect with if there is a proxy in front.
    pub fn connection_string_at(port: u16, database: &str) -> String {
        format!("host=127.0.0.1 port={port} user={USER} password={PASSWORD} dbname={database}")
    }

    /// Ends all processes of the server at once, as a crash does, and starts it again where it was.
    ///
    /// # Panics
    /// If it does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server may still be starting.
    pub async fn restart_immediately(&mut self) {
        self.server.command("restart").await;
    }

    /// Ends all processes of the server at once; its port refuses connections until it starts again.
    ///
    /// # Panics
    /// If the script that watches it has ended.
    ///
    /// # Cancel safety
    /// If dropped, the server may still be ending.
    pub async fn stop(&mut self) {
        self.server.command("stop").await;
    }

    /// Starts the stopped server where it was.
    ///
    /// # Panics
    /// If it does not start.
    ///
    /// # Cancel safety
    /// If dropped, the server may still be starting.
    pub async fn start_again(&mut self) {
        self.server.command("start").await;
    }
}

/// PgBouncer, which gives connections of a PostgreSQL server to one transaction at a time.
#[derive(Debug)]
pub struct PgBouncer {
    _pooler: Supervised,
    port: u16,
}

impl PgBouncer {
    /// Starts one in front of the server.
    ///
    /// # Panics
    /// If PgBouncer is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, it ends.
    pub async fn start(server: &Postgres) -> Self {
        let is_installed = Command::new("pgbouncer").arg("--version").output().is_ok();
        assert!(is_installed, "pgbouncer is not installed; run `cargo xtask test` once, it installs it");
        let port = free_port();
        let arguments = [&*port.to_string(), &*server.port.to_string()];
        Self { _pooler: Supervised::start(include_str!("pgbouncer.sh"), &arguments).await, port }
    }

    /// The one in front of the shared server.
    ///
    /// # Panics
    /// If PostgreSQL or PgBouncer is not installed or does not start.
    ///
    /// # Cancel safety
    /// If dropped, it ends, and the next call starts it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
        SHARED.get_or_init(async || Self::start(Postgres::shared().await).await).await
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The folder of the newest version that Debian has installed, or whatever `pg_config` names.
fn programs() -> PathBuf {
    const FIND: &str =
        "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 | grep . || pg_config --bindir";
    let output = Command::new("sh").args(["-c", FIND]).output().expect("a shell can be started");
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let is_there = folder.join("postgres").exists();
    assert!(is_there, "PostgreSQL is not installed; run `cargo xtask test` once, it installs it");
    folder
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_server_answers_after_a_restart_until_it_is_dropped() {
        let mut server = Postgres::start().await;
        let database = server.create_database();
        server.restart_immediately().await;
        server.create_database_named(&database);
        let pooler = PgBouncer::start(&server).await;
        let ports = [server.port(), pooler.port()];
        for port in ports {
            TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        }
        drop((pooler, server));
        for port in ports {
            TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
        }
    }
}
