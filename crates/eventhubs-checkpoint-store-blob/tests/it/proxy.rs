//! A proxy before Azurite: sees what is sent, and does to the answers what Azurite cannot.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use eventhubs_test_harness::Azurite;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Plan {
    /// It is passed on, and so is the answer.
    Pass,
    /// It is passed on and takes effect; then the connection is reset.
    LoseAnswer,
    /// It is passed on; the answer goes through with this header, in place of the service's own if it has one.
    Replace(&'static str, &'static str),
    /// This is the answer, and the service sees nothing.
    Answer(Vec<u8>),
}

impl Plan {
    /// A refusal as the service words it.
    pub(crate) fn refusal(status: &str, code: &str, detail: &str) -> Vec<u8> {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code>{detail}</Error>");
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nx-ms-error-code: {code}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .into()
    }

    /// An answer without a body.
    pub(crate) fn status(status: &str, headers: &str) -> Self {
        Self::Answer(
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{headers}connection: close\r\n\r\n").into(),
        )
    }
}

/// A proxy that understands requests without a body.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
    task: AbortHandle,
}

/// What a request must be like: gives the head that the service gets, or the answer of a refusal.
type Guard = Box<dyn Fn(String) -> Result<String, Vec<u8>> + Send>;

#[derive(Default)]
struct State {
    plans: Mutex<VecDeque<Plan>>,
    seen: Mutex<Vec<String>>,
    guard: Mutex<Option<Guard>>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let upstream = Azurite::shared().await.port();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream, Arc::clone(&shared)));
            }
        };
        Self { port, state, task: tokio::spawn(accept).abort_handle() }
    }

    /// What happens to the next requests; those after them pass.
    pub(crate) fn plan(&self, plans: impl IntoIterator<Item = Plan>) {
        self.state.plans.lock().unwrap().extend(plans);
    }

    /// Lets each request pass this check first.
    pub(crate) fn guard(&self, guard: impl Fn(String) -> Result<String, Vec<u8>> + Send + 'static) {
        *self.state.guard.lock().unwrap() = Some(Box::new(guard));
    }

    /// The heads of all requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection is one request here.
async fn serve(mut client: TcpStream, upstream: u16, state: Arc<State>) {
    let head = read_head(&mut client).await;
    state.seen.lock().unwrap().push(head.clone());
    let plan = state.plans.lock().unwrap().pop_front().unwrap_or(Plan::Pass);
    let guarded = state.guard.lock().unwrap().as_ref().map_or(Ok(head.clone()), |guard| guard(head));
    let answer = match (&plan, guarded) {
        (Plan::Answer(answer), _) => answer.clone(),
        (_, Err(refusal)) => refusal,
        (_, Ok(head)) => ask(upstream, &head).await,
    };
    let answer = match plan {
        Plan::LoseAnswer => return client.set_zero_linger().unwrap(),
        Plan::Replace(name, value) => replace_header(&answer, name, value),
        Plan::Pass | Plan::Answer(_) => answer,
    };
    // The client may have hung up because it had read enough.
    let _ = client.write_all(&answer).await;
}

async fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

async fn ask(upstream: u16, head: &str) -> Vec<u8> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
    let head = head.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    server.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The value of a header of a request.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// The same request opened by this signature instead of what it has.
pub(crate) fn signed(head: &str, signature: &str) -> String {
    let kept: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("authorization:")).collect();
    let (line, rest) = (kept[0].trim_end_matches(" HTTP/1.1"), &kept[1..]);
    let separator = if line.contains('?') { '&' } else { '?' };
    format!("{line}{separator}{signature} HTTP/1.1\r\n{}", rest.join("\r\n"))
}

fn replace_header(answer: &[u8], name: &str, value: &str) -> Vec<u8> {
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    let is_other = |line: &&str| line.split_once(": ").is_none_or(|(key, _)| !key.eq_ignore_ascii_case(name));
    let mut lines: Vec<_> = answer.split("\r\n").filter(is_other).collect();
    let new = format!("{name}: {value}");
    lines.insert(1, &new);
    lines.join("\r\n").into_bytes()
}

/// Puts a blob there as another program would, opened by this signature.
pub(crate) async fn upload(container: &str, name: &str, content: &str, signature: &str) {
    let head = format!(
        "PUT /devstoreaccount1/{container}/{name}?{signature} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
         x-ms-version: 2021-12-02\r\nx-ms-blob-type: BlockBlob\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    let mut server = TcpStream::connect(("127.0.0.1", Azurite::shared().await.port())).await.unwrap();
    let head = head.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    server.write_all((head + content).as_bytes()).await.unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Passes all bytes on and counts connections; gives its port.
pub(crate) async fn count_connections(connections: Arc<AtomicUsize>) -> u16 {
    let upstream = Azurite::shared().await.port();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", upstream)).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}
