//! The data path by the receiver of the AMQP library: the oracle of the tap.
//!
//! Tests: those of `link/source.rs` and `tap/tests.rs` run over both paths.

use std::sync::Arc;

use eventhubs_types::StartingPosition;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp_types::messaging::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_amqp::Value;
use tokio::task::unconstrained;

use crate::connection::engine::Engine;
use crate::connection::library_error::{Failure, LinkFailure};
use crate::link::attach::{self, LinkOptions, open};
use crate::link::source::{Attached, DeliverySource};
use crate::tap::TappedLink;
use crate::testing::library_message::received;
use crate::{ReceivedEvent, Result};

/// Which implementation of [`DeliverySource`] reads a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataPath {
    /// That of the product.
    Tap,
    /// The receiver of the AMQP library.
    Plain,
}

/// Attaches as the product does, and reads by this path.
pub(crate) async fn attach(
    engine: &Arc<Engine>,
    options: &LinkOptions,
    position: &StartingPosition,
    data_path: DataPath,
) -> Result<Box<dyn DeliverySource>> {
    match data_path {
        DataPath::Tap => attach::attach(engine, options, position).await,
        DataPath::Plain => {
            let (link, attached) = open(engine, options, position, TappedLink::watch).await?;
            Ok(Box::new(PlainSource::start(link, attached, options.prefetch.events).await?))
        }
    }
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

impl PlainSource {
    /// Takes an attached link and grants the first credit.
    pub(crate) async fn start(link: TappedLink, attached: Attached, prefetch: u32) -> Result<Self> {
        let mut source = Self { link, attached, credit: 0, prefetch, taken: Vec::new(), failure: None };
        source.replenish().await?;
        Ok(source)
    }

    async fn receive_some(&mut self, max: usize) -> Result<Vec<ReceivedEvent>> {
        if self.failure.is_none() {
            // If this fails, so does what follows, after the events that came before and with the true cause.
            let _ = self.replenish().await;
            if let Some(outcome) = self.link.outcome() {
                return Err(outcome.error(&self.attached.subject));
            }
            let first = self.attached.receiver.recv().await;
            let events = self.take_all(first, max);
            if !events.is_empty() {
                // Nothing may be awaited once events are taken; what does not go out now goes out in the next
                // call.
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

    /// Tops the credit up once half of it is used: what is outstanding and what waits here never exceed the
    /// prefetch together, and a flow never lowers what was granted (docs/contract.md §5.5, docs/amqp-crate.md
    /// §1.3).
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
