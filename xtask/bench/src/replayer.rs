//! A broker that has one event, and sends it as fast as credit allows.
//!
//! It speaks SASL ANONYMOUS, `$cbs` and `$management`, so that whole SDKs run on it unchanged. Each connection has a
//! thread of its own, which patches a batch of frames and hands it to the system in one write.

mod connection;
mod event_link;
mod nodes;
mod stream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustls::ServerConfig;

use crate::template::Shape;
use connection::Connection;

/// What the replayer plays.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The event.
    pub shape: Shape,
    /// How many partitions the event hub has.
    pub partitions: u32,
    /// Events per second of all partitions; as fast as credit allows if `None`.
    pub rate: Option<f64>,
    /// TLS, if it is spoken.
    pub tls: Option<Arc<ServerConfig>>,
}

/// What the replayer counted over all its connections.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events sent.
    pub events: AtomicU64,
    /// How often it had to wait because no link had credit.
    pub waits: AtomicU64,
    /// For how long it waited so, in nanoseconds.
    pub waited: AtomicU64,
    /// From the first credit of a connection to its end, in nanoseconds.
    pub open: AtomicU64,
    /// CPU time of its threads, in nanoseconds.
    pub cpu: AtomicU64,
}

/// A running replayer; it stops when dropped, and its connections end with their clients.
#[derive(Debug)]
pub struct Replayer {
    address: SocketAddr,
    counters: Arc<Counters>,
    stopped: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Replayer {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let counters = Arc::<Counters>::default();
        let stopped = Arc::<AtomicBool>::default();
        let (counting, stopping) = (Arc::clone(&counters), Arc::clone(&stopped));
        let accepting = std::thread::spawn(move || accept(&listener, &settings, &counting, &stopping));
        Ok(Self { address, counters, stopped, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops listening, waits for the connections to end, and tells what was counted. Call it when the reader is gone.
    pub fn stop(mut self) -> Arc<Counters> {
        self.stop_accepting();
        Arc::clone(&self.counters)
    }

    fn stop_accepting(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; if this fails, it has ended by itself.
        let _ = std::net::TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Drop for Replayer {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

fn accept(listener: &TcpListener, settings: &Settings, counters: &Arc<Counters>, stopped: &AtomicBool) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let (settings, counters) = (settings.clone(), Arc::clone(counters));
        connections.push(std::thread::spawn(move || {
            let served = stream
                .and_then(|stream| stream::Stream::new(stream, settings.tls.clone()))
                .and_then(|stream| Connection::new(stream, &settings).serve(&counters));
            if let Err(error) = served {
                report(&error);
            }
        }));
    }
    for connection in connections {
        let _ = connection.join();
    }
}

/// Readers stop by ending their process; anything else is worth a line.
#[expect(clippy::print_stderr, reason = "a command line tells on the terminal what goes wrong")]
fn report(error: &io::Error) {
    let expected = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
    if !expected.contains(&error.kind()) {
        eprintln!("replayer: {error}");
    }
}
