use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::credit::Credit;
use super::registry::{Address, Taps};
use crate::recovery::Recovery;
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
    credit: Credit,
    outcome: Option<Outcome>,
    closed: bool,
}

impl LinkState {
    pub(super) fn new(mode: Mode, prefetch: u32) -> Self {
        Self {
            mode,
            address: OnceLock::new(),
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
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

    /// Queues what came; `None` stands for a delivery that was aborted, which counts all the same.
    pub(super) fn deliver(&self, arrivals: &mut Vec<Option<Bytes>>) {
        let mut inner = self.lock();
        for arrival in arrivals.drain(..) {
            if inner.closed || inner.outcome.is_some() {
                continue;
            }
            if !inner.credit.use_one() {
                inner.outcome = Some(Outcome::Oversent);
            } else if let Some(message) = arrival {
                inner.queue.push_back(message);
            }
        }
        drop(inner);
        self.reader.wake();
    }

    /// Another reader has the partition: what is queued must not be processed here.
    pub(super) fn stolen(&self, theft: Outcome) {
        let mut inner = self.lock();
        inner.queue.clear();
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
        inner.queue.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Takes messages from the queue, at most `max`, and grants credit for their room.
    pub(crate) fn take(&self, max: usize) -> Vec<Bytes> {
        let mut inner = self.state.lock();
        let count = inner.queue.len().min(max);
        let messages = inner.queue.drain(..count).collect();
        drop(inner);
        self.top_up();
        messages
    }

    /// Grants what credit there is room for.
    pub(crate) fn top_up(&self) {
        let mut inner = self.state.lock();
        let buffered = inner.queue.len();
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
