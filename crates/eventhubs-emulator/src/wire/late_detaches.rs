//! What comes too late for the client: a second detach, and a reason after its own end. The SDK for JavaScript closes the connection
//! on either.

use std::collections::{BTreeMap, BTreeSet};

use fe2o3_amqp_types::performatives::{Begin, End};

use crate::wire::numbers::{ClientChannel, OurChannel, OurLink};

/// Follows the links and sessions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Detaches {
    /// Links that have ended on sessions that have not.
    detached: BTreeSet<OurLink>,
    /// The client's channel of each session, by ours.
    channels: BTreeMap<OurChannel, ClientChannel>,
    /// Of the client, those on which it has ended the session.
    ended: BTreeSet<ClientChannel>,
}

impl Detaches {
    /// The client begins a session on its channel.
    pub(crate) fn incoming_begin(&mut self, channel: ClientChannel) {
        // The same channel, another session: its end is still to come.
        self.ended.remove(&channel);
    }

    /// The client ends the session on its channel.
    pub(crate) fn incoming_end(&mut self, channel: ClientChannel) {
        self.ended.insert(channel);
    }

    /// We answer a begin.
    pub(crate) fn begin(&mut self, channel: OurChannel, begin: &Begin) {
        self.forget_session(channel);
        self.channels.extend(begin.remote_channel.map(|remote| (channel, ClientChannel(remote))));
    }

    /// We attach a link.
    pub(crate) fn attach(&mut self, link: OurLink) {
        self.detached.remove(&link);
    }

    /// We detach a link.
    pub(crate) fn detach(&mut self, link: OurLink) {
        self.detached.insert(link);
    }

    /// Whether the client got a detach of the link already.
    pub(crate) fn is_detached(&self, link: OurLink) -> bool {
        self.detached.contains(&link)
    }

    /// What the client gets when we end a session: no reason if it did so first.
    pub(crate) fn end(&mut self, channel: OurChannel) -> Option<End> {
        let remote = self.channels.get(&channel).copied();
        self.forget_session(channel);
        remote.is_some_and(|remote| self.ended.remove(&remote)).then_some(End { error: None })
    }

    fn forget_session(&mut self, channel: OurChannel) {
        self.detached.retain(|link| link.channel != channel);
        self.channels.remove(&channel);
    }
}
