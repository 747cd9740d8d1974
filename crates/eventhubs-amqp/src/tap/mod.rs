//! The transfer tap: takes the deliveries of chosen links off the stream before fe2o3-amqp sees them, and grants their
//! credit with flow frames of its own (amqp-crate §3.5). Everything else stays the library's.
//!
//! A state machine without I/O: the stream shows it every frame of both directions.

mod credit;
mod encode;
mod inspector;
mod link;
mod reader;
mod registry;
mod session;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use eventhubs_amqp_frames::descriptor::{ATTACH, BEGIN, DETACH, END, FLOW, TRANSFER};
use eventhubs_amqp_frames::{AMQP_FRAME, Performative, Tap, Transfer, channel, field, uint, ushort};

use inspector::{Inspector, Violation};
use session::{Begun, Session};

pub(crate) use credit::Prefetch;
pub(crate) use inspector::MAX_FRAME_SIZE;
pub(crate) use reader::TappedLink;
pub(crate) use registry::Taps;

/// Follows the sessions and links of one connection.
#[derive(Debug)]
pub(crate) struct TransferTap {
    taps: Taps,
    inspector: Inspector,
    /// Sessions that we began and the peer has not, by our channel.
    begun: BTreeMap<u16, Begun>,
    /// Sessions that both have begun, by the channel of the peer.
    sessions: BTreeMap<u16, Session>,
    /// Channels of the peer with deliveries that are not handed over yet.
    touched: Vec<u16>,
    /// The last flow for a sender of the library's, by the channel of the peer: it grants the credit.
    grants: BTreeMap<u16, Bytes>,
}

impl TransferTap {
    pub(crate) fn new(taps: Taps) -> Self {
        Self {
            taps,
            inspector: Inspector::default(),
            begun: BTreeMap::new(),
            sessions: BTreeMap::new(),
            touched: Vec::new(),
            grants: BTreeMap::new(),
        }
    }

    /// Takes the frame of the peer that is `block[range]` if it is a transfer of a tapped link.
    fn takes(
        &mut self,
        block: &Bytes,
        range: Range<usize>,
    ) -> Result<bool, eventhubs_amqp_frames::Violation> {
        let frame = &block[range.clone()];
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
        let transfer = Transfer::read(frame).ok_or(eventhubs_amqp_frames::Violation::Malformed)?;
        let payload = range.start + transfer.payload..range.end;
        let taken = session.take(&transfer, block, payload)?;
        if taken && self.touched.last() != Some(&channel(frame)) {
            self.touched.push(channel(frame));
        }
        Ok(taken)
    }

    /// Hands what was taken over to the links, and writes the flows that this makes necessary.
    fn hand_over(&mut self, out: &mut BytesMut) {
        for channel in self.touched.drain(..) {
            if let Some(session) = self.sessions.get_mut(&channel) {
                session.hand_over(out);
            }
        }
    }

    /// Writes the flows that the readers of the links have asked for.
    fn write_due(&mut self, out: &mut BytesMut) {
        for address in self.taps.due() {
            if let Some(session) = self.sessions.get_mut(&address.channel) {
                session.write_flow(address.handle, out);
            }
        }
    }

    /// Learns from a frame of the peer that is passed on.
    fn learn(&mut self, frame: &[u8], performative: &Performative<'_>) -> Result<(), Violation> {
        let channel = channel(frame);
        match performative.descriptor {
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
            FLOW if performative.field(field::flow::HANDLE).is_some() && self.is_of_the_library(channel) => {
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
    fn repeat(&mut self, out: &mut BytesMut) {
        if self.taps.take_missed() {
            self.grants.values().for_each(|flow| out.extend_from_slice(flow));
        }
    }

    fn answered(&mut self, channel: u16, begin: &Performative<'_>) {
        let ours = begin.field(field::begin::REMOTE_CHANNEL).and_then(ushort);
        if let (Some(local), Some(next_incoming_id)) =
            (ours, begin.field(field::begin::NEXT_OUTGOING_ID).and_then(uint))
            && let Some(begun) = self.begun.remove(&local)
        {
            self.sessions.insert(channel, Session::new(local, begun, next_incoming_id));
        }
    }

    /// Appends a whole outgoing frame to what is written, changed where it speaks of what the library cannot know.
    fn correct(&mut self, frame: &[u8], out: &mut BytesMut) {
        let is_amqp = frame.get(5) == Some(&AMQP_FRAME);
        let performative = Performative::of_frame(frame).ok().flatten().filter(|_| is_amqp);
        match performative {
            Some(performative) => self.ours(channel(frame), &performative, frame, out),
            None => out.extend_from_slice(frame),
        }
    }

    fn ours(&mut self, channel: u16, performative: &Performative<'_>, frame: &[u8], out: &mut BytesMut) {
        if performative.descriptor == BEGIN {
            self.begun.extend(Begun::read(performative).map(|begun| (channel, begun)));
        }
        let session = self.sessions.values_mut().find(|session| session.local() == channel);
        match (performative.descriptor, session) {
            (FLOW, Some(session)) if !session.has_no_link() => return session.correct(performative, out),
            (ATTACH, Some(session)) => session.attaching(performative, &self.taps),
            (DETACH, Some(session)) => session.detaching(performative),
            (TRANSFER, Some(session)) => session.count_sent(),
            _ => {}
        }
        out.extend_from_slice(frame);
    }
}

impl Tap for TransferTap {
    fn incoming(&mut self, block: &Bytes, frame: Range<usize>, passed: &mut BytesMut) -> io::Result<()> {
        if self.takes(block, frame.clone())? {
            return Ok(());
        }
        let frame = &block[frame];
        if let Some(performative) = self.inspector.inspect(frame)? {
            self.learn(frame, &performative)?;
        }
        passed.extend_from_slice(frame);
        Ok(())
    }

    fn settle(&mut self, outgoing: &mut BytesMut) {
        self.hand_over(outgoing);
    }

    fn outgoing(&mut self, frame: BytesMut, outgoing: &mut BytesMut) {
        self.correct(&frame, outgoing);
    }

    fn unasked(&mut self, outgoing: &mut BytesMut, passed: &mut BytesMut) {
        self.write_due(outgoing);
        self.repeat(passed);
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.inspector.idle_timeout()
    }
}

/// A peer says this, in pieces whose lengths are part of it; whatever it is, only whole frames may pass.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    use eventhubs_amqp_frames::{GuardedStream, KillSwitch, Limits, whole_frames};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, mut peer) = duplex(bytes.len() + 1);
        let switch = KillSwitch::default();
        let tap = TransferTap::new(Taps::new(switch.clone()));
        let mut stream = GuardedStream::new(ours, tap, switch, Limits::new(MAX_FRAME_SIZE));
        let (mut rest, mut passed) = (bytes, Vec::new());
        while let Some((length, more)) = rest.split_first() {
            let (piece, more) = more.split_at(usize::from(*length).min(more.len()));
            peer.write_all(piece).await.expect("room for all");
            rest = more;
        }
        drop(peer);
        let _ = stream.read_to_end(&mut passed).await;
        let whole = whole_frames(&passed, MAX_FRAME_SIZE).expect("only frames pass");
        assert_eq!(whole, passed.len(), "only whole frames pass");
    });
}

#[cfg(test)]
mod tests;
