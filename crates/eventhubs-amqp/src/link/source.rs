//! The data path: where deliveries come from.
//!
//! Tests: below, each with the tap and with its oracle, `testing/plain_source.rs`.

use std::sync::Arc;

use fe2o3_amqp::Receiver;
use futures::future::BoxFuture;
use tokio::time::timeout;

use crate::connection::engine::Engine;
use crate::connection::library_error::{Failure, LinkFailure};
use crate::connection::session::{FAREWELL_TIMEOUT, Session};
use crate::{Error, ErrorKind, ReceivedEvent, Result};

/// An attached link that yields the events of a partition in order. Dropping it detaches in the background.
///
/// [`TapSource`](crate::link::tap_source::TapSource) implements it for the product. The tests have another
/// one, by the receiver of the AMQP library, which must yield the same.
pub(crate) trait DeliverySource: Send {
    /// Waits for at least one event and takes all that are there, at most `max`.
    ///
    /// # Errors
    /// When the link is gone, after all events that came before. The same error comes again from every later
    /// call.
    ///
    /// # Cancel safety
    /// Safe to drop: no event is taken before the future is ready.
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<ReceivedEvent>>>;

    /// Whether another reader has the partition, as far as this end knows already.
    fn is_stolen(&self) -> bool;

    /// Detaches, and waits a bounded time for the service to confirm.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// A link that the library has attached, and what it needs to live.
pub(crate) struct Attached {
    pub(crate) receiver: Receiver,
    pub(crate) session: Session,
    pub(crate) engine: Arc<Engine>,
    /// For error texts.
    pub(crate) subject: String,
}

impl Attached {
    /// Detaches, and waits a bounded time for the service to confirm.
    pub(crate) async fn close(self) -> Result<()> {
        let closed = match timeout(FAREWELL_TIMEOUT, self.receiver.close()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => match error.failure(&self.subject) {
                LinkFailure::Known(error) => Err(error),
                LinkFailure::ConnectionEnded => Ok(()), // and the link with it
            },
            Err(_) => {
                self.engine.kill();
                let text = format!("{}: the service did not confirm the detach", self.subject);
                Err(Error::new(ErrorKind::Timeout, text))
            }
        };
        // Only now: the end of a session detaches its links too, but the service does not confirm those.
        self.session.end().await;
        closed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eventhubs_types::{ConsumerGroup, EventHubName, PartitionId, StartingPosition};
    use fe2o3_amqp_types::messaging::Outcome;
    use futures::future::join_all;
    use tokio::time::Instant;

    use super::*;
    use crate::link::attach::LinkOptions;
    use crate::recovery::conditions::Recovery;
    use crate::tap::Prefetch;
    use crate::testing::peer::{Peer, event};
    use crate::testing::plain_source::{DataPath, attach};

    const BOTH: [DataPath; 2] = [DataPath::Plain, DataPath::Tap];

    async fn connect() -> (Peer, crate::connection::shared::Connection, LinkOptions) {
        let (peer, connection) = Peer::connect().await;
        let options = LinkOptions {
            event_hub: EventHubName::new("orders").unwrap(),
            group: ConsumerGroup::default(),
            partition: PartitionId::new("0").unwrap(),
            owner_level: None,
            prefetch: Prefetch { events: 10, bytes: 1 << 40 },
            track_last_enqueued: false,
            identifier: "reader".to_owned(),
        };
        (peer, connection, options)
    }

    fn numbers(received: &[ReceivedEvent]) -> Vec<i64> {
        received.iter().map(|event| event.sequence_number().value()).collect()
    }

    /// docs/contract.md §5.1: a broker that sends unsettled deliveries all the same gets them confirmed.
    #[tokio::test(start_paused = true)]
    async fn deliveries_that_are_not_settled_are_confirmed() {
        for data_path in BOTH {
            let (mut peer, connection, options) = connect().await;
            peer.send_unsettled();
            let mut source =
                attach(connection.engine(), &options, &StartingPosition::Earliest, data_path).await.unwrap();
            let mut link = peer.link().await;
            let sending = tokio::spawn(async move {
                let mut confirmed = Vec::new();
                for n in 0..30 {
                    confirmed.push(link.send_batchable(event(n)).await.unwrap());
                }
                join_all(confirmed.drain(..25)).await
            });
            let mut received = Vec::new();
            while received.len() < 30 {
                received.extend(numbers(&source.receive(100).await.unwrap()));
            }
            assert_eq!(received, (0..30).collect::<Vec<_>>());
            let outcomes =
                timeout(Duration::from_secs(1), sending).await.expect("confirmed in batches").unwrap();
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Accepted(_)))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_a_failure_is_handed_out_first() {
        for data_path in BOTH {
            let (mut peer, connection, options) = connect().await;
            let mut source =
                attach(connection.engine(), &options, &StartingPosition::Earliest, data_path).await.unwrap();
            let mut link = peer.link().await;
            for n in 0..3 {
                link.send(event(n)).await.unwrap();
            }
            // Without an error: docs/contract.md §5.4 says to attach again.
            link.close().await.unwrap();
            assert_eq!(numbers(&source.receive(100).await.unwrap()), [0, 1, 2]);
            for _ in 0..2 {
                let error = source.receive(100).await.unwrap_err();
                assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transport, Recovery::Reattach));
            }
            assert!(connection.engine().is_live());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_says_why_at_every_link() {
        for data_path in BOTH {
            let (mut peer, connection, options) = connect().await;
            let (mut sources, mut links) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                sources.push(
                    attach(connection.engine(), &options, &StartingPosition::Earliest, data_path)
                        .await
                        .unwrap(),
                );
                links.push(peer.link().await);
            }
            connection.engine().kill();
            for source in &mut sources {
                let error = source.receive(1).await.unwrap_err();
                assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transport, Recovery::Reconnect));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_falls_silent_is_noticed_within_a_minute() {
        for data_path in BOTH {
            let (mut peer, connection, options) = connect().await;
            let mut source =
                attach(connection.engine(), &options, &StartingPosition::Earliest, data_path).await.unwrap();
            let _link = peer.link().await;
            peer.go_silent();
            let start = Instant::now();
            let error = source.receive(1).await.unwrap_err();
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transport, Recovery::Reconnect));
            assert!(start.elapsed() <= Duration::from_secs(60));
        }
    }
}
