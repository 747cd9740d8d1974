//! A link to a server that loses answers to what it has delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on, but for the answers that it is to lose: then it ends the connection.
#[derive(Debug)]
pub struct LossyProxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    swallows: AtomicBool,
    /// A question, and that each of this number of them loses its answer.
    every: Option<(&'static [u8], usize)>,
    asked: AtomicUsize,
    lost: AtomicUsize,
}

impl LossyProxy {
    /// Passes on to this port of the host, until [`swallow_next_answer`](Self::swallow_next_answer).
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(to: u16) -> Self {
        Self::listen(to, Shared::default()).await
    }

    /// Loses the answer to each `every`-th piece of data that has this question in it.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn losing(to: u16, question: &'static [u8], every: usize) -> Self {
        Self::listen(to, Shared { every: Some((question, every)), ..Shared::default() }).await
    }

    async fn listen(to: u16, shared: Shared) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(shared);
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, to, Arc::clone(&accepting)));
            }
        });
        Self { port, shared }
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Ends a connection with the next bytes of the server, which do not arrive.
    pub fn swallow_next_answer(&self) {
        self.shared.swallows.store(true, Ordering::SeqCst);
    }
}

async fn pass_on(client: TcpStream, to: u16, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    // Without it, each question waits for the acknowledgement of the one before.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    // Of this connection alone: the next bytes from the server may be on another one.
    let swallows = Arc::new(AtomicBool::new(false));
    let (asking, is_to_swallow) = (Arc::clone(&shared), Arc::clone(&swallows));
    let up = tokio::spawn(async move {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            // Before it is delivered: the answer may come at once.
            is_to_swallow.fetch_or(asking.is_to_be_lost(&buffer[..length]), Ordering::SeqCst);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        if swallows.load(Ordering::SeqCst) || shared.swallows.swap(false, Ordering::SeqCst) {
            shared.lost.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    up.abort();
}

impl Shared {
    fn is_to_be_lost(&self, data: &[u8]) -> bool {
        let Some((question, every)) = self.every else { return false };
        let asks = data.windows(question.len()).any(|part| part == question);
        asks && self.asked.fetch_add(1, Ordering::SeqCst) % every == every - 1
    }
}
