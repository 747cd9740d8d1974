//! A tapped link: the queue between the stream and the receiver, bounded by its credit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::credit::{Buffered, Credit, Prefetch};
use super::registry::{Address, Taps};
use crate::recovery::conditions::Recovery;
use crate::{Error, ErrorKind};

/// The condition under which the service takes a partition from its reader (contract §5.4).
pub(super) const STOLEN: &str = "amqp:link:stolen";

/// What becomes of the transfers of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are taken and queued here.
    Take,
    /// They go to the library; only the end of the link is watched.
    Watch,
}

/// Why a link yields nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Another reader took the partition; what the service says about it.
    Stolen(Option<String>),
    /// The service sent more than it was allowed to.
    Oversent,
}

impl Outcome {
    /// The same as an error of the link.
    pub(crate) fn error(&self, subject: &str) -> Error {
        match self {
            Self::Stolen(description) => Error::remote(subject.to_owned(), STOLEN, description.as_deref()),
            Self::Oversent => {
                let text = format!("{subject}: the service sent more than it was allowed to");
                Error::new(ErrorKind::Transport, text).with_recovery(Recovery::Reattach)
            }
        }
    }
}

/// What the reader of a link and the stream share.
#[derive(Debug)]
pub(crate) struct LinkState {
    mode: Mode,
    address: OnceLock<Address>,
    inner: Mutex<Inner>,
    reader: AtomicWaker,
}

#[derive(Debug)]
struct Inner {
    /// Encoded messages, in order; at most as many as the prefetch.
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// What the reader took last: it holds that until it takes again.
    held_bytes: usize,
    credit: Credit,
    outcome: Option<Outcome>,
    closed: bool,
}

impl LinkState {
    pub(super) fn new(mode: Mode, prefetch: Prefetch) -> Self {
        Self {
            mode,
            address: OnceLock::new(),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                queued_bytes: 0,
                held_bytes: 0,
                credit: Credit::new(prefetch),
                outcome: None,
                closed: false,
            }),
            reader: AtomicWaker::new(),
        }
    }

    pub(super) fn takes(&self) -> bool {
        self.mode == Mode::Take
    }

    pub(super) fn attached(&self, address: Address, initial_delivery_count: u32) {
        self.lock().credit.begin(initial_delivery_count);
        let _ = self.address.set(address);
    }

    /// Queues what came; `None` is an aborted delivery, which counts all the same. Whether the sender must
    /// be told of another credit: the sizes of messages decide how many there is room for.
    pub(super) fn deliver(&self, arrivals: &mut Vec<Option<Bytes>>) -> bool {
        let mut inner = self.lock();
        for arrival in arrivals.drain(..) {
            if inner.closed || inner.outcome.is_some() {
                continue;
            }
            if !inner.credit.use_one(arrival.as_ref().map_or(0, Bytes::len)) {
                inner.outcome = Some(Outcome::Oversent);
            } else if let Some(message) = arrival {
                inner.queued_bytes += message.len();
                inner.queue.push_back(message);
            }
        }
        let buffered = inner.buffered();
        let changed = inner.credit.withdraw(buffered) || inner.credit.top_up(buffered);
        let lives = !inner.closed && inner.outcome.is_none();
        drop(inner);
        self.reader.wake();
        changed && lives
    }

    /// Another reader has the partition: what is queued must not be processed here.
    pub(super) fn stolen(&self, theft: Outcome) {
        let mut inner = self.lock();
        inner.clear();
        inner.outcome = Some(theft);
        drop(inner);
        self.reader.wake();
    }

    /// Delivery count and credit, unless the reader is gone.
    pub(super) fn credit(&self) -> Option<(u32, u32)> {
        let inner = self.lock();
        let credit = (inner.credit.delivery_count(), inner.credit.outstanding());
        (!inner.closed).then_some(credit)
    }

    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn buffered(&self) -> Buffered {
        let events = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        Buffered { events, bytes: self.queued_bytes + self.held_bytes }
    }

    fn take(&mut self, max: usize) -> Vec<Bytes> {
        let (most, mut bytes) = (self.credit.most_held(), 0);
        let fitting = self.queue.iter().take(max).take_while(|message| {
            bytes += message.len();
            bytes <= most
        });
        let count = fitting.count().max(1).min(self.queue.len());
        let messages: Vec<Bytes> = self.queue.drain(..count).collect();
        self.held_bytes = messages.iter().map(Bytes::len).sum();
        self.queued_bytes -= self.held_bytes;
        messages
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }
}

/// The reader's end of a link. Dropping it discards what is queued and what still comes.
#[derive(Debug)]
pub(crate) struct TappedLink {
    name: String,
    state: Arc<LinkState>,
    taps: Taps,
}

impl TappedLink {
    pub(super) fn new(name: String, state: Arc<LinkState>, taps: Taps) -> Self {
        Self { name, state, taps }
    }

    /// Takes messages from the queue, at most `max` and half of the bytes that may be sent ahead, and grants credit for the
    /// room of those that were taken before: the reader has done with them.
    pub(crate) fn take(&self, max: usize) -> Vec<Bytes> {
        let messages = self.state.lock().take(max);
        self.top_up();
        messages
    }

    /// Grants what credit there is room for.
    pub(crate) fn top_up(&self) {
        let mut inner = self.state.lock();
        let buffered = inner.buffered();
        let granted = inner.outcome.is_none() && inner.credit.top_up(buffered);
        drop(inner);
        if let (true, Some(address)) = (granted, self.state.address.get()) {
            self.taps.request_flow(*address);
        }
    }

    /// Waits until there are messages or the link is known to yield none any more.
    pub(crate) async fn ready(&self) {
        poll_fn(|cx| {
            self.state.reader.register(cx.waker());
            let inner = self.state.lock();
            if inner.queue.is_empty() && inner.outcome.is_none() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Drops what is queued and what still comes.
    pub(crate) fn discard(&self) {
        self.state.close();
    }

    /// Why no more comes, as far as the stream knows.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.state.lock().outcome.clone()
    }

    pub(crate) fn is_stolen(&self) -> bool {
        matches!(self.state.lock().outcome, Some(Outcome::Stolen(_)))
    }
}

impl Drop for TappedLink {
    fn drop(&mut self) {
        self.taps.forget(&self.name);
        self.state.close();
    }
}
