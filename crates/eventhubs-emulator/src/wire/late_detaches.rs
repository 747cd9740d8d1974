//! What comes too late for the client: a second detach, and a reason after its own end. The SDK for JavaScript closes the connection
//! on either.

use std::collections::{BTreeMap, BTreeSet};

use fe2o3_amqp_types::performatives::{Begin, End};

use crate::wire::shared::LinkId;

/// Follows the links and sessions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Detaches {
    /// Links that have ended on sessions that have not, by our channel and handle.
    detached: BTreeSet<LinkId>,
    /// The client's channel of each session, by ours.
    channels: BTreeMap<u16, u16>,
    /// Of the client, those on which it has ended the session.
    ended: BTreeSet<u16>,
}

impl Detaches {
    /// The client begins a session on its channel.
    pub(crate) fn incoming_begin(&mut self, channel: u16) {
        // The same channel, another session: its end is still to come.
        self.ended.remove(&channel);
    }

    /// The client ends the session on its channel.
    pub(crate) fn incoming_end(&mut self, channel: u16) {
        self.ended.insert(channel);
    }

    /// We answer a begin.
    pub(crate) fn begin(&mut self, channel: u16, begin: &Begin) {
        self.forget_session(channel);
        self.channels.extend(begin.remote_channel.map(|remote| (channel, remote)));
    }

    /// We attach a link.
    pub(crate) fn attach(&mut self, link: LinkId) {
        self.detached.remove(&link);
    }

    /// We detach a link.
    pub(crate) fn detach(&mut self, link: LinkId) {
        self.detached.insert(link);
    }

    /// Whether the client got a detach of the link already.
    pub(crate) fn is_detached(&self, link: LinkId) -> bool {
        self.detached.contains(&link)
    }

    /// What the client gets when we end a session: no reason if it did so first.
    pub(crate) fn end(&mut self, channel: u16) -> Option<End> {
        let remote = self.channels.get(&channel).copied();
        self.forget_session(channel);
        remote.is_some_and(|remote| self.ended.remove(&remote)).then_some(End { error: None })
    }

    fn forget_session(&mut self, channel: u16) {
        self.detached.retain(|(of, _)| *of != channel);
        self.channels.remove(&channel);
    }
}
