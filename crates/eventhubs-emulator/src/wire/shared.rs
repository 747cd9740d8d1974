//! What the stream of one connection, its links, and those who look at it or harm it share.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs_amqp_frames::KillSwitch;
use fe2o3_amqp_types::performatives::Open;
use fe2o3_amqp_types::primitives::{Symbol, Value};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::sync::lock;
use crate::wire::attaching::{Attaching, LinkState};
use crate::wire::numbers::ClientChannel;
use crate::wire::outbox::Outbox;
use crate::wire::receiving_link::WaitingBytes;

/// Bytes that wait for the socket; while there are that many, no more messages are written, and the library has to wait.
pub(crate) const MAX_UNSENT: usize = 256 * 1024;
/// As many bytes of outcomes and credit may wait for a client that sends and does not read; above this nothing more of it is read. A
/// client that reads stays below: of messages no more wait than [`MAX_UNSENT`].
const MAX_UNREAD: usize = 4 * MAX_UNSENT;

/// The state; each part has one writer.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Ends the stream. The AMQP library can neither be aborted nor does it stop waiting for a peer by itself.
    pub(crate) switch: KillSwitch,
    /// Reads nothing any more.
    pub(crate) reads_nothing: CancellationToken,
    /// Writes nothing any more; what is written is lost.
    pub(crate) discards_writes: CancellationToken,
    /// Frames to the client that are still to be garbled.
    pub(crate) garbled: AtomicU32,
    /// Bytes per second to the client; 0 for as many as it takes.
    pub(crate) pace: AtomicU32,
    client: Mutex<Identity>,
    opened: Instant,
    /// Whether so much is unsent that nothing more may be read: a client that sends and does not read would fill the memory.
    clogged: AtomicBool,
    /// Links that have come in and that no task serves yet.
    attaching: Mutex<Attaching>,
    /// By the client's channel.
    outboxes: Mutex<BTreeMap<ClientChannel, Arc<Outbox>>>,
    /// Of the messages that came in.
    pub(crate) waiting: Arc<WaitingBytes>,
}

/// What a client says about itself when it opens the connection (docs/contract.md §2.1).
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) container_id: String,
    pub(crate) user_agent: Option<String>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            switch: KillSwitch::default(),
            reads_nothing: CancellationToken::new(),
            discards_writes: CancellationToken::new(),
            garbled: AtomicU32::new(0),
            pace: AtomicU32::new(0),
            client: Mutex::default(),
            opened: Instant::now(),
            clogged: AtomicBool::new(false),
            attaching: Mutex::default(),
            outboxes: Mutex::default(),
            waiting: Arc::default(),
        }
    }
}

impl Shared {
    pub(crate) fn identify(&self, open: &Open) {
        let agent = open.properties.as_ref().and_then(|all| all.get(&Symbol::from("user-agent")));
        let user_agent = match agent {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Symbol(text)) => Some(text.as_str().to_owned()),
            _ => None,
        };
        *lock(&self.client) = Identity { container_id: open.container_id.clone(), user_agent };
    }

    pub(crate) fn identity(&self) -> Identity {
        lock(&self.client).clone()
    }

    /// Notes how many bytes wait for the socket.
    pub(crate) fn note_unsent(&self, bytes: usize) {
        self.clogged.store(bytes >= MAX_UNREAD, Ordering::Relaxed);
    }

    /// Whether nothing is read for now, or ever.
    pub(crate) fn holds_reads(&self) -> bool {
        self.reads_nothing.is_cancelled()
            || self.waiting.are_too_many()
            || self.clogged.load(Ordering::Relaxed)
    }

    fn last_read(&self) -> Instant {
        self.switch.last_read().unwrap_or(self.opened)
    }

    /// Returns when the client has been silent for this long; never for one that nobody listens to.
    pub(crate) async fn silent(&self, limit: Duration) {
        loop {
            // Slept until, and then looked again: a timer that each read moves would cost a lock for each
            // read.
            let end = self.last_read() + limit;
            sleep_until(end).await;
            // A fault stopped reading, so the client may be sending all the time.
            if self.reads_nothing.is_cancelled() {
                pending::<()>().await;
            }
            if self.last_read() + limit <= end {
                return;
            }
        }
    }

    /// The client attaches a link.
    pub(crate) fn attaches(&self, channel: ClientChannel, name: String, link: LinkState) {
        lock(&self.attaching).push(channel, name, link);
    }

    /// Returns the link of an attach that the AMQP library hands out, once for each; `None` if the client wrote it in a form that
    /// only the library understands.
    pub(crate) fn take_attached(&self, channel: ClientChannel, name: &str) -> Option<LinkState> {
        lock(&self.attaching).take(channel, name)
    }

    /// Returns the outbox of the session that the client has on this channel.
    pub(crate) fn outbox(&self, channel: ClientChannel) -> Arc<Outbox> {
        Arc::clone(lock(&self.outboxes).entry(channel).or_default())
    }

    /// Forgets a session with all its links.
    pub(crate) fn forget_session(&self, channel: ClientChannel) {
        lock(&self.attaching).forget_session(channel);
        lock(&self.outboxes).remove(&channel);
    }

    /// Lets the stream look for what it has to write.
    pub(crate) fn wake(&self) {
        self.switch.wake();
    }

    /// Whether this frame to the client is one of those to garble. Counts.
    pub(crate) fn garbles(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.garbled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}
