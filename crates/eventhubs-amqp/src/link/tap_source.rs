//! The data path of the product: deliveries from the tap, the end of the link from the AMQP library.
//!
//! Tests: `link/source.rs` and `tap/tests.rs`.

use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::Delivery;
use fe2o3_amqp_types::messaging::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_amqp::Value;

use crate::connection::library_error::{Failure, LinkFailure};
use crate::event::received::decode;
use crate::link::source::{Attached, DeliverySource};
use crate::tap::TappedLink;
use crate::{Error, ErrorKind, ReceivedEvent, Result};

/// The data path past the AMQP library: the tap takes the deliveries, the library reports the end of the
/// link.
pub(crate) struct TapSource {
    link: TappedLink,
    attached: Attached,
    failure: Option<LinkFailure>,
}

impl TapSource {
    /// Takes an attached link and grants the first credit.
    pub(crate) fn start(link: TappedLink, attached: Attached) -> Self {
        link.top_up();
        Self { link, attached, failure: None }
    }

    async fn receive_some(&mut self, max: usize) -> Result<Vec<ReceivedEvent>> {
        loop {
            // In this order: the events that came before an end are handed out before it, and a theft that
            // the stream knows of is reported as one, even if the library reports another end at the same
            // moment.
            let events = self.take(max);
            if !events.is_empty() {
                return Ok(events);
            }
            if let Some(outcome) = self.link.outcome() {
                let error = outcome.error(&self.attached.subject);
                self.failure = Some(LinkFailure::Known(error.clone()));
                return Err(error);
            }
            if let Some(failure) = self.failure.clone() {
                return Err(self.attached.engine.explain(failure).await);
            }
            tokio::select! {
                // Either may be ready when the link ends; then the queue is looked at first, for the same
                // reason.
                biased;
                () = self.link.ready() => {}
                ended = self.attached.receiver.recv() => self.failure = Some(self.ended(ended)),
            }
        }
    }

    /// What is there already, up to a message that cannot be an event.
    fn take(&mut self, max: usize) -> Vec<ReceivedEvent> {
        let messages = self.link.take(max);
        let mut events = Vec::with_capacity(messages.len());
        for message in messages {
            match decode(message) {
                Ok(event) => events.push(event),
                Err(error) => {
                    // Without a position there is no event to resume after: those after it would be lost or
                    // repeated. So the link ends here, and the reader learns of it after the events before.
                    self.failure = Some(LinkFailure::Known(error));
                    self.link.discard();
                    break;
                }
            }
        }
        events
    }

    /// The library sees no delivery, so it has only ends to report.
    fn ended(&self, ended: std::result::Result<Delivery<Body<Value>>, RecvError>) -> LinkFailure {
        match ended {
            Err(error) => error.failure(&self.attached.subject),
            Ok(_) => LinkFailure::Known(Error::new(
                ErrorKind::Protocol,
                format!("{}: a delivery on a link without credit", self.attached.subject),
            )),
        }
    }
}

impl DeliverySource for TapSource {
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
