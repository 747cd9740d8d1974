//! The data path: where deliveries come from.

use std::sync::Arc;

use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp_types::messaging::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_amqp::Value;
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::connection::engine::Engine;
use crate::connection::library_error::{Failure, LinkFailure};
use crate::connection::session::{FAREWELL_TIMEOUT, Session};
use crate::event::decode::received;
use crate::tap::TappedLink;
use crate::{Error, ErrorKind, ReceivedEvent, Result};

/// An attached link that yields the events of a partition in order. Dropping it detaches in the background.
///
/// [`PlainSource`] is the first implementation, and the oracle of the second: [`TapSource`](crate::link::tap_source::TapSource)
/// takes transfers off the stream before the AMQP library sees them (amqp-crate §3.5).
pub(crate) trait DeliverySource: Send {
    /// Waits for at least one event and takes all that are there, at most `max`.
    ///
    /// # Errors
    /// When the link is gone, after all events that came before. The same error comes again from every later call.
    ///
    /// # Cancel safety
    /// Safe to drop: no event is taken before the future is ready.
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<ReceivedEvent>>>;

    /// Whether another reader has the partition, as far as this end knows already.
    fn is_stolen(&self) -> bool;

    /// Detaches, and waits a bounded time for the service to confirm.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// The plain data path, by the receiver of the AMQP library.
pub(crate) struct PlainSource {
    link: TappedLink,
    attached: Attached,
    /// How many events the service may still send, by the last flow and what has come since.
    credit: u32,
    prefetch: u32,
    /// What to confirm if the peer wants it, although we asked for settled deliveries.
    taken: Vec<DeliveryInfo>,
    failure: Option<LinkFailure>,
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
        self.session.end().await;
        closed
    }
}

impl PlainSource {
    /// Takes an attached link and grants the first credit.
    pub(crate) async fn start(link: TappedLink, attached: Attached, prefetch: u32) -> Result<Self> {
        let mut source = Self { link, attached, credit: 0, prefetch, taken: Vec::new(), failure: None };
        source.replenish().await?;
        Ok(source)
    }

    async fn receive_some(&mut self, max: usize) -> Result<Vec<ReceivedEvent>> {
        if self.failure.is_none() {
            // If this fails, so does what follows, behind the events that came before and with the true cause.
            let _ = self.replenish().await;
            if let Some(outcome) = self.link.outcome() {
                return Err(outcome.error(&self.attached.subject));
            }
            let first = self.attached.receiver.recv().await;
            let events = self.take_all(first, max);
            if !events.is_empty() {
                // Nothing may be awaited once events are taken; what does not go out now goes out in the next call.
                let _ = unconstrained(self.replenish()).now_or_never();
                return Ok(events);
            }
        }
        let failure = self.failure.clone().unwrap_or(LinkFailure::ConnectionEnded);
        Err(self.attached.engine.explain(failure).await)
    }

    /// The first delivery and all that are there already, up to a failure, which is kept.
    fn take_all(&mut self, first: Delivered, max: usize) -> Vec<ReceivedEvent> {
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(delivered) = next {
            match self.take(delivered) {
                Ok(event) => events.push(event),
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            }
            next = if events.len() < max {
                unconstrained(self.attached.receiver.recv()).now_or_never()
            } else {
                None
            };
        }
        events
    }

    fn take(&mut self, delivered: Delivered) -> std::result::Result<ReceivedEvent, LinkFailure> {
        let delivery = delivered.map_err(|error| error.failure(&self.attached.subject))?;
        self.credit = self.credit.saturating_sub(1);
        let (info, message) = delivery.into_parts();
        self.taken.push(info);
        received(message).map_err(LinkFailure::Known)
    }

    /// Tops the credit up once half of it is used: what is outstanding and what waits here never exceed the prefetch
    /// together, and a flow never lowers what was granted (contract §5.5, amqp-crate §1.3).
    ///
    /// # Cancel safety
    /// Safe to drop: what was not sent is sent again.
    async fn replenish(&mut self) -> Result<()> {
        if self.credit > self.prefetch / 2 {
            return Ok(());
        }
        let Attached { receiver, engine, subject, .. } = &mut self.attached;
        let flow = async {
            receiver.accept_all(self.taken.iter().cloned()).await?;
            receiver.set_credit(self.prefetch).await
        };
        engine.bounded(subject, flow).await?;
        self.taken.clear();
        self.credit = self.prefetch;
        Ok(())
    }
}

type Delivered = std::result::Result<Delivery<Body<Value>>, RecvError>;

impl DeliverySource for PlainSource {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<ReceivedEvent>>> {
        self.receive_some(max).boxed()
    }

    fn is_stolen(&self) -> bool {
        self.link.is_stolen()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        async move {
            if self.failure.is_some() || self.link.outcome().is_some() {
                return Ok(()); // the link is gone already
            }
            self.attached.close().await
        }
        .boxed()
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
    use crate::link::attach::{DataPath, LinkOptions, attach};
    use crate::recovery::conditions::Recovery;
    use crate::tap::Prefetch;
    use crate::testing::peer::{Peer, event};

    const BOTH: [DataPath; 2] = [DataPath::Plain, DataPath::Tap];

    async fn connect(data_path: DataPath) -> (Peer, crate::connection::shared::Connection, LinkOptions) {
        let (peer, connection) = Peer::connect().await;
        let options = LinkOptions {
            event_hub: EventHubName::new("orders").unwrap(),
            group: ConsumerGroup::default(),
            partition: PartitionId::new("0").unwrap(),
            owner_level: None,
            prefetch: Prefetch { events: 10, bytes: 1 << 40 },
            track_last_enqueued: false,
            identifier: "reader".to_owned(),
            data_path,
        };
        (peer, connection, options)
    }

    fn numbers(received: &[ReceivedEvent]) -> Vec<i64> {
        received.iter().map(|event| event.sequence_number().value()).collect()
    }

    /// Contract §5.1: a broker that sends unsettled deliveries all the same gets them confirmed.
    #[tokio::test(start_paused = true)]
    async fn deliveries_that_are_not_settled_are_confirmed() {
        for data_path in BOTH {
            let (mut peer, connection, options) = connect(data_path).await;
            peer.send_unsettled();
            let mut source =
                attach(connection.engine(), &options, &StartingPosition::Earliest).await.unwrap();
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
            let (mut peer, connection, options) = connect(data_path).await;
            let mut source =
                attach(connection.engine(), &options, &StartingPosition::Earliest).await.unwrap();
            let mut link = peer.link().await;
            for n in 0..3 {
                link.send(event(n)).await.unwrap();
            }
            // Without an error: contract §5.4 says to attach again.
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
            let (mut peer, connection, options) = connect(data_path).await;
            let (mut sources, mut links) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                sources
                    .push(attach(connection.engine(), &options, &StartingPosition::Earliest).await.unwrap());
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
            let (mut peer, connection, options) = connect(data_path).await;
            let mut source =
                attach(connection.engine(), &options, &StartingPosition::Earliest).await.unwrap();
            let _link = peer.link().await;
            peer.go_silent();
            let start = Instant::now();
            let error = source.receive(1).await.unwrap_err();
            assert_eq!((error.kind(), error.recovery()), (ErrorKind::Transport, Recovery::Reconnect));
            assert!(start.elapsed() <= Duration::from_secs(60));
        }
    }
}
