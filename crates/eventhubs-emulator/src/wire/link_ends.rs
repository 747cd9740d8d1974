//! What the task of a link uses to send and to receive, instead of the AMQP library. The waiting is here; what is waited for is in
//! `outbox.rs`, `sending_link.rs` and `receiving_link.rs`. Tests: those of `tests/it`.

use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;

use crate::wire::outbox::{Control, Full, Outbox};
use crate::wire::receiving_link::{Message, ReceivingLink, Refusal};
use crate::wire::sending_link::SendingLink;
use crate::wire::shared::Shared;

/// The way of one link into the outbox of its session.
#[derive(Debug, Clone)]
pub(crate) struct LinkOutbox {
    pub(crate) link: Arc<SendingLink>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) shared: Arc<Shared>,
}

impl LinkOutbox {
    /// Sends as many of these messages as there are credit and space for, and waits until that is at least one. Returns how many those
    /// are; 0 if there are no messages. Nothing is sent when it is dropped.
    pub(crate) async fn send<M: Iterator<Item = Bytes>>(&self, messages: impl Fn() -> M) -> usize {
        loop {
            // Before the look, or space that becomes free in between would wake nobody.
            let freed = self.outbox.freed();
            let (count, full) = self.outbox.put(&self.link, messages());
            if count > 0 {
                // The stream writes only when it is polled, and nothing else polls it while the client is
                // silent.
                self.shared.wake();
                return count;
            }
            match full {
                Full::No => return 0,
                Full::Outbox => freed.await,
                Full::Credit => self.link.changed().await,
                Full::Drain => self.answer_drain(),
            }
        }
    }

    /// Waits until the client wants the link drained, and answers that there is nothing to send.
    pub(crate) async fn drained(&self) {
        self.link.drain_wanted().await;
        self.answer_drain();
    }

    fn answer_drain(&self) {
        self.outbox.drained(&self.link);
        self.shared.wake();
    }
}

/// Where the messages of one link come in, and its way into the outbox of its session.
#[derive(Debug, Clone)]
pub(crate) struct LinkInbox {
    pub(crate) link: Arc<ReceivingLink>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) shared: Arc<Shared>,
}

impl LinkInbox {
    /// Grants the first credit.
    pub(crate) fn serve(&self) {
        self.link.serve();
        self.grant();
        self.shared.wake();
    }

    /// Waits for the next message; see [`ReceivingLink::receive`].
    pub(crate) async fn receive(&self) -> Result<Message, Refusal> {
        self.link.receive().await
    }

    /// Tells the client what became of a message, unless it does not want to know.
    pub(crate) fn settle(&self, message: &Message, outcome: DeliveryState) {
        if !message.is_settled {
            self.outbox.control(Control::Outcome(message.id, outcome));
        }
        self.done();
    }

    /// Is done with a message. The client hears nothing of it.
    pub(crate) fn done(&self) {
        if self.link.done() {
            self.grant();
        }
        // Also if there is nothing to write: the stream may have stopped to read while too much was waiting.
        self.shared.wake();
    }

    fn grant(&self) {
        self.outbox.control(Control::Credit(Arc::clone(&self.link)));
    }
}
