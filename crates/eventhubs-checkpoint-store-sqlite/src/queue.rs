//! The calls that wait for the thread of a store: how many there may be, and for how long.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::session::Session;

/// How many calls one store has in its queue at a time.
pub(crate) const MAX_QUEUED: usize = 64;

/// The places of the channel: those of calls, and some to wake the thread.
pub(crate) const CHANNEL_CAPACITY: usize = MAX_QUEUED + 8;

type Work = Box<dyn FnOnce(&mut Session) + Send>;

/// One call, for the thread of the store.
pub(crate) struct Job {
    work: Work,
    /// Released when the work is done or dropped.
    _place: Option<OwnedSemaphorePermit>,
}

impl Job {
    pub(crate) fn run(self, session: &mut Session) {
        (self.work)(session);
    }
}

/// The way to the thread of a store.
pub(crate) struct Queue {
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
    call_timeout: Duration,
}

impl Queue {
    pub(crate) fn new(jobs: SyncSender<Job>, call_timeout: Duration) -> Self {
        Self { jobs, places: Arc::new(Semaphore::new(MAX_QUEUED)), call_timeout }
    }

    /// Has the thread do this work, within the time limit of a call. A call that is dropped is not begun.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        context: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let deadline = Instant::now() + self.call_timeout;
        let place = self.place(context).await?;
        let (reply, answer) = oneshot::channel();
        let work = move |session: &mut Session| {
            // Nobody waits any more, so the work would only delay the others.
            if !reply.is_closed() {
                // A caller that leaves at this moment learns the outcome from its next listing.
                let _ = reply.send(session.run(context, deadline, work));
            }
        };
        self.send(Job { work: Box::new(work), _place: Some(place) })?;
        let answer = timeout_at(deadline, answer).await;
        let answer = answer.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("{context}: it took longer than {:?}", self.call_timeout))
        })?;
        answer.map_err(|_| ended())?
    }

    /// Waits for a place for up to half the time limit, so that the other half is left for the work.
    async fn place(&self, context: &'static str) -> Result<OwnedSemaphorePermit> {
        let place = timeout(self.call_timeout / 2, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| {
            let text = format!("{context}: {MAX_QUEUED} calls of this store are in progress");
            Error::new(ErrorKind::Throttled, text)
        })?;
        place.map_err(|_| ended())
    }

    fn send(&self, job: Job) -> Result<()> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Error::new(ErrorKind::Throttled, "the queue of the store is full"),
            TrySendError::Disconnected(_) => ended(),
        })
    }

    /// Wakes the thread, so that it sees whether anybody watches. A busy one looks after each call anyway.
    pub(crate) fn wake(&self) {
        let _ = self.send(Job { work: Box::new(|_| {}), _place: None });
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.places.available_permits();
        f.debug_struct("Queue")
            .field("free", &free)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the thread of the store has ended")
}
