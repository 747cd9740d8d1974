//! Links between the attach that comes in and the place where it is answered or served. The AMQP library tells them by their names, in
//! the order of the attaches; handles are of no use for that, since a client may use one again at once. Tests: here.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::wire::numbers::ClientChannel;
use crate::wire::receiving_link::ReceivingLink;
use crate::wire::sending_link::SendingLink;

/// How many may wait; the library refuses more handles than that in one session.
const MAX_WAITING: usize = 4096;

/// What the stream and the task of a link share, by what the emulator does on the link.
#[derive(Debug, Clone)]
pub(crate) enum LinkState {
    Sending(Arc<SendingLink>),
    Receiving(Arc<ReceivingLink>),
}

impl LinkState {
    /// Closes the link for good.
    pub(crate) fn close(&self) {
        match self {
            Self::Sending(link) => link.close(),
            Self::Receiving(link) => link.close(),
        }
    }
}

/// Links in the order of their attaches, by the client's channel.
#[derive(Debug, Default)]
pub(crate) struct Attaching(VecDeque<(ClientChannel, String, LinkState)>);

impl Attaching {
    pub(crate) fn push(&mut self, channel: ClientChannel, name: String, link: LinkState) {
        if self.0.len() == MAX_WAITING {
            // Only a client that attaches without waiting for any answer comes here; its oldest links get no credit.
            self.0.pop_front();
        }
        self.0.push_back((channel, name, link));
    }

    /// Takes the oldest link with this name.
    pub(crate) fn take(&mut self, channel: ClientChannel, name: &str) -> Option<LinkState> {
        let index = self.0.iter().position(|(of, known, _)| *of == channel && known == name)?;
        self.0.remove(index).map(|(.., link)| link)
    }

    pub(crate) fn forget_session(&mut self, channel: ClientChannel) {
        self.0.retain(|(of, ..)| *of != channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ClientChannel = ClientChannel(0);

    #[test]
    fn links_of_one_name_come_in_the_order_of_their_attaches() {
        let mut attaching = Attaching::default();
        let [first, second]: [Arc<SendingLink>; 2] = Default::default();
        for link in [&first, &second] {
            attaching.push(CHANNEL, "a".to_owned(), LinkState::Sending(Arc::clone(link)));
        }
        assert!(attaching.take(ClientChannel(1), "a").is_none() && attaching.take(CHANNEL, "b").is_none());
        for link in [&first, &second] {
            let Some(LinkState::Sending(taken)) = attaching.take(CHANNEL, "a") else { panic!("it is there") };
            assert!(Arc::ptr_eq(&taken, link));
        }
        assert!(attaching.take(CHANNEL, "a").is_none());
    }

    #[test]
    fn the_oldest_one_leaves_when_there_are_too_many() {
        let mut attaching = Attaching::default();
        let any = LinkState::Sending(Arc::default());
        attaching.push(CHANNEL, "first".to_owned(), any.clone());
        for _ in 0..MAX_WAITING {
            attaching.push(CHANNEL, "a".to_owned(), any.clone());
        }
        assert!(attaching.take(CHANNEL, "first").is_none());
        attaching.forget_session(CHANNEL);
        assert!(attaching.0.is_empty());
    }
}
