//! The state of one link on which the emulator sends: its credit, its handle, whether it is open. The stream writes it, the task of the
//! link spends the credit. The AMQP library keeps credit to itself, and answers a drain before it has sent what there is (amqp-crate
//! §2.2), so no flow of such a link reaches it. Who writes the transfers: `inspector.rs`. Tests: here, and `tests/it/credit.rs`.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::sync::lock;
use crate::wire::numbers::{OurHandle, SentCount};

/// Where events and responses leave for one client link.
#[derive(Debug, Default)]
pub(crate) struct SendingLink {
    state: Mutex<State>,
    changed: Notify,
}

/// What has been spent is in the outbox or has been written (AMQP 1.0 part 2, §2.6.7).
#[derive(Debug, Default)]
struct State {
    spent: SentCount,
    /// The credit after `spent`; up to all of `u32`.
    left: u32,
    draining: bool,
    /// Our handle, from our attach to the first detach of either side.
    handle: Option<OurHandle>,
    closed: bool,
}

/// What a link may do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Send,
    /// The client waits for an answer once there is nothing to send.
    Drain,
    Wait,
}

impl SendingLink {
    /// Opens the link: our attach is written, so that transfers may follow. A link that has been closed meanwhile stays closed.
    pub(crate) fn attach(&self, handle: OurHandle) {
        let mut state = lock(&self.state);
        debug_assert!(state.handle.is_none(), "a link is attached once");
        // The detach of the client may have come in before our attach goes out.
        state.handle = (!state.closed).then_some(handle);
        self.changed.notify_one();
    }

    /// Closes the link for good: nothing more is written on it.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.handle = None;
        state.closed = true;
    }

    /// Returns our handle while the link is open.
    pub(crate) fn handle(&self) -> Option<OurHandle> {
        lock(&self.state).handle
    }

    /// Whether our attach is still to come.
    pub(crate) fn is_awaited(&self) -> bool {
        let state = lock(&self.state);
        state.handle.is_none() && !state.closed
    }

    /// Takes a flow of the client: so much credit, after the deliveries that it has counted. Without credit it is about draining
    /// only.
    pub(crate) fn grant(&self, delivery_count: SentCount, credit: Option<u32>, draining: bool) {
        let mut state = lock(&self.state);
        if let Some(credit) = credit {
            // A client that lowers its credit below what is on the way has none left.
            state.left = credit.saturating_sub(state.spent.since(delivery_count));
        }
        state.draining = draining;
        self.changed.notify_one();
    }

    /// Returns the credit that is left.
    pub(crate) fn outstanding(&self) -> u32 {
        lock(&self.state).left
    }

    /// Returns the credit that is left after what this count has delivered.
    pub(crate) fn left_after(&self, delivery_count: SentCount) -> u32 {
        let state = lock(&self.state);
        state.left.saturating_add(state.spent.since(delivery_count))
    }

    /// Spends credit for one delivery, if there is some. None is spent before the link is open: the client could get a transfer before
    /// our attach.
    pub(crate) fn spend(&self) -> Turn {
        let mut state = lock(&self.state);
        match state.left {
            _ if state.handle.is_none() => Turn::Wait,
            0 if state.draining => Turn::Drain,
            0 => Turn::Wait,
            _ => {
                state.spent = state.spent.next();
                state.left -= 1;
                Turn::Send
            }
        }
    }

    /// Waits until the client wants the link drained.
    pub(crate) async fn drain_wanted(&self) {
        while !self.is_draining() {
            self.changed.notified().await;
        }
    }

    fn is_draining(&self) -> bool {
        let state = lock(&self.state);
        state.draining && state.handle.is_some()
    }

    /// Waits for the next flow of the client, or our attach. One that came since the last wait counts.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends a drain: returns the credit that is left, which is void from now on.
    pub(crate) fn give_back(&self) -> u32 {
        let mut state = lock(&self.state);
        let returned = std::mem::take(&mut state.left);
        // As if delivered: the client counts the same way when it reads the answer, and a flow that crosses
        // it would else give the credit a second time.
        state.spent = state.spent.after(returned);
        state.draining = false;
        returned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> SendingLink {
        let link = SendingLink::default();
        link.attach(OurHandle(0));
        link
    }

    #[test]
    fn credit_is_the_distance_from_the_count_to_the_limit() {
        let link = open();
        assert_eq!(link.spend(), Turn::Wait);
        link.grant(SentCount::new(0), Some(2), false);
        assert_eq!([link.spend(), link.spend(), link.spend()], [Turn::Send, Turn::Send, Turn::Wait]);
        link.grant(SentCount::new(0), Some(1), false);
        assert_eq!(link.outstanding(), 0);
        link.grant(SentCount::new(1), Some(4), false);
        assert_eq!((link.outstanding(), link.left_after(SentCount::new(1))), (3, 4));
    }

    #[test]
    fn a_drained_link_gives_back_what_it_did_not_need() {
        let link = open();
        link.grant(SentCount::new(0), Some(10), true);
        assert_eq!(link.spend(), Turn::Send);
        assert_eq!(link.give_back(), 9);
        assert_eq!((link.outstanding(), link.spend()), (0, Turn::Wait));
        link.grant(SentCount::new(0), None, true);
        assert_eq!(link.spend(), Turn::Drain);
    }

    /// A client may send its flow right after its attach, before ours.
    #[test]
    fn credit_waits_for_the_attach_and_ends_with_the_detach() {
        let link = SendingLink::default();
        link.grant(SentCount::new(0), Some(2), true);
        assert_eq!((link.spend(), link.is_draining()), (Turn::Wait, false));
        link.attach(OurHandle(7));
        assert_eq!((link.spend(), link.handle()), (Turn::Send, Some(OurHandle(7))));
        link.close();
        assert_eq!((link.spend(), link.handle()), (Turn::Wait, None));
    }

    /// The client has detached already when our attach goes out.
    #[test]
    fn a_closed_link_is_not_opened() {
        let link = SendingLink::default();
        link.close();
        link.attach(OurHandle(7));
        assert_eq!(link.handle(), None);
    }

    #[test]
    fn counts_wrap_and_the_largest_credit_is_credit() {
        let link = open();
        link.grant(SentCount::new(0), Some(u32::MAX), false);
        assert_eq!((link.give_back(), link.outstanding()), (u32::MAX, 0));
        link.grant(SentCount::new(u32::MAX), Some(2), false);
        assert_eq!([link.spend(), link.spend(), link.spend()], [Turn::Send, Turn::Send, Turn::Wait]);
        link.grant(SentCount::new(0), Some(u32::MAX), false);
        assert_eq!((link.outstanding(), link.left_after(SentCount::new(0))), (u32::MAX - 1, u32::MAX));
    }
}
