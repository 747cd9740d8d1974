//! What consumers grant and want drained. The AMQP library keeps credit to itself, and answers a drain before it has sent
//! what is there (amqp-crate §2.2), so the links count credit themselves.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::hub::lock;

/// The credit of one consumer link: written by the [`Tap`](crate::tap::Tap), spent by the link.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    state: Mutex<State>,
    changed: Notify,
}

/// In delivery counts, which wrap (AMQP 1.0 part 2, §2.6.7).
#[derive(Debug, Default)]
struct State {
    sent: u32,
    limit: u32,
    draining: bool,
}

/// What a link may do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Send,
    /// The consumer wants an answer once there is nothing to send.
    Drain,
    Wait,
}

/// Credit that a drained link gives back: from this delivery count on, so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) delivery_count: u32,
    pub(crate) credit: u32,
}

impl Credit {
    /// Takes the word of the consumer; without `limit` it is about draining only.
    pub(crate) fn grant(&self, limit: Option<u32>, draining: bool) {
        let mut state = lock(&self.state);
        state.limit = limit.unwrap_or(state.limit);
        state.draining = draining;
        self.changed.notify_one();
    }

    /// The credit that is left.
    pub(crate) fn outstanding(&self) -> u32 {
        lock(&self.state).outstanding()
    }

    /// Spends credit for one delivery, if there is some.
    pub(crate) fn spend(&self) -> Turn {
        let mut state = lock(&self.state);
        if state.outstanding() == 0 {
            return if state.draining { Turn::Drain } else { Turn::Wait };
        }
        state.sent = state.sent.wrapping_add(1);
        Turn::Send
    }

    /// Waits until the consumer wants the link drained.
    pub(crate) async fn drain_wanted(&self) {
        while !lock(&self.state).draining {
            self.changed.notified().await;
        }
    }

    /// Waits for the next word of the consumer. One that came since the last wait counts.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends a drain: all credit that is left goes back to the consumer.
    pub(crate) fn give_back(&self) -> Returned {
        let mut state = lock(&self.state);
        let returned = Returned { delivery_count: state.sent, credit: state.outstanding() };
        state.sent = state.sent.wrapping_add(returned.credit);
        state.draining = false;
        returned
    }
}

impl State {
    /// A consumer that lowers the limit below what is sent has none left.
    fn outstanding(&self) -> u32 {
        let left = self.limit.wrapping_sub(self.sent);
        if left > u32::MAX / 2 { 0 } else { left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_what_lies_between_the_count_and_the_limit() {
        let credit = Credit::default();
        assert_eq!(credit.spend(), Turn::Wait);
        credit.grant(Some(2), false);
        assert_eq!([credit.spend(), credit.spend(), credit.spend()], [Turn::Send, Turn::Send, Turn::Wait]);
        credit.grant(Some(1), false);
        assert_eq!(credit.outstanding(), 0);
        credit.grant(Some(5), false);
        assert_eq!(credit.outstanding(), 3);
    }

    #[test]
    fn a_drained_link_gives_back_what_it_did_not_need() {
        let credit = Credit::default();
        credit.grant(Some(10), true);
        assert_eq!(credit.spend(), Turn::Send);
        assert_eq!(credit.give_back(), Returned { delivery_count: 1, credit: 9 });
        assert_eq!((credit.outstanding(), credit.spend()), (0, Turn::Wait));
        credit.grant(None, true);
        assert_eq!(credit.spend(), Turn::Drain);
    }

    #[test]
    fn counts_wrap() {
        let credit = Credit::default();
        credit.grant(Some(u32::MAX / 2), false);
        credit.give_back();
        credit.grant(Some(u32::MAX - 1), false);
        credit.give_back();
        credit.grant(Some(3), false);
        assert_eq!(credit.outstanding(), 5);
    }
}
