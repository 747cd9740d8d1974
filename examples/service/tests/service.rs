//! The service answers its probes, and Prometheus' own tool takes its metrics, the alerts and the dashboard.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use eventhubs_test_harness::PATIENCE;
use serde_json::Value;
use tokio::time::Instant;

/// A file of the documentation.
fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Asks for a page, and returns the status code and the body.
fn page(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Runs `promtool` with this input, and returns what it complains of.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = command.spawn().expect("promtool is installed: run `cargo xtask test` once");
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[cfg(unix)]
#[test]
fn the_service_answers_probes_until_it_has_stopped() {
    let test = env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/service");
    let mut service = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.next().unwrap().strip_prefix("listening on ").unwrap().to_owned();

    let is_done = |status: &Value| {
        let partitions = status["partitions"].as_array().unwrap();
        partitions.iter().map(|partition| partition["done"].as_u64().unwrap()).sum::<u64>() == 100
    };
    let begun = Instant::now();
    let status = loop {
        let (code, body) = page(&address, "/status");
        let status: Value = serde_json::from_str(&body).unwrap();
        if code == 200 && is_done(&status) {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "{body}");
    };
    assert_eq!(status["scope"]["event_hub"], "orders");
    assert_eq!(status["run"], "running");
    assert_eq!(status["store"]["state"], "answering");
    assert_eq!(status["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(page(&address, "/livez").0, 200);
    assert_eq!(page(&address, "/readyz").0, 200);
    let (code, metrics) = page(&address, "/metrics");
    assert_eq!(code, 200);
    assert!(metrics.contains("messaging_destination_partition_id=\"3\""), "{metrics}");
    assert_eq!(promtool(&["check", "metrics"], &metrics), "");

    let sent = Command::new("kill").args(["-s", "TERM", &service.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(lines.last().as_deref(), Some("stopped after 100 events"));
    assert!(service.wait().unwrap().success());
}

#[test]
fn prometheus_takes_the_alert_rules() {
    let said = promtool(&["check", "rules", docs("alerts.yml").to_str().unwrap()], "");
    assert!(said.contains("8 rules found"), "{said}");
}

#[test]
fn each_alert_fires_when_it_should_and_not_in_a_deploy() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts.yml");
    promtool(&["test", "rules", tests.to_str().unwrap()], "");
}

/// The metrics that a status or the OpenTelemetry crate gives, as Prometheus names them.
fn known() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let source = include_str!("../../../crates/eventhubs/src/status/prometheus.rs");
    let quoted = source.split('"').filter(|text| !text.is_empty());
    let is_name = |text: &&str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && text.contains('_')
    };
    known.extend(quoted.filter(is_name).map(str::to_owned));
    let page = std::fs::read_to_string(docs("metrics.md")).unwrap();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let (name, seconds) = (
            cells[1].replace('.', "_"),
            if cells.get(3).is_some_and(|unit| unit == "s") { "_seconds" } else { "" },
        );
        match cells.get(2).map(String::as_str) {
            Some("counter") => known.extend([format!("{name}{seconds}_total")]),
            Some("histogram") => {
                known.extend(["_bucket", "_count", "_sum"].map(|end| format!("{name}{seconds}{end}")));
            }
            _ => known.extend([format!("{name}{seconds}")]),
        }
    }
    known
}

/// The names of metrics in a query.
fn named(query: &str) -> Vec<String> {
    let words = query.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    let is_metric = |word: &&str| {
        word.starts_with("eventhubs_")
            || (word.starts_with("messaging_client_")
                || word.starts_with("messaging_process_")
                || word.starts_with("messaging_eventhubs_"))
    };
    words.filter(is_metric).filter(|word| !word.ends_with("_client_id")).map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_there_are() {
    let known = known();
    let alerts = std::fs::read_to_string(docs("alerts.yml")).unwrap();
    let dashboard = std::fs::read_to_string(docs("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    for field in ["title", "uid", "schemaVersion", "panels", "templating", "time"] {
        assert!(dashboard.get(field).is_some(), "Grafana needs {field}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = vec![alerts];
    for panel in panels {
        assert!(panel["type"].is_string() && panel["gridPos"]["w"].is_u64(), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        queries.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let names: Vec<_> = queries.iter().flat_map(|query| named(query)).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(known.contains(&name), "{name} is no metric: {known:?}");
    }
}
