//! What the stream and the reader of a tapped link share: a queue that is bounded by the credit of the link.
//! The reader's end is in `reader.rs`.
//!
//! Tests: `tap/tests/links.rs`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::credit::{Buffered, Credit, Prefetch};
use super::numbers::PeerLink;
use crate::recovery::conditions::Recovery;
use crate::{Error, ErrorKind};

/// The condition under which the service takes a partition from its reader (docs/contract.md §5.4).
pub(super) const STOLEN: &str = "amqp:link:stolen";

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
    /// Whether the library gets the transfers, and only the end of the link is watched: for the oracle of the
    /// tests.
    #[cfg(test)]
    is_only_watched: bool,
    /// Where the link is, once the peer has attached: no flow can be asked for before.
    address: OnceLock<PeerLink>,
    inner: Mutex<Inner>,
    reader: AtomicWaker,
}

#[derive(Debug)]
struct Inner {
    /// Encoded messages, in order. No more than credit was granted for, so at most as many as the prefetch.
    queue: VecDeque<Bytes>,
    /// The sum of the lengths in the queue.
    queued_bytes: usize,
    /// What the reader took last: it counts as held until the reader takes again, since it works on it
    /// meanwhile.
    held_bytes: usize,
    credit: Credit,
    /// Never taken back: what comes after it is dropped. Only a theft replaces another one.
    outcome: Option<Outcome>,
    /// The reader is gone, or discards all: what comes is dropped, and no credit is granted.
    closed: bool,
}

impl LinkState {
    pub(super) fn new(prefetch: Prefetch) -> Self {
        Self {
            #[cfg(test)]
            is_only_watched: false,
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

    /// One of which only the end is watched.
    #[cfg(test)]
    pub(super) fn watched(prefetch: Prefetch) -> Self {
        Self { is_only_watched: true, ..Self::new(prefetch) }
    }

    /// Whether the transfers of the link are taken off the stream.
    #[cfg(test)]
    pub(super) fn takes(&self) -> bool {
        !self.is_only_watched
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the oracle of the tests needs the question")]
    pub(super) fn takes(&self) -> bool {
        true
    }

    pub(super) fn attached(&self, address: PeerLink, initial_delivery_count: u32) {
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
            // The sizes of messages are known only now, so each delivery changes how many more there is room
            // for.
            if !inner.credit.use_one(arrival.as_ref().map_or(0, Bytes::len)) {
                inner.outcome = Some(Outcome::Oversent);
            } else if let Some(message) = arrival {
                inner.queued_bytes += message.len();
                inner.queue.push_back(message);
            }
        }
        let buffered = inner.buffered();
        // In this order: first less, because the messages were larger than expected, then more, where half is
        // used.
        let changed = inner.credit.withdraw(buffered) || inner.credit.top_up(buffered);
        inner.check();
        let lives = !inner.closed && inner.outcome.is_none();
        drop(inner);
        self.reader.wake();
        changed && lives
    }

    /// Another reader has the partition: what is queued must not be processed here.
    pub(super) fn stolen(&self, theft: Outcome) {
        let mut inner = self.lock();
        inner.clear();
        // In place of an earlier outcome: a reader that was told to attach again would steal the partition
        // back.
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

    /// Takes messages from the queue, at most `max`, and at most what the reader may hold; one at least, if
    /// there is one.
    pub(super) fn take(&self, max: usize) -> Vec<Bytes> {
        self.lock().take(max)
    }

    /// Grants what credit there is room for; where the link is, if the sender must be told.
    pub(super) fn top_up(&self) -> Option<PeerLink> {
        let mut inner = self.lock();
        let buffered = inner.buffered();
        let granted = inner.outcome.is_none() && inner.credit.top_up(buffered);
        drop(inner);
        self.address.get().copied().filter(|_| granted)
    }

    /// Ready when there are messages, or the link is known to yield none any more.
    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        // Register before looking: what is delivered in between would wake nobody.
        self.reader.register(cx.waker());
        let inner = self.lock();
        if inner.queue.is_empty() && inner.outcome.is_none() { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.lock().outcome.clone()
    }

    pub(super) fn is_stolen(&self) -> bool {
        matches!(self.lock().outcome, Some(Outcome::Stolen(_)))
    }

    /// Drops what is queued and what still comes.
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
        // One at least, whatever its size, or a message above the limit would stay here forever.
        let count = fitting.count().max(1).min(self.queue.len());
        let messages: Vec<Bytes> = self.queue.drain(..count).collect();
        self.held_bytes = messages.iter().map(Bytes::len).sum();
        self.queued_bytes -= self.held_bytes;
        self.check();
        messages
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }

    fn check(&self) {
        debug_assert_eq!(self.queued_bytes, self.queue.iter().map(Bytes::len).sum::<usize>());
        debug_assert!(self.queue.is_empty() || !self.closed, "nobody would take it");
    }
}
