//! The receiver of one partition: prefetch, recovery after the loss of its link, and the end. How a link is
//! opened is in `receiver_builder.rs`, which errors end it in `recovery/conditions.rs`.
//!
//! Tests: `receiver/tests.rs`, and `tests/it/faults.rs` over real sockets.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_types::StartingPosition;
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use tokio::time::{Instant, timeout};

use crate::event::received::EventSource;
use crate::link::source::DeliverySource;
use crate::recovery::attempts::{Failures, retrying};
use crate::runtime::task::Task;
use crate::{Error, ErrorKind, LastEnqueuedEventProperties, ReceivedEvent, Result, RetryPolicy};

/// A link that lived this long was healthy: what failed before no longer counts.
const HEALTHY: Duration = Duration::from_secs(60);

/// How many events a stream takes at a time.
const EVENTS_A_TURN: usize = 100;

/// Makes links for one receiver.
pub(crate) trait Opener: Send + Sync {
    /// One try, with a fresh token if asked.
    fn open(
        &self,
        position: StartingPosition,
        fresh: bool,
    ) -> BoxFuture<'static, Result<Box<dyn DeliverySource>>>;
}

/// Receives the events of one partition in order, and recovers by itself when its link, session or connection
/// fails.
///
/// Each receiver returns each event once: after a failure it resumes after the last event that it returned.
/// Dropping the receiver detaches in the background; [`close`](Self::close) waits for it.
pub struct PartitionReceiver {
    origin: Arc<EventSource>,
    links: Arc<dyn Opener>,
    retry: RetryPolicy,
    state: State,
    /// Where the next link starts: at first as asked, then after the last event handed out.
    position: StartingPosition,
    failures: Failures,
    last_enqueued: Option<LastEnqueuedEventProperties>,
    /// Events that a stream has taken and not yet yielded.
    ready: VecDeque<ReceivedEvent>,
}

enum State {
    Attached {
        source: Box<dyn DeliverySource>,
        since: Instant,
    },
    /// A new link is being made; the task continues when a call is dropped.
    Recovering(Task<Recovered>),
    /// The caller was told; the next call starts to recover.
    Reported(Error),
    Final(Error),
}

type Recovered = (Failures, Result<Box<dyn DeliverySource>>);

impl PartitionReceiver {
    pub(crate) async fn open(
        origin: EventSource,
        links: Arc<dyn Opener>,
        retry: RetryPolicy,
        position: StartingPosition,
    ) -> Result<Self> {
        let (failures, opened) =
            recover(Arc::clone(&links), retry.clone(), position.clone(), Failures::default(), None).await;
        let state = State::Attached { source: opened?, since: Instant::now() };
        Ok(Self {
            origin: Arc::new(origin),
            links,
            retry,
            state,
            position,
            failures,
            last_enqueued: None,
            ready: VecDeque::new(),
        })
    }

    /// Waits for at least one event and returns all that have arrived, at most `max`, and at most half of the
    /// [bytes](crate::PartitionReceiverBuilder::prefetch_bytes) that may be prefetched. Returns an empty list
    /// only when `max_wait` has passed. A `max` of 0 counts as 1. The next call grants the service credit for
    /// the room of these events.
    ///
    /// # Errors
    /// A transient error is returned once for each series of failures that outlasts the retry policy; the
    /// receiver stays usable, and the next call continues to recover. Any other error is final: every later
    /// call returns it again.
    ///
    /// # Cancel safety
    /// Safe to drop at any point: events that were not returned come first from the next call. A recovery
    /// that is under way continues.
    pub async fn receive_batch(
        &mut self,
        max: usize,
        max_wait: Option<Duration>,
    ) -> Result<Vec<ReceivedEvent>> {
        let receiving = self.receive(max.max(1));
        match max_wait {
            None => receiving.await,
            Some(wait) => timeout(wait, receiving).await.unwrap_or_else(|_| Ok(Vec::new())),
        }
    }

    /// Returns the events as a stream, which ends after an error that is not
    /// [transient](crate::Error::is_transient). After a transient error it continues.
    ///
    /// ```
    /// # use eventhubs_emulator::Emulator;
    /// # use eventhubs_amqp::{ConnectionString, EventHubClient};
    /// # use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
    /// use futures::{StreamExt, TryStreamExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let emulator = Emulator::builder().event_hub("orders", 1).start().await?;
    /// # emulator.publish_to("orders", "0", ["a", "b"])?;
    /// # let text = emulator.connection_string("orders");
    /// # let client = EventHubClient::builder(ConnectionString::parse(&text)?).build()?;
    /// # let receiver = client.partition_receiver(ConsumerGroup::default(), PartitionId::new("0")?);
    /// let mut receiver = receiver.starting_position(StartingPosition::Earliest).open().await?;
    /// let first_two: Vec<_> = receiver.events().take(2).try_collect().await?;
    /// assert_eq!(first_two[1].body_as_str()?, "b");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Safe to drop at any point: what was not yielded comes first from the next stream, or the next
    /// [`receive_batch`](Self::receive_batch).
    pub fn events(&mut self) -> impl Stream<Item = Result<ReceivedEvent>> + Send + Unpin {
        Box::pin(stream::unfold(Some(self), |receiver| async {
            let receiver = receiver?;
            let next = receiver.next().await;
            let has_ended = matches!(receiver.state, State::Final(_));
            Some((next, (!has_ended).then_some(receiver)))
        }))
    }

    async fn next(&mut self) -> Result<ReceivedEvent> {
        loop {
            if self.ready.is_empty() {
                self.ready = self.receive(EVENTS_A_TURN).await?.into();
            }
            self.drop_ready_if_lost();
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
        }
    }

    /// What a stream has taken in advance must not be processed either, once another reader has the
    /// partition.
    fn drop_ready_if_lost(&mut self) {
        if !self.ready.is_empty() && self.ownership_lost() {
            self.ready.clear();
        }
    }

    /// What a stream has taken and not yielded, or what comes.
    async fn receive(&mut self, max: usize) -> Result<Vec<ReceivedEvent>> {
        self.drop_ready_if_lost();
        if self.ready.is_empty() {
            return self.receive_new(max).await;
        }
        Ok(self.ready.drain(..max.min(self.ready.len())).collect())
    }

    async fn receive_new(&mut self, max: usize) -> Result<Vec<ReceivedEvent>> {
        loop {
            match &mut self.state {
                State::Attached { source, .. } => match source.receive(max).await {
                    Ok(events) => return Ok(self.hand_out(events)),
                    Err(error) => self.lost(error)?,
                },
                State::Recovering(recovery) => {
                    let Some((failures, opened)) = recovery.await else {
                        let gone =
                            Error::new(ErrorKind::Transport, "the task that was attaching again is gone");
                        return Err(self.report(gone));
                    };
                    self.failures = failures;
                    self.state = match opened {
                        Ok(source) => State::Attached { source, since: Instant::now() },
                        Err(error) => return Err(self.report(error)),
                    };
                }
                State::Reported(cause) => {
                    let cause = cause.clone();
                    self.state = self.recovering(cause);
                }
                State::Final(error) => return Err(error.clone()),
            }
        }
    }

    /// The link is gone: recovers from it, or returns the error if it is final or must be reported.
    fn lost(&mut self, error: Error) -> Result<()> {
        // A link that is refused right after its attach must not wipe out the failures before it.
        if matches!(&self.state, State::Attached { since, .. } if since.elapsed() >= HEALTHY) {
            self.failures.reset();
        }
        if !self.failures.allow_retry(&error, self.retry.retries()) {
            return Err(self.report(error));
        }
        self.state = self.recovering(error);
        Ok(())
    }

    /// Remembers that the caller is told this error.
    fn report(&mut self, error: Error) -> Error {
        let told = error.clone();
        self.state = if error.is_transient() { State::Reported(error) } else { State::Final(error) };
        told
    }

    /// In a task of its own, so that a caller that drops its call, as `select!` does, does not start the
    /// attempts over.
    fn recovering(&self, cause: Error) -> State {
        let (links, retry) = (Arc::clone(&self.links), self.retry.clone());
        State::Recovering(Task::spawn(recover(
            links,
            retry,
            self.position.clone(),
            self.failures,
            Some(cause),
        )))
    }

    /// Notes how far the caller is. Nothing may be awaited between taking events from the source and this: a
    /// call that is dropped there would lose them.
    fn hand_out(&mut self, mut events: Vec<ReceivedEvent>) -> Vec<ReceivedEvent> {
        self.failures.reset();
        for event in &mut events {
            event.came_from(&self.origin);
        }
        if let Some(last) = events.last() {
            self.position = StartingPosition::after_offset(last.offset().clone());
        }
        if let Some(head) = events.iter().rev().find_map(ReceivedEvent::head) {
            self.last_enqueued = Some(head);
        }
        events
    }

    /// Returns whether another reader is known to have taken the partition. If so, stop processing what was
    /// received before: [`receive_batch`](Self::receive_batch) returns
    /// [`OwnershipLost`](crate::ErrorKind::OwnershipLost) at once. Cheap: does not ask the service.
    pub fn ownership_lost(&self) -> bool {
        match &self.state {
            State::Attached { source, .. } => source.is_stolen(),
            State::Final(error) => error.kind() == ErrorKind::OwnershipLost,
            State::Recovering(_) | State::Reported(_) => false,
        }
    }

    /// Returns what the service said about the newest event of the partition when it sent the last event.
    pub fn last_enqueued_event_properties(&self) -> Option<LastEnqueuedEventProperties> {
        self.last_enqueued.clone()
    }

    /// Detaches, and waits a bounded time for the service to confirm.
    ///
    /// # Errors
    /// When the service did not confirm in time, or answered with an error. The receiver is closed in any
    /// case.
    ///
    /// # Cancel safety
    /// Safe to drop: detaching continues in the background.
    pub async fn close(self) -> Result<()> {
        match self.state {
            State::Attached { source, .. } => source.close().await,
            State::Recovering(_) | State::Reported(_) | State::Final(_) => Ok(()),
        }
    }
}

/// Attaches a new link, within the retry policy.
async fn recover(
    links: Arc<dyn Opener>,
    retry: RetryPolicy,
    position: StartingPosition,
    mut failures: Failures,
    cause: Option<Error>,
) -> Recovered {
    let attempt = |fresh| links.open(position.clone(), fresh);
    let opened = retrying(&retry, &mut failures, cause, attempt).await;
    (failures, opened)
}

impl fmt::Debug for PartitionReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Attached { .. } => "attached",
            State::Recovering(_) => "recovering",
            State::Reported(_) => "lost",
            State::Final(_) => "ended",
        };
        f.debug_struct("PartitionReceiver")
            .field("state", &state)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
