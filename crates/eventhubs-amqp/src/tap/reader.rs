//! The reader's end of a tapped link.
//!
//! Tests: `tap/tests/links.rs`.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use super::credit::Prefetch;
use super::link::{LinkState, Outcome};
use super::registry::Taps;

/// The reader's end of a link. Dropping it discards what is queued and what still comes.
#[derive(Debug)]
pub(crate) struct TappedLink {
    name: String,
    state: Arc<LinkState>,
    taps: Taps,
}

impl TappedLink {
    /// Takes the transfers of the link of this name, from its attach on.
    pub(crate) fn expect(taps: &Taps, name: &str, prefetch: Prefetch) -> Self {
        Self::new(taps, name, LinkState::new(prefetch))
    }

    /// Leaves the transfers to the library, and watches how the link ends.
    #[cfg(test)]
    pub(crate) fn watch(taps: &Taps, name: &str, prefetch: Prefetch) -> Self {
        Self::new(taps, name, LinkState::watched(prefetch))
    }

    fn new(taps: &Taps, name: &str, state: LinkState) -> Self {
        let state = Arc::new(state);
        taps.expect(name, Arc::clone(&state));
        Self { name: name.to_owned(), state, taps: taps.clone() }
    }

    /// Takes messages from the queue, at most `max` and half of the bytes that may be sent ahead, and grants
    /// credit for the room of those that were taken before: the reader has done with them.
    pub(crate) fn take(&self, max: usize) -> Vec<Bytes> {
        let messages = self.state.take(max);
        self.top_up();
        messages
    }

    /// Grants what credit there is room for.
    pub(crate) fn top_up(&self) {
        if let Some(address) = self.state.top_up() {
            self.taps.request_flow(address);
        }
    }

    /// Waits until there are messages or the link is known to yield none any more.
    pub(crate) async fn ready(&self) {
        poll_fn(|cx| self.state.poll_ready(cx)).await;
    }

    /// Drops what is queued and what still comes.
    pub(crate) fn discard(&self) {
        self.state.close();
    }

    /// Why no more comes, as far as the stream knows.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.state.outcome()
    }

    pub(crate) fn is_stolen(&self) -> bool {
        self.state.is_stolen()
    }
}

impl Drop for TappedLink {
    fn drop(&mut self) {
        self.taps.forget(&self.name);
        self.state.close();
    }
}
