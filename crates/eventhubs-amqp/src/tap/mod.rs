//! The transfer tap: takes the deliveries of chosen links off the stream before fe2o3-amqp sees them, and
//! grants their credit with flow frames of its own. Everything else stays the library's.
//!
//! A state machine without I/O: the stream shows it every frame of both directions. A transfer goes from
//! `session.rs`, which knows whose it is, to the queue in `link.rs`, and from there to `reader.rs`;
//! `credit.rs` decides how many more may come.
//!
//! Tests: `tap/tests.rs` and below it, and in the files where the boundaries are.

mod credit;
mod encode;
mod inspector;
mod link;
mod numbers;
mod reader;
mod registry;
mod session;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eventhubs_amqp_frames::descriptor::{ATTACH, BEGIN, DETACH, END, FLOW, TRANSFER};
use eventhubs_amqp_frames::{
    AMQP_FRAME, Performative, Tap, Transfer, Violation as FrameViolation, channel, field, uint, ushort,
};

use inspector::{Inspector, Violation};
use numbers::{OurChannel, PeerChannel, PeerHandle};
use session::{Begun, SessionState};

pub(crate) use credit::Prefetch;
pub(crate) use inspector::MAX_FRAME_SIZE;
pub(crate) use reader::TappedLink;
pub(crate) use registry::Taps;

/// Follows the sessions and links of one connection.
#[derive(Debug)]
pub(crate) struct TransferTap {
    taps: Taps,
    inspector: Inspector,
    /// Sessions that we began and the peer has not.
    begun: BTreeMap<OurChannel, Begun>,
    /// Sessions that both have begun. By the channel of the peer, since each transfer looks here.
    sessions: BTreeMap<PeerChannel, SessionState>,
    /// Sessions with deliveries that are not handed over yet; one may be here more than once. Empty between
    /// two reads.
    touched: Vec<PeerChannel>,
    /// The last flow for a sender of the library's, which grants the credit. Only of sessions without a
    /// tapped link: the client has its senders on sessions of their own.
    grants: BTreeMap<PeerChannel, Bytes>,
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
    fn takes(&mut self, block: &Bytes, range: Range<usize>) -> Result<bool, FrameViolation> {
        let frame = &block[range.clone()];
        if self.sessions.is_empty() || !Transfer::is(frame) {
            return Ok(false);
        }
        let channel = PeerChannel(channel(frame));
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(false);
        };
        // Also those that the library gets: the window is one of the session, not of a link.
        session.count_transfer();
        if session.has_no_link() {
            return Ok(false);
        }
        let transfer = Transfer::read(frame).ok_or(FrameViolation::Malformed)?;
        let payload = range.start + transfer.payload..range.end;
        let taken = session.take(&transfer, block, payload)?;
        if taken && self.touched.last() != Some(&channel) {
            self.touched.push(channel);
        }
        Ok(taken)
    }

    /// Hands what was taken over to the links, and writes the flows that this makes necessary.
    fn hand_over(&mut self, out: &mut BytesMut) {
        // A session that is here twice has nothing left at the second time. One that has ended since is gone.
        for channel in self.touched.drain(..) {
            if let Some(session) = self.sessions.get_mut(&channel) {
                session.hand_over(out);
            }
        }
    }

    /// Writes the flows that the readers of the links have asked for.
    fn write_due(&mut self, out: &mut BytesMut) {
        for link in self.taps.due() {
            if let Some(session) = self.sessions.get_mut(&link.channel) {
                session.write_flow(link.handle, out);
            }
        }
    }

    /// Learns from a frame of the peer that is passed on.
    fn learn(&mut self, frame: &[u8], performative: &Performative<'_>) -> Result<(), Violation> {
        let channel = PeerChannel(channel(frame));
        match performative.descriptor {
            BEGIN => self.answered(channel, performative),
            ATTACH => {
                if let Some(session) = self.sessions.get_mut(&channel) {
                    session.attached(channel, performative);
                }
            }
            DETACH => {
                let handle = PeerHandle(performative.handle()?);
                if let Some(session) = self.sessions.get_mut(&channel) {
                    session.detached(handle, performative);
                }
            }
            FLOW if grants_credit(performative) && self.is_of_the_library(channel) => {
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

    fn is_of_the_library(&self, channel: PeerChannel) -> bool {
        self.sessions.get(&channel).is_some_and(SessionState::has_no_link)
    }

    /// Repeats to the library what it may have missed; it counts from the peer's own counts, so nothing is
    /// granted twice.
    fn repeat(&mut self, out: &mut BytesMut) {
        if self.taps.take_missed() {
            self.grants.values().for_each(|flow| out.extend_from_slice(flow));
        }
    }

    fn answered(&mut self, channel: PeerChannel, begin: &Performative<'_>) {
        let ours = begin.field(field::begin::REMOTE_CHANNEL).and_then(ushort).map(OurChannel);
        if let (Some(ours), Some(next_incoming_id)) =
            (ours, begin.field(field::begin::NEXT_OUTGOING_ID).and_then(uint))
            && let Some(begun) = self.begun.remove(&ours)
        {
            self.sessions.insert(channel, SessionState::new(ours, begun, next_incoming_id));
        }
    }

    /// Appends a whole outgoing frame to what is written, changed where it speaks of what the library cannot
    /// know.
    fn correct(&mut self, frame: &[u8], out: &mut BytesMut) {
        let is_amqp = frame.get(5) == Some(&AMQP_FRAME);
        let performative = Performative::of_frame(frame).ok().flatten().filter(|_| is_amqp);
        match performative {
            Some(performative) => self.ours(OurChannel(channel(frame)), &performative, frame, out),
            None => out.extend_from_slice(frame),
        }
    }

    fn ours(
        &mut self,
        channel: OurChannel,
        performative: &Performative<'_>,
        frame: &[u8],
        out: &mut BytesMut,
    ) {
        if performative.descriptor == BEGIN {
            self.begun.extend(Begun::read(performative).map(|begun| (channel, begun)));
        }
        let session = self.sessions.values_mut().find(|session| session.channel() == channel);
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

/// Whether a flow is about a link: one about the session only may have a null in the place of the handle.
fn grants_credit(flow: &Performative<'_>) -> bool {
    flow.field(field::flow::HANDLE).and_then(uint).is_some()
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
