//! A link on which a producer sends to a hub or to one partition.

use std::sync::Arc;

use eventhubs_types::Value;
use fe2o3_amqp::Receiver;
use fe2o3_amqp_types::messaging::{Batch, Data};
use fe2o3_amqp_types::performatives::Attach;

use crate::condition::{Condition, DECODE_ERROR, MESSAGE_SIZE_EXCEEDED};
use crate::connection::Connection;
use crate::hub::{Hub, Partition};
use crate::intercept::{Denied, Request, RequestKind};
use crate::link;
use crate::message::BATCH_FORMAT;
use crate::opaque;
use crate::peers::Entry;
use crate::sections::{Malformed, Sections};
use crate::session::Session;
use crate::stop::Stop;

#[derive(Debug)]
pub(crate) struct ProducerLink {
    hub: Arc<Hub>,
    partition: Option<Arc<Partition>>,
    entry: Entry,
    max_message_size: u64,
    address: String,
    connection: Arc<Connection>,
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
        let partition = partition.map(|id| hub.partition_at(id)).transpose()?;
        let entry = broker.peers.enter_link(session.id, session.link_info(&hub, attach, None));
        hub.still_exists()?;
        Ok(Self {
            hub,
            partition,
            entry,
            max_message_size: broker.max_message_size,
            address: address.to_owned(),
            connection: Arc::clone(&session.connection),
        })
    }

    /// Ends the link from outside.
    pub(crate) fn stop(&self) -> Stop {
        self.entry.stop.clone()
    }

    /// Takes messages until the producer leaves or is sent away.
    pub(crate) async fn run(self, mut receiver: Receiver) {
        let reason = tokio::select! {
            reason = self.receive(&mut receiver) => reason,
            reason = self.entry.stop.stopped() => Some(reason),
        };
        if let Some(reason) = reason {
            link::close_receiver(receiver, reason).await;
        }
    }

    /// Says why the link has to end, unless it has ended.
    async fn receive(&self, receiver: &mut Receiver) -> Option<Condition> {
        while let Ok(delivery) = receiver.recv::<Batch<Data>>().await {
            let is_batch = *delivery.message_format() == Some(BATCH_FORMAT);
            let (info, message) = opaque::open(delivery);
            if message.len() as u64 > self.max_message_size {
                return Some(self.too_large(message.len()));
            }
            let stored = match self.judge(message.len()).await {
                Ok(_) => self.store(&message, is_batch),
                Err(Denied::Refused(reason)) => Err(reason),
                Err(Denied::Dropped) => continue,
            };
            let settled = match stored {
                Ok(()) => receiver.accept(info).await,
                Err(reason) => receiver.reject(info, Some(reason.into())).await,
            };
            if settled.is_err() {
                return None;
            }
        }
        None
    }

    async fn judge(&self, size: usize) -> Result<Option<Value>, Denied> {
        let address = &self.address;
        let request = Request { kind: RequestKind::Send, connection_id: self.connection.id, address, size };
        self.connection.broker.interceptor.judge(request).await
    }

    /// The AMQP layer of the service ends the link, with this text; the message is not rejected alone.
    fn too_large(&self, size: usize) -> Condition {
        let limit = self.max_message_size;
        let text = format!(
            "The received message (size:{size} bytes) exceeds the limit ({limit} bytes) currently allowed on the link."
        );
        Condition::new(MESSAGE_SIZE_EXCEEDED, text)
    }

    /// All events of a batch go to one partition; the annotations of its envelope choose it.
    fn store(&self, message: &[u8], is_batch: bool) -> Result<(), Condition> {
        self.hub.trouble.send()?;
        let envelope = Sections::read(message)?;
        let partition = match &self.partition {
            Some(partition) => Arc::clone(partition),
            None => self.hub.choose(&envelope),
        };
        if is_batch {
            let messages = envelope.batch()?.iter().map(|message| Sections::read(message));
            partition.append(&messages.collect::<Result<Vec<_>, _>>()?)
        } else {
            partition.append(&[envelope])
        }
    }
}

impl From<Malformed> for Condition {
    fn from(Malformed(why): Malformed) -> Self {
        Self::new(DECODE_ERROR, format!("The message cannot be read: {why}."))
    }
}
