//! A link that loses the answer to what it has delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on, until it is told to lose an answer.
pub(crate) struct Proxy {
    port: u16,
    swallows: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, swallows) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let shared = Arc::clone(&swallows);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, to, Arc::clone(&shared)));
            }
        });
        Self { port, swallows }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the connection with the next bytes of the server, which do not arrive.
    pub(crate) fn swallow_next_answer(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }
}

async fn pass_on(client: TcpStream, to: u16, swallows: Arc<AtomicBool>) {
    let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        if swallows.swap(false, Ordering::SeqCst) || to_client.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    up.abort();
}
