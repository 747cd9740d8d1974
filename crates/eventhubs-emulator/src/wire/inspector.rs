//! A state machine in the stream: reads the control frames of the client that the AMQP library tells nothing about, and
//! changes those in which it does not do as the service does.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use eventhubs_amqp_frames::descriptor::{ATTACH, BEGIN, DETACH, DISPOSITION, END, FLOW, OPEN, TRANSFER};
use eventhubs_amqp_frames::{Performative, Tap, Transfer, Violation};
use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::messaging::TargetArchetype;
use fe2o3_amqp_types::performatives::{Attach, Begin, Detach, Flow, Open};
use tokio::sync::watch;

use crate::auth::address::Address;
use crate::codec::encoded;
use crate::wire::attaching::{Attaching, LinkState};
use crate::wire::frame::{self, Limits, decode, framed};
use crate::wire::frame_writer::FrameWriter;
use crate::wire::late_detaches::Detaches;
use crate::wire::numbers::{
    ClientChannel, ClientHandle, ClientLink, OurChannel, OurHandle, OurLink, SentCount,
};
use crate::wire::receiving_link::ReceivingLink;
use crate::wire::session_flow::{HubsWithoutCredit, SessionFlow};
use crate::wire::shared::Shared;

/// The least that a client may offer (AMQP 1.0 part 2, §2.4.1).
const MIN_MAX_FRAME_SIZE: u32 = 512;

/// What the name of a link ends with, for the library only, if another link of its session has the name.
pub(crate) const SECOND: char = '\u{0}';

/// Follows one connection.
#[derive(Debug)]
pub(crate) struct Inspector {
    shared: Arc<Shared>,
    starved: watch::Receiver<HubsWithoutCredit>,
    pub(crate) limits: Limits,
    /// The silence after which we give a client up; zero for any.
    idle_timeout: Duration,
    sessions: BTreeMap<ClientChannel, SessionFlow>,
    /// The session that is written first next time, so that a busy one does not keep back the others.
    first_session: ClientChannel,
    channels: BTreeMap<OurChannel, ClientChannel>,
    /// The links that the client has attached, of both roles.
    attached: BTreeMap<ClientLink, Attached>,
    /// Those that are not answered yet.
    unanswered: Attaching,
    detaches: Detaches,
    /// Attaches that refuse a link. Each waits for the detach that says why: a client that sees it alone
    /// may detach first, and one that sees a flow in between believes that it is attached.
    refusals: BTreeMap<OurLink, BytesMut>,
    /// Whether the client has opened the connection.
    is_open: bool,
    /// Our open until then: the library does not wait for what the client offers.
    early_open: Option<BytesMut>,
}

#[derive(Debug)]
struct Attached {
    name: String,
    link: LinkState,
}

impl Inspector {
    pub(crate) fn new(
        shared: Arc<Shared>,
        starved: watch::Receiver<HubsWithoutCredit>,
        limits: Limits,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            shared,
            starved,
            limits,
            idle_timeout,
            sessions: BTreeMap::new(),
            first_session: ClientChannel(0),
            channels: BTreeMap::new(),
            attached: BTreeMap::new(),
            unanswered: Attaching::default(),
            detaches: Detaches::default(),
            refusals: BTreeMap::new(),
            is_open: false,
            early_open: None,
        }
    }

    /// Gives a transfer to its link. The library gets only those without a link, and without what they carry, to say so.
    fn incoming_transfer(
        &mut self,
        channel: ClientChannel,
        block: &Bytes,
        range: Range<usize>,
        passed: &mut BytesMut,
    ) -> io::Result<()> {
        let frame = &block[range.clone()];
        // `read` takes the descriptor for one of three bytes, which `is` makes sure of.
        let transfer = Transfer::read(frame).filter(|_| Transfer::is(frame)).ok_or(Violation::Malformed)?;
        // Counted whether the link is known or not, because the client counts it in its window.
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.incoming_transfer();
        }
        match self.attached.get(&ClientLink { channel, handle: ClientHandle(transfer.handle) }) {
            Some(Attached { link: LinkState::Receiving(link), .. }) => {
                link.transfer(transfer, block.slice(range.start + transfer.payload..range.end));
            }
            _ => frame::write(channel.0, &frame[frame::body_start(frame)..transfer.payload], passed),
        }
        Ok(())
    }

    /// The library cannot read what rhea writes for no capabilities; see [`encoded::put_without_empty_arrays`].
    fn incoming_readable(
        &mut self,
        channel: ClientChannel,
        descriptor: u8,
        body: &[u8],
        passed: &mut BytesMut,
    ) -> io::Result<()> {
        let mut readable = Vec::with_capacity(body.len());
        encoded::put_without_empty_arrays(body, &mut readable);
        Performative::read(&readable)?;
        let mut frame = BytesMut::new();
        frame::write(channel.0, &readable, &mut frame);
        self.incoming_control(channel, descriptor, &readable, &frame, passed);
        Ok(())
    }

    fn incoming_control(
        &mut self,
        channel: ClientChannel,
        performative: u8,
        body: &[u8],
        frame: &[u8],
        out: &mut BytesMut,
    ) {
        match performative {
            OPEN => return self.incoming_open(frame, body, out),
            FLOW => return self.incoming_flow(channel, frame, body, out),
            BEGIN => {
                self.detaches.incoming_begin(channel);
                // A client may begin again on the channel without waiting for the answer to its end.
                self.forget_session(channel);
                if let Some(begin) = decode::<Begin>(body) {
                    let session = SessionFlow::new(&begin, self.shared.outbox(channel));
                    self.sessions.insert(channel, session);
                }
            }
            END => {
                self.detaches.incoming_end(channel);
                self.forget_session(channel);
            }
            ATTACH => return self.incoming_attach(channel, frame, body, out),
            // everything goes out settled and comes in settled first; the library loops over the range (amqp-crate §4)
            DISPOSITION => return,
            DETACH => {
                if let Some(detach) = decode::<Detach>(body)
                    && let Some(attached) =
                        self.attached.remove(&ClientLink { channel, handle: ClientHandle(detach.handle.0) })
                {
                    attached.link.close();
                }
            }
            _ => {}
        }
        out.put_slice(frame);
    }

    fn forget_session(&mut self, channel: ClientChannel) {
        self.sessions.remove(&channel);
        self.unanswered.forget_session(channel);
        self.shared.forget_session(channel);
        self.attached.retain(|link, _| link.channel != channel);
    }

    /// The library sends an empty frame in each idle time-out; a client that counts strictly wants two
    /// (docs/contract.md §2).
    fn incoming_open(&mut self, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        self.is_open = true;
        let Some(mut open) = decode::<Open>(body) else {
            return out.put_slice(frame);
        };
        self.shared.identify(&open);
        // The service answers no more than what the client offers; the C library of older SDKs cannot send 100 kB otherwise.
        self.limits.frame = self.limits.frame.min(open.max_frame_size.0.max(MIN_MAX_FRAME_SIZE));
        match open.idle_time_out {
            Some(ms @ 1..) => {
                // Never zero, which would switch the empty frames off.
                open.idle_time_out = Some((ms / 2).max(1));
                frame::put(0, &open, out);
            }
            _ => out.put_slice(frame),
        }
    }

    /// Two links of a session may have one name if they go in opposite directions; the library knows links by their names, so
    /// the second gets another one on its way there.
    fn incoming_attach(&mut self, channel: ClientChannel, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut attach) = decode::<Attach>(body) else {
            return out.put_slice(frame);
        };
        if self.attached.iter().any(|(of, known)| of.channel == channel && known.name == attach.name) {
            attach.name.push(SECOND);
            frame::put(channel.0, &attach, out);
        } else {
            out.put_slice(frame);
        }
        let link = self.link_state(&attach);
        // Twice, since two sides look for it: the writer when our attach goes out, the task when the library
        // hands the attach to it. Either may be first.
        self.unanswered.push(channel, attach.name.clone(), link.clone());
        self.shared.attaches(channel, attach.name.clone(), link.clone());
        let id = ClientLink { channel, handle: ClientHandle(attach.handle.0) };
        self.attached.insert(id, Attached { name: attach.name, link });
    }

    fn link_state(&self, attach: &Attach) -> LinkState {
        if attach.role == Role::Receiver {
            return LinkState::Sending(Arc::default());
        }
        let waiting = Arc::clone(&self.shared.waiting);
        LinkState::Receiving(Arc::new(ReceivingLink::new(waiting, self.limits.message, hub(attach))))
    }

    /// Keeps from the library what is about links, which it knows nothing of but that they are there.
    fn incoming_flow(&mut self, channel: ClientChannel, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut flow) = decode::<Flow>(body) else {
            return out.put_slice(frame);
        };
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.incoming_flow(&mut flow);
        }
        if let Some(handle) = flow.handle.take() {
            let attached = self.attached.get(&ClientLink { channel, handle: ClientHandle(handle.0) });
            if let Some((link, session)) =
                attached.map(|attached| &attached.link).zip(self.sessions.get_mut(&channel))
            {
                link_flow(&flow, link, session);
                flow.echo = false;
            }
            flow = without_link(flow);
        }
        frame::put(channel.0, &flow, out);
    }

    /// Keeps what belongs to a refused link until its detach, which goes out right after its attach, and only once: a client whose own
    /// detach crosses it makes the library send another.
    fn is_held(&mut self, frame: &BytesMut, out: &mut BytesMut) -> bool {
        let Some((channel, performative, body)) = frame::parse(frame) else { return false };
        let channel = OurChannel(channel);
        match performative {
            ATTACH if frame::refuses_link(frame) => {
                let Some(attach) = decode::<Attach>(body) else { return false };
                let link = OurLink { channel, handle: OurHandle(attach.handle.0) };
                self.refusals.insert(link, frame.clone());
                true
            }
            // The credit of its links, which the library gives out by itself and does not use.
            FLOW => decode::<Flow>(body).is_some_and(|flow| flow.handle.is_some()),
            DETACH => {
                let Some(detach) = decode::<Detach>(body) else { return false };
                let link = OurLink { channel, handle: OurHandle(detach.handle.0) };
                // Both frames go into one buffer, so no flow or transfer can come between them.
                if let Some(attach) = self.refusals.remove(&link) {
                    self.put(attach, out);
                } else if self.detaches.is_detached(link) {
                    return true;
                }
                self.detaches.detach(link);
                false
            }
            END => {
                self.refusals.retain(|link, _| link.channel != channel);
                false
            }
            _ => false,
        }
    }

    /// What the client gets in place of a control frame of the library.
    fn replaced(&mut self, channel: OurChannel, performative: u8, body: &[u8]) -> Option<BytesMut> {
        match performative {
            OPEN => return self.announced(decode(body)?),
            BEGIN => self.outgoing_begin(channel, &decode(body)?),
            ATTACH => return self.outgoing_attach(channel, decode(body)?),
            FLOW => return self.outgoing_flow(channel, decode(body)?),
            DETACH => {
                let handle = OurHandle(decode::<Detach>(body)?.handle.0);
                if let Some(session) = self.session_on(channel) {
                    session.detached(handle);
                }
            }
            END => {
                self.outgoing_end(channel);
                return Some(framed(channel.0, &self.detaches.end(channel)?));
            }
            _ => {}
        }
        None
    }

    fn outgoing_begin(&mut self, channel: OurChannel, begin: &Begin) {
        self.detaches.begin(channel, begin);
        let Some(remote) = begin.remote_channel.map(ClientChannel) else { return };
        self.channels.insert(channel, remote);
        if let Some(session) = self.sessions.get_mut(&remote) {
            session.answered(channel, begin);
        }
    }

    fn outgoing_end(&mut self, channel: OurChannel) {
        // The client may have begun its next session on the same channel before we answer the end of this
        // one; that next one has to stay.
        let is_ours = self.session_on(channel).is_some();
        if let Some(remote) = self.channels.remove(&channel)
            && is_ours
        {
            self.sessions.remove(&remote);
        }
    }

    /// The session that we have on this channel, unless the client has ended it.
    fn session_on(&mut self, channel: OurChannel) -> Option<&mut SessionFlow> {
        let remote = self.channels.get(&channel)?;
        self.sessions.get_mut(remote).filter(|session| session.is_on(channel))
    }

    /// That of a session; see [`is_held`](Self::is_held).
    fn outgoing_flow(&mut self, channel: OurChannel, mut flow: Flow) -> Option<BytesMut> {
        if flow.handle.is_some() {
            return None;
        }
        self.session_on(channel)?.refresh(&mut flow);
        Some(framed(channel.0, &flow))
    }

    fn outgoing_attach(&mut self, channel: OurChannel, mut attach: Attach) -> Option<BytesMut> {
        let handle = OurHandle(attach.handle.0);
        self.detaches.attach(OurLink { channel, handle });
        if let Some(remote) = self.channels.get(&channel)
            && let Some(link) = self.unanswered.take(*remote, &attach.name)
            && let Some(session) = self.session_on(channel)
        {
            session.attached(handle, link);
        }
        attach.name = attach.name.strip_suffix(SECOND)?.to_owned();
        Some(framed(channel.0, &attach))
    }

    /// Begins with another session each time that there is no space for all.
    fn write_sessions(&mut self, out: &mut BytesMut) {
        let mut writer = FrameWriter { out, limits: self.limits, shared: &self.shared };
        // Next time begins after the session that used up the space, or that one would always be first.
        for channels in [self.first_session..=ClientChannel(u16::MAX), ClientChannel(0)..=self.first_session]
        {
            for (channel, session) in self.sessions.range_mut(channels) {
                session.write(&mut writer, &self.starved);
                if !writer.has_space() {
                    self.first_session = ClientChannel(channel.0.wrapping_add(1));
                    return;
                }
            }
        }
    }

    fn write_early_open(&mut self, out: &mut BytesMut) {
        if let Some(open) = self.early_open.take() {
            self.put(open, out);
        }
    }

    fn put(&self, frame: BytesMut, out: &mut BytesMut) {
        FrameWriter { out, limits: self.limits, shared: &self.shared }.put(frame);
    }

    /// Announces our idle time-out: the library would spin when it enforces one itself (amqp-crate §4).
    fn announced(&self, mut open: Open) -> Option<BytesMut> {
        if self.idle_timeout.is_zero() {
            return None;
        }
        open.idle_time_out = Some(u32::try_from(self.idle_timeout.as_millis()).unwrap_or(u32::MAX));
        Some(framed(0, &open))
    }
}

impl Tap for Inspector {
    /// What the library reads it decodes by recursion, so every value is walked before.
    fn incoming(&mut self, block: &Bytes, range: Range<usize>, passed: &mut BytesMut) -> io::Result<()> {
        let frame = &block[range.clone()];
        match frame::parse(frame) {
            Some((channel, TRANSFER, _)) => {
                return self.incoming_transfer(ClientChannel(channel), block, range, passed);
            }
            Some((channel, descriptor @ (OPEN | BEGIN | ATTACH), body)) => {
                return self.incoming_readable(ClientChannel(channel), descriptor, body, passed);
            }
            Some((channel, descriptor, body)) => {
                Performative::of_frame(frame)?;
                self.incoming_control(ClientChannel(channel), descriptor, body, frame, passed);
            }
            None => {
                Performative::of_frame(frame)?;
                passed.put_slice(frame);
            }
        }
        Ok(())
    }

    fn outgoing(&mut self, frame: BytesMut, outgoing: &mut BytesMut) {
        let frame = match frame::parse(&frame) {
            Some((_, OPEN, body)) if !self.is_open => {
                self.early_open = Some(decode(body).and_then(|open| self.announced(open)).unwrap_or(frame));
                return;
            }
            Some((channel, performative, body)) => {
                self.write_early_open(outgoing);
                // What was sent before a detach, an end or a close comes before it.
                self.write_sessions(outgoing);
                self.replaced(OurChannel(channel), performative, body).unwrap_or(frame)
            }
            None => frame,
        };
        if !self.is_held(&frame, outgoing) {
            self.put(frame, outgoing);
        }
    }

    /// Messages, outcomes and credit.
    fn unasked(&mut self, outgoing: &mut BytesMut, _passed: &mut BytesMut) {
        if self.is_open {
            self.write_early_open(outgoing);
        }
        if self.starved.has_changed().unwrap_or(false) {
            self.starved.mark_unchanged();
            self.sessions.values_mut().for_each(SessionFlow::credit_changed);
        }
        // What is discarded would count as sent.
        if !self.shared.discards_writes.is_cancelled() {
            self.write_sessions(outgoing);
        }
        self.shared.note_unsent(outgoing.len());
    }
}

/// Takes what the client says about a link.
fn link_flow(flow: &Flow, link: &LinkState, session: &mut SessionFlow) {
    match link {
        LinkState::Sending(link) => {
            link.grant(SentCount::new(flow.delivery_count.unwrap_or(0)), flow.link_credit, flow.drain);
            // The answer to a drain follows once the link has sent what there is.
            if flow.echo && !flow.drain {
                session.echo(link);
            }
        }
        LinkState::Receiving(link) if flow.echo => session.echo_credit(link),
        LinkState::Receiving(_) => {}
    }
}

/// The event hub that a link of a producer leads to, in lower case.
fn hub(attach: &Attach) -> Option<String> {
    let Some(TargetArchetype::Target(target)) = attach.target.as_deref() else { return None };
    match Address::parse(target.address.as_deref().unwrap_or_default()) {
        Address::Hub { hub } | Address::Partition { hub, .. } => Some(hub.to_ascii_lowercase()),
        _ => None,
    }
}

fn without_link(flow: Flow) -> Flow {
    Flow {
        handle: None,
        delivery_count: None,
        link_credit: None,
        available: None,
        drain: false,
        echo: false,
        ..flow
    }
}
