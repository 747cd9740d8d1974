//! A link on which a producer sends to a hub or to one partition.

use std::sync::Arc;

use eventhubs_types::Value;
use fe2o3_amqp::Receiver;
use fe2o3_amqp_types::performatives::Attach;

use crate::condition::{Condition, DECODE_ERROR, MESSAGE_SIZE_EXCEEDED, TRANSFER_LIMIT_EXCEEDED};
use crate::event::message::BATCH_FORMAT;
use crate::event::sections::{Malformed, Sections};
use crate::hub::{Hub, Partition};
use crate::serve::context::Connection;
use crate::serve::context::Session;
use crate::serve::farewell;
use crate::serve::intercept::{Denied, Request, RequestKind};
use crate::serve::peers::Entry;
use crate::serve::stop::Stop;
use crate::wire::link_ends::LinkInbox;
use crate::wire::receiving_link::Refusal;

#[derive(Debug)]
pub(crate) struct ProducerLink {
    hub: Arc<Hub>,
    partition: Option<Arc<Partition>>,
    entry: Entry,
    max_message_size: u64,
    address: String,
    connection: Arc<Connection>,
    inbox: LinkInbox,
}

impl ProducerLink {
    /// Checks that hub and partition exist.
    pub(crate) fn admit(
        session: &Session,
        attach: &Attach,
        address: &str,
        (hub, partition): (&str, Option<&str>),
        inbox: LinkInbox,
    ) -> Result<Self, Condition> {
        let broker = &session.connection.broker;
        let hub = broker.hub_at(hub, address)?;
        hub.faults.attach()?;
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
            inbox,
        })
    }

    /// Ends the link from outside.
    pub(crate) fn stop(&self) -> Stop {
        self.entry.stop.clone()
    }

    /// Takes messages until the producer leaves or is sent away.
    pub(crate) async fn run(self, mut receiver: Receiver) {
        let reason = tokio::select! {
            refusal = self.receive() => Some(self.refused(refusal)),
            reason = self.entry.stop.stopped() => Some(reason),
            () = farewell::detached(&mut receiver) => None,
        };
        if let Some(reason) = reason {
            farewell::close_receiver(receiver, reason).await;
        }
    }

    /// Takes messages until one is refused.
    async fn receive(&self) -> Refusal {
        self.inbox.serve();
        loop {
            let message = match self.inbox.receive().await {
                Ok(message) => message,
                Err(refusal) => return refusal,
            };
            let stored = match self.judge(message.bytes.len()).await {
                Ok(_) => self.store(&message.bytes, message.format == BATCH_FORMAT),
                Err(Denied::Refused(reason)) => Err(reason),
                // The credit of the message comes back, or a producer whose messages are dropped would stop
                // after 200 of them instead of waiting for outcomes.
                Err(Denied::Dropped) => {
                    self.inbox.done();
                    continue;
                }
            };
            self.inbox.settle(&message, farewell::outcome(stored));
        }
    }

    async fn judge(&self, size: usize) -> Result<Option<Value>, Denied> {
        let address = &self.address;
        let request = Request { kind: RequestKind::Send, connection_id: self.connection.id, address, size };
        self.connection.broker.interceptor.judge(request).await
    }

    fn refused(&self, refusal: Refusal) -> Condition {
        match refusal {
            Refusal::TooLarge(size) => self.too_large(size),
            Refusal::NoCredit => Condition::new(TRANSFER_LIMIT_EXCEEDED, "The link has no credit."),
        }
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
        self.hub.faults.send()?;
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
