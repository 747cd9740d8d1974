//! A program on a foreign client: one request a line goes in, and what it has to say comes out as lines of JSON.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client cannot do this at all.
    Absent,
    Failed(String),
}

pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// An event as the client shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Event {
    pub(super) partition: Option<String>,
    /// A text for data; an object for what is no data.
    pub(super) body: Value,
    pub(super) sequence_number: i64,
    pub(super) offset: String,
    pub(super) enqueued_ms: i64,
    pub(super) key: Option<String>,
    pub(super) message_id: Option<String>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Value>,
    pub(super) last_enqueued: Option<LastEnqueued>,
}

/// What the broker says of the end of the partition with each event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct LastEnqueued {
    pub(super) sequence_number: i64,
    pub(super) offset: String,
    pub(super) enqueued_ms: i64,
    pub(super) retrieved_ms: i64,
}

/// What came from a reader.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Event(Box<Event>),
    Error(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Of the request that this answers; a reader's lines have none.
    id: Option<u64>,
    #[serde(default)]
    ok: Value,
    absent: Option<String>,
    error: Option<String>,
    reader: Option<String>,
    event: Option<Box<Event>>,
}

#[derive(Debug)]
pub(super) struct Witness {
    /// Killed when this is dropped.
    _child: Child,
    requests: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: File,
    inbox: HashMap<String, VecDeque<Said>>,
    last_id: u64,
    /// How long anything may take.
    patience: Duration,
}

impl Witness {
    pub(super) fn start(command: &mut Command, patience: Duration) -> Self {
        let complaints = tempfile::tempfile().expect("a temporary file");
        let stderr = complaints.try_clone().expect("a second handle of an open file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            requests: child.stdin.take().expect("its input was asked for"),
            lines: BufReader::new(child.stdout.take().expect("its output was asked for")).lines(),
            _child: child,
            complaints,
            inbox: HashMap::new(),
            last_id: 0,
            patience,
        }
    }

    /// Has something done, and returns what the client answers.
    pub(super) async fn ask(&mut self, what: &str, mut request: Value) -> Outcome<Value> {
        self.last_id += 1;
        let id = self.last_id;
        request["id"] = json!(id);
        request["do"] = json!(what);
        let line = format!("{request}\n");
        self.requests.write_all(line.as_bytes()).await.map_err(|error| failed(format!("{what}: {error}")))?;
        loop {
            let line = self.hear(what).await?;
            match line {
                Line { id: Some(answered), .. } if answered != id => {}
                Line { id: Some(_), absent: Some(_), .. } => return Err(Failure::Absent),
                Line { id: Some(_), error: Some(error), .. } => {
                    return Err(failed(format!("{what}: {error}")));
                }
                Line { id: Some(_), ok, .. } => return Ok(ok),
                line => self.keep(line),
            }
        }
    }

    /// The next thing that one of these readers says.
    pub(super) async fn next_of(&mut self, readers: &[&str]) -> Outcome<(String, Said)> {
        loop {
            for &reader in readers {
                if let Some(said) = self.inbox.get_mut(reader).and_then(VecDeque::pop_front) {
                    return Ok((reader.to_owned(), said));
                }
            }
            let line = self.hear(&format!("word from {readers:?}")).await?;
            self.keep(line);
        }
    }

    /// What it wrote to its standard error.
    pub(super) fn complaints(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.complaints.rewind().and_then(|()| self.complaints.read_to_end(&mut text));
        read.expect("a readable temporary file");
        String::from_utf8_lossy(&text).into_owned()
    }

    async fn hear(&mut self, what: &str) -> Outcome<Line> {
        let line = timeout(self.patience, self.lines.next_line()).await;
        let line = line.map_err(|_| failed(format!("no {what} within {:?}", self.patience)))?;
        let line = line.expect("a readable pipe");
        let line = line.ok_or_else(|| failed(format!("no {what}: the program ended")))?;
        serde_json::from_str(&line).map_err(|error| failed(format!("{error} in {line}")))
    }

    fn keep(&mut self, line: Line) {
        let said = match (line.event, line.error) {
            (Some(event), _) => Said::Event(event),
            (None, error) => Said::Error(error.unwrap_or_default()),
        };
        self.inbox.entry(line.reader.unwrap_or_default()).or_default().push_back(said);
    }
}

pub(super) fn failed(text: impl Into<String>) -> Failure {
    Failure::Failed(text.into())
}
