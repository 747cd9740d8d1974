//! Clients of others, unmodified, against the emulator: each runs the same checks, and what comes out is what
//! `tests/witnesses/matrix.toml` and the table in `docs/emulator.md` say, in both directions.

mod checks;
mod matrix;
mod stage;
mod witness;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{installed, interpreter};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use matrix::{Client, Matrix};
use stage::{PARTITIONS, Stage};
use witness::{Outcome, Witness, failed};

/// How many checks of one client run at the same time.
const LANES: usize = 3;
/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(180);
/// How often a check is made that a client fails now and then by its own fault.
const TRIES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sync_python_sdk_bears_witness() {
    bears_witness("python_sync").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sync_python_sdk_bears_witness_over_a_websocket() {
    bears_witness("python_sync_websocket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aio_python_sdk_bears_witness() {
    bears_witness("python_aio").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aio_python_sdk_bears_witness_over_a_websocket() {
    bears_witness("python_aio_websocket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_sdk_bears_witness() {
    bears_witness("js").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_sdk_bears_witness_over_a_websocket() {
    bears_witness("js_websocket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_bears_witness() {
    bears_witness("rust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_bears_witness_over_a_websocket() {
    bears_witness("rust_websocket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rhea_bears_witness() {
    bears_witness("rhea").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proton_bears_witness() {
    bears_witness("proton").await;
}

/// Every check, and whether the matrix says what came out. They are dealt to several courts, since most wait most of the time.
async fn bears_witness(name: &str) {
    let matrix = Matrix::load();
    let client = matrix.client(name);
    let lanes = (0..LANES).map(|lane| {
        let checks = matrix.checks.iter().skip(lane).step_by(LANES).map(|check| check.name.as_str());
        sit(client, checks.collect())
    });
    let mut contradictions = join_all(lanes).await.concat();
    for _ in 1..TRIES {
        let (again, for_good) = contradictions.into_iter().partition(|(check, _)| client.is_unsteady(check));
        let again: Vec<Contradiction> = again;
        contradictions = for_good;
        contradictions.extend(sit(client, again.iter().map(|(check, _)| check.as_str()).collect()).await);
    }
    let found: Vec<_> = contradictions.into_iter().map(|(_, found)| found).collect();
    assert!(found.is_empty(), "{name}:\n{}", found.join("\n"));
}

/// A check, and how it came out otherwise than expected.
type Contradiction = (String, String);

/// The checks one after the other, each on a hub of its own.
async fn sit(client: &Client, checks: Vec<&str>) -> Vec<Contradiction> {
    if checks.is_empty() {
        return Vec::new();
    }
    let court = Court::open(&checks).await;
    let mut contradictions = Vec::new();
    let mut witness = court.call(client);
    for check in checks {
        let outcome = court.examine(&mut witness, check).await;
        if outcome.is_ok() {
            let found = client.contradiction(check, &outcome);
            contradictions.extend(found.map(|found| (check.to_owned(), found)));
            continue;
        }
        // the old one may still do what it was told for this check
        let mut old = std::mem::replace(&mut witness, court.call(client));
        let found = client.contradiction(check, &outcome);
        let found = found.map(|found| format!("{found}\n{}", old.complaints()));
        contradictions.extend(found.map(|found| (check.to_owned(), found)));
    }
    court.emulator.stop().await;
    contradictions
}

/// Where witnesses are examined.
struct Court {
    emulator: Emulator,
    /// Holds the certificate of the emulator.
    folder: TempDir,
}

impl Court {
    async fn open(hubs: &[&str]) -> Self {
        let builder =
            hubs.iter().fold(Emulator::builder(), |builder, hub| builder.event_hub(*hub, PARTITIONS));
        let emulator = builder.start().await.expect("a loopback port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("certificate.pem"), emulator.certificate_pem()).expect("written");
        Self { emulator, folder }
    }

    fn call(&self, client: &Client) -> Witness {
        let mut command = match client.language.as_str() {
            "python" => script(interpreter(), client),
            "js" => script("node".into(), client),
            "rust" => Command::new(installed("witness/debug/eventhubs-witness")),
            unknown => panic!("there is no way to run {unknown}"),
        };
        if client.language == "js" {
            command.env("NODE_PATH", installed("js/node_modules"));
        }
        let certificate = self.folder.path().join("certificate.pem");
        command
            .arg(self.emulator.namespace_connection_string())
            .args(&client.options)
            .env("NODE_EXTRA_CA_CERTS", &certificate)
            .env("SSL_CERT_FILE", &certificate);
        Witness::start(&mut command, client.patience())
    }

    async fn examine(&self, witness: &mut Witness, check: &str) -> Outcome {
        let mut stage = Stage::new(&self.emulator, check, witness);
        let checked = timeout(LIMIT, checks::run(check, &mut stage)).await;
        checked.unwrap_or_else(|_| Err(failed(format!("still running after {LIMIT:?}"))))
    }
}

fn script(interpreter: PathBuf, client: &Client) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("witnesses").join(&client.language);
    let mut command = Command::new(interpreter);
    command.arg(scripts.join(&client.script));
    command
}
