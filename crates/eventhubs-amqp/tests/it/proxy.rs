//! A hop between client and emulator that sees the frames and can go silent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventhubs_emulator::Emulator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

const TRANSFER: &[u8] = &[0x00, 0x53, 0x14];

pub(crate) struct Proxy {
    port: u16,
    seen: Arc<Seen>,
    silent: watch::Sender<bool>,
    listening: AbortHandle,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    transfers: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn start(emulator: &Emulator) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, (silent, silence)) = (Arc::<Seen>::default(), watch::channel(false));
        let listening = tokio::spawn(listen(listener, emulator.address(), Arc::clone(&seen), silence));
        Self { port, seen, silent, listening: listening.abort_handle() }
    }

    /// The connection string of the emulator, by way of here.
    pub(crate) fn connection_string(&self, emulator: &Emulator) -> String {
        let direct = emulator.address().port().to_string();
        emulator.connection_string("orders").replacen(&direct, &self.port.to_string(), 1)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many transfer frames the emulator sent.
    pub(crate) fn transfers(&self) -> usize {
        self.seen.transfers.load(Ordering::SeqCst)
    }

    /// Passes nothing on any more on the connections of now, without closing them.
    pub(crate) fn go_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Serves new connections again.
    pub(crate) fn serve_new_connections(&self) {
        self.silent.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(
    listener: TcpListener,
    emulator: SocketAddr,
    seen: Arc<Seen>,
    silence: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let emulator = TcpStream::connect(emulator).await.unwrap();
        client.set_nodelay(true).unwrap();
        emulator.set_nodelay(true).unwrap();
        let (client_in, client_out) = client.into_split();
        let (emulator_in, emulator_out) = emulator.into_split();
        tasks.spawn(pass(client_in, emulator_out, None, silence.clone()));
        tasks.spawn(pass(emulator_in, client_out, Some(Arc::clone(&seen)), silence.clone()));
    }
}

/// Passes frame by frame; a connection that has gone silent stays so.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: Option<Arc<Seen>>,
    mut silence: watch::Receiver<bool>,
) {
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut from) => frame,
            () = silent(&mut silence) => return std::future::pending().await,
        };
        let Some(frame) = frame else { return };
        if let Some(seen) = &seen
            && frame.get(8..11) == Some(TRANSFER)
        {
            seen.transfers.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 8];
    from.read_exact(&mut frame).await.ok()?;
    if !frame.starts_with(b"AMQP") {
        let size = u32::from_be_bytes(frame[..4].try_into().unwrap());
        frame.resize(size.try_into().unwrap(), 0);
        from.read_exact(&mut frame[8..]).await.ok()?;
    }
    Some(frame)
}

async fn silent(silence: &mut watch::Receiver<bool>) {
    let proxy_is_gone = silence.wait_for(|silent| *silent).await.is_err();
    if proxy_is_gone {
        std::future::pending::<()>().await;
    }
}
