//! The program in a process of its own.

use std::process::{ExitStatus, Output, Stdio};

use eventhubs_test_harness::PATIENCE;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running `eventhubs emulator` on free ports, killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    /// What it said about itself.
    pub(crate) announcement: Value,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventhubs"));
    command.env_remove("EVENTHUBS_CONNECTION_STRING").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Nothing here takes long; what hangs fails.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    eventhubs_test_harness::within(PATIENCE, future)
}

/// Runs the program to its end.
pub(crate) async fn output(arguments: &[&str]) -> Output {
    within(command(arguments).output()).await.unwrap()
}

/// Runs the program to its end with this on its standard input, and gives what it printed.
pub(crate) async fn output_of(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = started(arguments);
    let mut stdin = child.stdin.take().unwrap();
    within(stdin.write_all(input)).await.unwrap();
    drop(stdin);
    within(child.wait_with_output()).await.unwrap()
}

/// Starts the program with its input and outputs in our hands.
pub(crate) fn started(arguments: &[&str]) -> Child {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs the program to its end, trusting this certificate.
pub(crate) async fn output_trusting(certificate: &str, arguments: &[&str]) -> Output {
    within(command(arguments).env("SSL_CERT_FILE", certificate).output()).await.unwrap()
}

impl Program {
    /// Starts the program and waits until it says where it listens.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let fixed = ["emulator", "--port", "0", "--health-port", "0", "--json"];
        let mut child = command(&[&fixed, arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        within(stdout.read_line(&mut line)).await.unwrap();
        let announcement = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, announcement }
    }

    /// The connection string of the event hub at this place of the announcement.
    pub(crate) fn connection_string(&self, namespace: usize, hub: usize) -> &str {
        self.announcement["namespaces"][namespace]["event_hubs"][hub]["connection_string"].as_str().unwrap()
    }

    /// Where the page is.
    pub(crate) fn page(&self) -> &str {
        self.announcement["page"].as_str().unwrap()
    }

    /// Host and port of the HTTP side.
    pub(crate) fn host(&self) -> &str {
        self.page().strip_prefix("http://").unwrap().trim_end_matches('/')
    }

    /// The status line and the body of the answer to one HTTP request.
    pub(crate) async fn http(&self, method: &str, path: &str, body: &str) -> (String, String) {
        http(self.host(), method, path, &[("Host", self.host()), JSON], body).await
    }

    /// The JSON that a path shows.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.http("GET", path, "").await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Kills it, without a chance to write anything.
    pub(crate) async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }

    /// Sends a signal such as `TERM` and waits for the end.
    pub(crate) async fn signal(mut self, name: &str) -> ExitStatus {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await.unwrap();
        assert!(sent.success());
        within(self.child.wait()).await.unwrap()
    }
}

pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The status line and the body of the answer to one HTTP request.
pub(crate) async fn http(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (String, String) {
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(within(answer.read_line(&mut head)).await.unwrap(), 0, "{method} {path}: {head}");
    }
    // not to the end of the stream: chromedriver leaves it open
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    within(answer.read_exact(&mut body)).await.unwrap();
    (head.lines().next().unwrap().to_owned(), String::from_utf8(body).unwrap())
}
