//! Writes checkpoints by itself, under the policy of the run, next to the callbacks. When a write is due is decided in
//! `policy/checkpoints.rs`; how it is written, in `checkpointer.rs`.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::{Offset, SequenceNumber};
use futures::FutureExt as _;
use rand::RngExt as _;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, sleep};

use crate::ambient::entropy;
use crate::policy::checkpoints::{CheckpointPolicy, Unwritten};
use crate::run::Run;
use crate::{ErrorKind, PartitionContext};

/// Knows the newest event of a partition that may be written, and writes it when it is due.
#[derive(Debug)]
pub(crate) struct CheckpointWriter {
    /// `None` where the callback writes all checkpoints itself.
    policy: Option<CheckpointPolicy>,
    newest: Mutex<Option<Newest>>,
    news: Notify,
    /// Held while a write is under way, so that the last one before a close does not miss it.
    writing: AsyncMutex<()>,
}

/// The newest event that is handled, as are all before it.
#[derive(Debug)]
struct Newest {
    offset: Offset,
    number: SequenceNumber,
    /// How many events were handled since the last write.
    events: u32,
}

impl CheckpointWriter {
    pub(crate) fn new(policy: Option<CheckpointPolicy>) -> Self {
        Self { policy, newest: Mutex::new(None), news: Notify::new(), writing: AsyncMutex::new(()) }
    }

    /// The last `count` events up to this one are handled, as are all before them.
    pub(crate) fn handled(&self, event: &ReceivedEvent, count: usize) {
        let Some(policy) = &self.policy else { return };
        let mut newest = self.newest();
        let before = newest.as_ref().map_or(0, |newest| newest.events);
        let events = before.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        *newest = Some(Newest { offset: event.offset().clone(), number: event.sequence_number(), events });
        if policy.is_news(before, events) {
            self.news.notify_one();
        }
    }

    /// Writes when it is due, for as long as it is polled.
    ///
    /// # Cancel safety
    /// What is under way when this is dropped may or may not be written; then nothing is left to write.
    pub(crate) async fn run(&self, run: &Run, context: &PartitionContext) -> Infallible {
        let Some(policy) = &self.policy else { return pending().await };
        let mut rng = entropy();
        let mut last_write = Instant::now();
        loop {
            let jitter = rng.random_range(0.0..=1.0);
            // Asked again after each news, with the same random number: the pause must not grow shorter by asking.
            while !self.is_due(policy, last_write, jitter).await {}
            last_write = Instant::now();
            self.write(run, context).boxed().await;
        }
    }

    /// Waits until a write is due, or until there is something new to decide, and returns which.
    async fn is_due(&self, policy: &CheckpointPolicy, last_write: Instant, jitter: f64) -> bool {
        let events = self.newest().as_ref().map_or(0, |newest| newest.events);
        let unwritten = Unwritten { events, since_last_write: last_write.elapsed() };
        let due = async {
            match policy.wait(unwritten, jitter) {
                Some(wait) if wait.is_zero() => {}
                Some(wait) => sleep(wait).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => true,
            () = self.news.notified() => false,
        }
    }

    /// Writes the newest event, if any. A store that cannot be reached makes it pending.
    pub(crate) async fn write(&self, run: &Run, context: &PartitionContext) {
        let _writing = self.writing.lock().await;
        let Some(Newest { offset, number, .. }) = self.newest().take() else { return };
        match context.checkpointer().update_to(offset, number).await {
            // The partition is somebody else's, which is not the callback's fault and reported where it is found.
            Err(error) if error.kind() != ErrorKind::OwnershipLost => run.report(Some(context), error).await,
            _ => {}
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<Newest>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
