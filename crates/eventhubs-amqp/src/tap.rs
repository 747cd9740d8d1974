//! The transfer tap: takes the deliveries of chosen links off the stream before fe2o3-amqp sees them, and grants their
//! credit with flow frames of its own (amqp-crate §3.5). Everything else stays the library's.
//!
//! A state machine without I/O: the stream shows it every frame of both directions.

mod credit;
mod encode;
mod link;
mod registry;
mod session;
mod transfer;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::frame::{AMQP_FRAME, ATTACH, BEGIN, DETACH, END, FLOW, Performative, TRANSFER, Violation, uint};
use session::{Begun, Session};
use transfer::Transfer;

pub(crate) use credit::Prefetch;
pub(crate) use link::{Mode, TappedLink};
pub(crate) use registry::Taps;

/// Follows the sessions and links of one connection.
#[derive(Debug)]
pub(crate) struct Tap {
    taps: Taps,
    /// Sessions that we began and the peer has not, by our channel.
    begun: BTreeMap<u16, Begun>,
    /// Sessions that both have begun, by the channel of the peer.
    sessions: BTreeMap<u16, Session>,
    /// Channels of the peer with deliveries that are not handed over yet.
    touched: Vec<u16>,
    /// The last flow for a sender of the library's, by the channel of the peer: it grants the credit.
    grants: BTreeMap<u16, Bytes>,
}

impl Tap {
    pub(crate) fn new(taps: Taps) -> Self {
        Self {
            taps,
            begun: BTreeMap::new(),
            sessions: BTreeMap::new(),
            touched: Vec::new(),
            grants: BTreeMap::new(),
        }
    }

    /// Takes the frame of the peer that is `block[start..end]` if it is a transfer of a tapped link.
    pub(crate) fn takes(&mut self, block: &Bytes, start: usize, end: usize) -> Result<bool, Violation> {
        let frame = &block[start..end];
        if self.sessions.is_empty() || !Transfer::is(frame) {
            return Ok(false);
        }
        let Some(session) = self.sessions.get_mut(&channel(frame)) else {
            return Ok(false);
        };
        session.count_transfer();
        if session.has_no_link() {
            return Ok(false);
        }
        let transfer = Transfer::read(frame).ok_or(Violation::Malformed)?;
        let payload = start + transfer.payload..end;
        let taken = session.take(&transfer, block, payload)?;
        if taken && self.touched.last() != Some(&channel(frame)) {
            self.touched.push(channel(frame));
        }
        Ok(taken)
    }

    /// Hands what was taken over to the links, and writes the flows that this makes necessary.
    pub(crate) fn settle(&mut self, out: &mut BytesMut) {
        for channel in self.touched.drain(..) {
            if let Some(session) = self.sessions.get_mut(&channel) {
                session.hand_over(out);
            }
        }
    }

    /// Writes the flows that the readers of the links have asked for.
    pub(crate) fn write_due(&mut self, out: &mut BytesMut) {
        for address in self.taps.due() {
            if let Some(session) = self.sessions.get_mut(&address.channel) {
                session.write_flow(address.handle, out);
            }
        }
    }

    /// Learns from a frame of the peer that is passed on.
    pub(crate) fn incoming(
        &mut self,
        frame: &[u8],
        performative: &Performative<'_>,
    ) -> Result<(), Violation> {
        let channel = channel(frame);
        match performative.code {
            BEGIN => self.answered(channel, performative),
            ATTACH => {
                if let Some(session) = self.sessions.get_mut(&channel) {
                    session.attached(channel, performative);
                }
            }
            DETACH => {
                let handle = performative.handle()?;
                if let Some(session) = self.sessions.get_mut(&channel) {
                    session.detached(handle, performative);
                }
            }
            FLOW if performative.field(4).is_some() && self.is_of_the_library(channel) => {
                self.grants.insert(channel, Bytes::copy_from_slice(frame));
            }
            END => {
                self.sessions.remove(&channel);
                self.grants.remove(&channel);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_of_the_library(&self, channel: u16) -> bool {
        self.sessions.get(&channel).is_some_and(Session::has_no_link)
    }

    /// Repeats to the library what it may have missed; it counts from the peer's own counts, so nothing is granted twice.
    pub(crate) fn repeat(&mut self, out: &mut BytesMut) {
        if self.taps.take_missed() {
            self.grants.values().for_each(|flow| out.extend_from_slice(flow));
        }
    }

    fn answered(&mut self, channel: u16, begin: &Performative<'_>) {
        let ours = begin.field(0).and_then(ushort);
        if let (Some(local), Some(next_incoming_id)) = (ours, begin.field(1).and_then(uint))
            && let Some(begun) = self.begun.remove(&local)
        {
            self.sessions.insert(channel, Session::new(local, begun, next_incoming_id));
        }
    }

    /// Appends a whole outgoing frame to what is written, changed where it speaks of what the library cannot know.
    pub(crate) fn outgoing(&mut self, frame: &[u8], out: &mut BytesMut) {
        let performative =
            (frame.get(5) == Some(&AMQP_FRAME)).then(|| Performative::of_frame(frame)).flatten();
        match performative {
            Some(performative) => self.ours(channel(frame), &performative, frame, out),
            None => out.extend_from_slice(frame),
        }
    }

    fn ours(&mut self, channel: u16, performative: &Performative<'_>, frame: &[u8], out: &mut BytesMut) {
        if performative.code == BEGIN {
            self.begun.extend(Begun::read(performative).map(|begun| (channel, begun)));
        }
        let session = self.sessions.values_mut().find(|session| session.local() == channel);
        match (performative.code, session) {
            (FLOW, Some(session)) if !session.has_no_link() => return session.correct(performative, out),
            (ATTACH, Some(session)) => session.attaching(performative, &self.taps),
            (DETACH, Some(session)) => session.detaching(performative),
            (TRANSFER, Some(session)) => session.count_sent(),
            _ => {}
        }
        out.extend_from_slice(frame);
    }
}

fn channel(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[6], frame[7]])
}

fn ushort(field: &[u8]) -> Option<u16> {
    match field {
        [0x60, a, b] => Some(u16::from_be_bytes([*a, *b])),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
