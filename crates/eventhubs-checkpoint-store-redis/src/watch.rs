//! Hints: what scripts publish of claims that announce themselves comes out of a stream, for as long as that is read.

use std::sync::{Arc, Weak};
use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, BoxStream, Hint};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, sleep, timeout};

use crate::records::SEPARATOR;
use crate::shared::Shared;
use crate::subscription::Subscription;

/// How many hints wait for a reader; those that come on top are missed.
const MAX_UNREAD: usize = 64;

/// The first and the longest pause before a subscription that is gone is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How often a silent subscription is asked whether it is still there.
const CHECKS: Duration = Duration::from_secs(30);

/// How long a watch waits for its own message before it says that there are no hints.
const ECHO_LIMIT: Duration = Duration::from_secs(2);

/// Starts to watch a scope. Ends when the stream is dropped, or the last handle of the store.
pub(crate) fn start(shared: &Arc<Shared>, scope: &ConsumerScope) -> BoxStream<'static, Hint> {
    let (sender, receiver) = mpsc::channel(MAX_UNREAD);
    let (heard, echo) = oneshot::channel();
    let channel = shared.names.channel(scope);
    let watcher = Watcher { shared: Arc::downgrade(shared), channel, hints: sender, heard: Some(heard) };
    shared.runtime.spawn(watcher.run());
    shared.runtime.spawn(warn_if_silent(echo, scope.to_string()));
    let hints = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    // The task may end with the store, but nobody who waits for hints may take that for news.
    hints.chain(stream::pending()).boxed()
}

/// The task of one watch. It holds no handle of the store, which it would keep open.
struct Watcher {
    shared: Weak<Shared>,
    channel: String,
    hints: mpsc::Sender<Hint>,
    /// Told of the first echo.
    heard: Option<oneshot::Sender<()>>,
}

impl Watcher {
    async fn run(mut self) {
        let hints = self.hints.clone();
        tokio::select! {
            () = hints.closed() => {}
            () = self.subscribe_forever() => {}
        }
    }

    /// Ends with the store.
    async fn subscribe_forever(&mut self) {
        let mut pause = PAUSES.0;
        while let Some(shared) = self.shared.upgrade() {
            let opening = timeout(shared.link.limit(), Subscription::open(&shared, &self.channel)).await;
            match opening {
                Ok(Ok(subscription)) => {
                    self.send_echo(&shared).await;
                    drop(shared);
                    pause = PAUSES.0;
                    self.pass_on(subscription).await;
                    tracing::debug!(channel = self.channel, "the subscription to hints is gone");
                }
                Ok(Err(error)) => tracing::debug!(%error, "hints cannot be subscribed to"),
                Err(_) => tracing::debug!(error = "no answer in time", "hints cannot be subscribed to"),
            }
            // Many instances lose the same server at the same time.
            sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Publishes a message that only watches take for something: it begins where the name of a partition would be.
    async fn send_echo(&self, shared: &Shared) {
        if self.heard.is_none() {
            return;
        }
        let mut publish = redis::cmd(shared.publish);
        publish.arg(&self.channel).arg(SEPARATOR.to_string());
        if let Err(error) = shared.link.command::<redis::Value>("publish an echo", &publish).await {
            tracing::debug!(%error, "hints cannot be published");
        }
    }

    /// Ends with the connection, or with the store.
    async fn pass_on(&mut self, mut subscription: Subscription) {
        let mut checks = interval(CHECKS);
        loop {
            tokio::select! {
                message = subscription.next() => match message {
                    Some(message) => self.take(&message),
                    None => return,
                },
                _ = checks.tick() => {
                    let is_there = timeout(ECHO_LIMIT, subscription.check()).await;
                    if !matches!(is_there, Ok(Ok(()))) || self.shared.strong_count() == 0 {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, message: &[u8]) {
        if message.starts_with(&[SEPARATOR as u8]) {
            self.heard.take().map(|heard| heard.send(()));
        } else if let Some(hint) = parse(message) {
            // A hint too many is missed, which the contract allows.
            let _missed_when_full = self.hints.try_send(hint);
        }
    }
}

/// Says once if the first watch hears nothing of itself. What ends before that is not of interest.
async fn warn_if_silent(echo: oneshot::Receiver<()>, scope: String) {
    if timeout(ECHO_LIMIT, echo).await.is_err() {
        tracing::warn!(scope, "no hints come from the server: partitions move in the next round instead");
    }
}

/// `None` for what no script publishes.
fn parse(message: &[u8]) -> Option<Hint> {
    let message = std::str::from_utf8(message).ok()?;
    let (partition, audience) = match message.split_once(SEPARATOR) {
        None => (message, Audience::Everyone),
        Some((partition, owner)) => (partition, Audience::Owner(OwnerId::new(owner).ok()?)),
    };
    Some(Hint::new(PartitionId::new(partition).ok()?, audience))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_partition_and_maybe_an_owner() {
        let partition: PartitionId = "7".parse().unwrap();
        assert_eq!(parse(b"7"), Some(Hint::new(partition.clone(), Audience::Everyone)));
        let owner = Audience::Owner("a: b".parse().unwrap());
        assert_eq!(parse(b"7\x1fa: b"), Some(Hint::new(partition, owner)));
    }

    #[test]
    fn what_is_no_hint_is_none() {
        for message in [&b""[..], b"\xff", b"7\x1f", b"\x1fa"] {
            assert_eq!(parse(message), None, "{message:?}");
        }
    }
}
