//! What the links of one session give to the stream, which writes it: messages, outcomes and credit. Messages are bounded in bytes: a
//! client that does not read holds back its links. Tests: here, and `tests/it/memory.rs`.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::sync::lock;
use crate::wire::numbers::ClientDelivery;
use crate::wire::receiving_link::ReceivingLink;
use crate::wire::sending_link::{SendingLink, Turn};

/// In bytes of messages that are not written yet. One more message may be put in as long as there are fewer.
const MAX_WAITING: usize = 1024 * 1024;

/// The queue of one session; its links put in, the stream takes out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Item>,
    /// Not queued after the messages, which may wait for the session window. Bounded by the credit of the links.
    controls: Vec<Control>,
    /// Of the messages in `waiting`, and of those taken out and not written yet.
    bytes: usize,
}

/// What the stream writes next.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Arc<SendingLink>, Bytes),
    /// The answer to a drain: this much credit is void. In the queue, since it has to come after the messages before it.
    Drained(Arc<SendingLink>, u32),
}

/// What the stream tells the client about a link on which the emulator receives.
#[derive(Debug)]
pub(crate) enum Control {
    Credit(Arc<ReceivingLink>),
    /// What became of a delivery.
    Outcome(ClientDelivery, DeliveryState),
}

/// Why a link cannot put in more for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All is in.
    No,
    /// Too many bytes wait for the stream.
    Outbox,
    /// The client has granted no more credit.
    Credit,
    /// As [`Credit`](Self::Credit), and the client waits for the answer to its drain.
    Drain,
}

impl Outbox {
    /// Puts in as many messages as there are space and credit for. Returns how many those are, and what the next one waits for.
    pub(crate) fn put(
        &self,
        link: &Arc<SendingLink>,
        messages: impl Iterator<Item = Bytes>,
    ) -> (usize, Full) {
        let mut state = lock(&self.state);
        let (mut count, mut messages) = (0, messages.peekable());
        while messages.peek().is_some() {
            if state.bytes >= MAX_WAITING {
                // Asked before credit is spent: spent credit cannot be given back, and the message would not
                // be sent.
                return (count, Full::Outbox);
            }
            match link.spend() {
                Turn::Send => {}
                Turn::Drain => return (count, Full::Drain),
                Turn::Wait => return (count, Full::Credit),
            }
            if let Some(message) = messages.next() {
                state.bytes += message.len();
                state.waiting.push_back(Item::Message(Arc::clone(link), message));
                count += 1;
            }
        }
        (count, Full::No)
    }

    /// Puts in the answer to a drain.
    pub(crate) fn drained(&self, link: &Arc<SendingLink>) {
        // Two locks, one after the other and never nested: `put` takes that of the link inside this one.
        let returned = link.give_back();
        lock(&self.state).waiting.push_back(Item::Drained(Arc::clone(link), returned));
    }

    /// Puts in what the client is to be told.
    pub(crate) fn control(&self, control: Control) {
        lock(&self.state).controls.push(control);
    }

    /// Takes out what is to be told.
    pub(crate) fn take_controls(&self) -> Vec<Control> {
        mem::take(&mut lock(&self.state).controls)
    }

    /// Completes when space has become free since this call.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Takes out everything; the bytes count until they are [`written`](Self::written).
    pub(crate) fn take_all(&self) -> VecDeque<Item> {
        mem::take(&mut lock(&self.state).waiting)
    }

    /// Frees the space of messages that were written, or dropped.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = lock(&self.state);
        debug_assert!(bytes <= state.bytes, "only what was put in is written");
        let was_full = state.bytes >= MAX_WAITING;
        state.bytes = state.bytes.saturating_sub(bytes);
        // Only at the border: the links wait for nothing else, and this runs for each write.
        if was_full && state.bytes < MAX_WAITING {
            self.freed.notify_waiters();
        }
    }
}

impl Item {
    /// How many bytes of the outbox it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message(_, message) => message.len(),
            Self::Drained(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::wire::numbers::{OurHandle, SentCount};

    fn link(credit: u32) -> Arc<SendingLink> {
        let link = Arc::new(SendingLink::default());
        link.attach(OurHandle(0));
        link.grant(SentCount::new(0), Some(credit), false);
        link
    }

    fn messages(sizes: &[usize]) -> impl Iterator<Item = Bytes> {
        sizes.iter().map(|size| Bytes::from(vec![0; *size]))
    }

    #[tokio::test]
    async fn a_full_outbox_takes_more_once_something_is_written() {
        let (outbox, link) = (Outbox::default(), link(10));
        // The last byte of space is enough for a message of any size.
        assert_eq!(outbox.put(&link, messages(&[MAX_WAITING - 1, 7, 1])), (2, Full::Outbox));
        assert_eq!(outbox.take_all().len(), 2);
        assert_eq!(outbox.put(&link, messages(&[1])), (0, Full::Outbox), "taken out is not written");
        let freed = outbox.freed();
        outbox.written(7);
        assert!(freed.now_or_never().is_some());
        assert_eq!(outbox.put(&link, messages(&[1])), (1, Full::No));
    }

    #[test]
    fn each_message_takes_one_credit() {
        let (outbox, link) = (Outbox::default(), link(2));
        assert_eq!(outbox.put(&link, messages(&[1, 1, 1])), (2, Full::Credit));
        link.grant(SentCount::new(0), None, true);
        assert_eq!(outbox.put(&link, messages(&[1])), (0, Full::Drain));
        assert_eq!(outbox.put(&link, messages(&[])), (0, Full::No));
    }

    #[test]
    fn the_answer_to_a_drain_comes_after_the_messages() {
        let (outbox, link) = (Outbox::default(), link(5));
        assert_eq!(outbox.put(&link, messages(&[3])), (1, Full::No));
        outbox.drained(&link);
        let items: Vec<_> = outbox.take_all().into_iter().collect();
        assert!(matches!(items[..], [Item::Message(..), Item::Drained(_, 4)]), "{items:?}");
    }
}
