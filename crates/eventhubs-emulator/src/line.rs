//! What the stream of one connection, its links, and those who look at it or harm it share.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fe2o3_amqp_types::performatives::Open;
use fe2o3_amqp_types::primitives::{Symbol, Value};
use futures::task::AtomicWaker;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::flow::{Credit, Returned};
use crate::hub::lock;
use crate::room::{Room, Sent};

/// How long a link waits for credit until it is woken, at first and at last: the client may also be slow, or grant none.
const FIRST_PATIENCE: Duration = Duration::from_millis(50);
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// A link as the client counts: its channel, and its handle there.
pub(crate) type LinkId = (u16, u32);

/// The state; each part has one writer.
#[derive(Debug)]
pub(crate) struct Line {
    /// Reads nothing any more.
    pub(crate) deaf: CancellationToken,
    /// Writes nothing any more; what is written is lost.
    pub(crate) mute: CancellationToken,
    /// Frames to the client that are still to be garbled.
    pub(crate) garbled: AtomicU32,
    /// Bytes per second to the client; 0 for as many as it takes.
    pub(crate) pace: AtomicU32,
    client: Mutex<Identity>,
    heard: Mutex<Instant>,
    credits: Mutex<BTreeMap<LinkId, Arc<Credit>>>,
    rooms: Mutex<BTreeMap<u16, Arc<Room>>>,
    drained: Mutex<Vec<Drained>>,
    /// Links whose credit the library may have missed.
    missed: Mutex<BTreeSet<LinkId>>,
    reader: AtomicWaker,
}

/// A link that is drained as soon as what it has sent is out: the library would say so before.
#[derive(Debug)]
struct Drained {
    link: LinkId,
    returned: Returned,
    sent: Sent,
}

/// What a client says about itself when it opens the connection (contract §2.1).
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) container_id: String,
    pub(crate) user_agent: Option<String>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            deaf: CancellationToken::new(),
            mute: CancellationToken::new(),
            garbled: AtomicU32::new(0),
            pace: AtomicU32::new(0),
            client: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            credits: Mutex::default(),
            rooms: Mutex::default(),
            drained: Mutex::default(),
            missed: Mutex::default(),
            reader: AtomicWaker::new(),
        }
    }
}

impl Line {
    pub(crate) fn meet(&self, open: &Open) {
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

    /// Notes that the client said something.
    pub(crate) fn hear(&self) {
        *lock(&self.heard) = Instant::now();
    }

    /// Returns when the client has been silent for this long; never for one that nobody listens to.
    pub(crate) async fn silent(&self, limit: Duration) {
        loop {
            let end = *lock(&self.heard) + limit;
            sleep_until(end).await;
            if self.deaf.is_cancelled() {
                pending::<()>().await;
            }
            if *lock(&self.heard) + limit <= end {
                return;
            }
        }
    }

    /// A consumer attaches.
    pub(crate) fn open_credit(&self, link: LinkId) {
        lock(&self.credits).insert(link, Arc::default());
    }

    /// The credit of a consumer; none if the client wrote its attach in a form that nobody uses.
    pub(crate) fn credit(&self, link: LinkId) -> Option<Arc<Credit>> {
        lock(&self.credits).get(&link).cloned()
    }

    /// Forgets a link; its own task ends it.
    pub(crate) fn close_credit(&self, link: LinkId) {
        lock(&self.credits).remove(&link);
    }

    /// The room of the session that the client has on this channel.
    pub(crate) fn room(&self, channel: u16) -> Arc<Room> {
        Arc::clone(lock(&self.rooms).entry(channel).or_default())
    }

    /// Forgets a session with all its links.
    pub(crate) fn forget_session(&self, channel: u16) {
        lock(&self.credits).retain(|(of, _), _| *of != channel);
        lock(&self.rooms).remove(&channel);
    }

    /// Lets the library tell the client that a link is drained, once all that was sent is out.
    pub(crate) fn drained(&self, link: LinkId, returned: Returned, sent: Sent) {
        lock(&self.drained).push(Drained { link, returned, sent });
        self.reader.wake();
    }

    /// Waits until the library has sent something. It does not wake for credit that comes between its look for some and its
    /// wait (amqp-crate §4, 15), so it is woken once more when it waits for long.
    pub(crate) async fn sent<T>(&self, link: LinkId, sending: impl Future<Output = T>) -> T {
        let (mut sending, mut patience) = (pin!(sending), FIRST_PATIENCE);
        loop {
            if let Ok(sent) = timeout(patience, &mut sending).await {
                return sent;
            }
            lock(&self.missed).insert(link);
            self.reader.wake();
            patience = LAST_PATIENCE.min(2 * patience);
        }
    }

    /// The links that are to be woken.
    pub(crate) fn take_missed(&self) -> BTreeSet<LinkId> {
        mem::take(&mut lock(&self.missed))
    }

    /// Lets the stream look again.
    pub(crate) fn wake(&self) {
        self.reader.wake();
    }

    /// Something is out.
    pub(crate) fn wrote(&self) {
        if !lock(&self.drained).is_empty() {
            self.reader.wake();
        }
    }

    pub(crate) fn take_drained(&self, reader: &std::task::Waker) -> Vec<(LinkId, Returned)> {
        self.reader.register(reader);
        let rooms = lock(&self.rooms);
        let is_out = |drained: &mut Drained| {
            rooms.get(&drained.link.0).is_none_or(|room| room.has_passed(drained.sent))
        };
        let mut drained = lock(&self.drained);
        drained.extract_if(.., is_out).map(|drained| (drained.link, drained.returned)).collect()
    }

    /// Whether this frame to the client is one of those to garble. Counts.
    pub(crate) fn garbles(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.garbled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}
