//! A link on which a producer sends to a hub or to one partition.

use std::sync::Arc;

use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp_types::messaging::Body;
use fe2o3_amqp_types::performatives::Attach;
use fe2o3_amqp_types::primitives::Value;

use crate::condition::{Condition, DECODE_ERROR};
use crate::hub::{Hub, Partition};
use crate::link;
use crate::message::{self, BATCH_FORMAT};
use crate::peers::Entry;
use crate::session::Session;
use crate::stop::Stop;

#[derive(Debug)]
pub(crate) struct ProducerLink {
    hub: Arc<Hub>,
    partition: Option<Arc<Partition>>,
    entry: Entry,
}

impl ProducerLink {
    /// Checks that hub and partition exist.
    pub(crate) fn admit(
        session: &Session,
        attach: &Attach,
        address: &str,
        (hub, partition): (&str, Option<&str>),
    ) -> Result<Self, Condition> {
        let broker = &session.connection.broker;
        let hub = broker.hub_at(hub, address)?;
        hub.trouble.attach()?;
        let partition = partition.map(|id| hub.partition_at(id)).transpose()?.cloned();
        let entry = broker.peers.enter_link(session.id, session.link_info(hub, attach, None));
        Ok(Self { hub: Arc::clone(hub), partition, entry })
    }

    /// Ends the link from outside.
    pub(crate) fn stop(&self) -> Stop {
        self.entry.stop.clone()
    }

    /// Takes messages until the producer leaves or is sent away.
    pub(crate) async fn run(self, mut receiver: Receiver) {
        let reason = tokio::select! {
            () = self.receive(&mut receiver) => return,
            reason = self.entry.stop.stopped() => reason,
        };
        link::close_receiver(receiver, reason).await;
    }

    async fn receive(&self, receiver: &mut Receiver) {
        loop {
            let (delivery, stored) = match receiver.recv::<Body<Value>>().await {
                Ok(delivery) => self.store(delivery),
                Err(RecvError::MessageDecode(error)) => (error.info, Err(undecodable(&error.source))),
                Err(_) => return,
            };
            let settled = match stored {
                Ok(()) => receiver.accept(delivery).await,
                Err(reason) => receiver.reject(delivery, Some(reason.into())).await,
            };
            if settled.is_err() {
                return;
            }
        }
    }

    /// All events of a batch go to one partition; the annotations of its envelope choose it.
    fn store(&self, delivery: Delivery<Body<Value>>) -> (DeliveryInfo, Result<(), Condition>) {
        let is_batch = *delivery.message_format() == Some(BATCH_FORMAT);
        let (info, envelope) = delivery.into_parts();
        if let Err(reason) = self.hub.trouble.send() {
            return (info, Err(reason));
        }
        let partition = match &self.partition {
            Some(partition) => partition,
            None => self.hub.choose(&envelope),
        };
        let messages = if is_batch { message::unpack_batch(&envelope) } else { Ok(vec![envelope]) };
        let stored = messages.map(|messages| partition.append(messages));
        (info, stored.map_err(|error| undecodable(&error)))
    }
}

fn undecodable(error: &serde_amqp::Error) -> Condition {
    Condition::new(DECODE_ERROR, error.to_string())
}
