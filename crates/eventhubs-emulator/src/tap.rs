//! A state machine in the stream: reads the control frames of the client that the AMQP library tells nothing about, and
//! changes those in which it does not do as the service does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::performatives::{Attach, Begin, Detach, Flow, Open};
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use crate::address::Address;
use crate::encoded;
use crate::feeding::Feeding;
use crate::flow::Returned;
use crate::frame::{self, Limits};
use crate::late::Late;
use crate::line::{Line, LinkId};
use crate::opaque;
use crate::room::Room;

const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const TRANSFER: u8 = 0x14;
const DISPOSITION: u8 = 0x15;
const DETACH: u8 = 0x16;
const END: u8 = 0x17;

/// What the name of a link ends with, for the library only, if another link of its session has the name.
pub(crate) const SECOND: char = '\u{0}';

/// Follows one connection.
#[derive(Debug)]
pub(crate) struct Tap {
    line: Arc<Line>,
    feeding: Feeding,
    pub(crate) limits: Limits,
    /// The silence after which we give a client up; zero for any.
    idle_timeout: Duration,
    /// The last flow on each channel: what it says about the session holds until the next one.
    sessions: BTreeMap<u16, Flow>,
    /// By our channel.
    rooms: BTreeMap<u16, Arc<Room>>,
    /// The links that the client has attached, of both roles, with their names.
    attached: BTreeMap<LinkId, String>,
    late: Late,
    /// Attaches that refuse a link, by our channel and handle. Each waits for the detach that says why: a client that sees it alone
    /// may detach first, and one that sees a flow in between believes that it is attached.
    refusals: BTreeMap<LinkId, BytesMut>,
}

impl Tap {
    pub(crate) fn new(line: Arc<Line>, feeding: Feeding, limits: Limits, idle_timeout: Duration) -> Self {
        Self {
            line,
            feeding,
            limits,
            idle_timeout,
            sessions: BTreeMap::new(),
            rooms: BTreeMap::new(),
            attached: BTreeMap::new(),
            late: Late::default(),
            refusals: BTreeMap::new(),
        }
    }

    /// Takes a whole frame of the client and writes what the library shall read instead.
    pub(crate) fn incoming(&mut self, frame: &[u8], out: &mut BytesMut) {
        match frame::parse(frame) {
            Some((channel, performative @ (OPEN | BEGIN | ATTACH), body)) => {
                let mut readable = Vec::with_capacity(body.len());
                encoded::put_without_empty_arrays(body, &mut readable);
                let mut frame = BytesMut::new();
                frame::write(channel, &readable, &mut frame);
                self.incoming_control(channel, performative, &readable, &frame, out);
            }
            Some((channel, performative, body)) => {
                self.incoming_control(channel, performative, body, frame, out);
            }
            None => opaque::put_incoming(frame, out),
        }
    }

    fn incoming_control(
        &mut self,
        channel: u16,
        performative: u8,
        body: &[u8],
        frame: &[u8],
        out: &mut BytesMut,
    ) {
        match performative {
            OPEN => return self.incoming_open(frame, body, out),
            FLOW => return self.incoming_flow(channel, frame, body, out),
            BEGIN => {
                self.late.incoming_begin(channel);
                self.forget_session(channel);
            }
            END => {
                self.late.incoming_end(channel);
                self.forget_session(channel);
            }
            ATTACH => return self.incoming_attach(channel, frame, body, out),
            // everything goes out settled and comes in settled first; the library loops over the range (amqp-crate §4)
            DISPOSITION => return,
            DETACH => {
                if let Some(detach) = decode::<Detach>(body) {
                    let link = (channel, detach.handle.0);
                    self.line.close_credit(link);
                    self.attached.remove(&link);
                }
            }
            _ => {}
        }
        opaque::put_incoming(frame, out);
    }

    fn forget_session(&mut self, channel: u16) {
        self.sessions.remove(&channel);
        self.line.forget_session(channel);
        self.attached.retain(|(of, _), _| *of != channel);
    }

    /// The library sends an empty frame in each idle time-out; a client that counts strictly wants two (contract §2).
    fn incoming_open(&mut self, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut open) = decode::<Open>(body) else {
            return out.put_slice(frame);
        };
        self.line.meet(&open);
        // The service answers no more than what the client offers; the C library of older SDKs cannot send 100 kB otherwise.
        self.limits.frame = self.limits.frame.min(open.max_frame_size.0);
        match open.idle_time_out {
            Some(ms @ 1..) => {
                open.idle_time_out = Some((ms / 2).max(1));
                write(0, &open, out);
            }
            _ => out.put_slice(frame),
        }
    }

    /// Two links of a session may have one name if they go in opposite directions; the library knows links by their names, so
    /// the second gets another one on its way there.
    fn incoming_attach(&mut self, channel: u16, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut attach) = decode::<Attach>(body) else {
            return out.put_slice(frame);
        };
        let link = (channel, attach.handle.0);
        let address = attach.source.as_ref().and_then(|source| source.address.as_deref());
        let reads = attach.role == Role::Receiver;
        if reads && matches!(Address::parse(address.unwrap_or_default()), Address::ConsumerGroup { .. }) {
            self.line.open_credit(link);
        }
        if self.attached.iter().any(|((of, _), name)| *of == channel && *name == attach.name) {
            attach.name.push(SECOND);
            write(channel, &attach, out);
        } else {
            out.put_slice(frame);
        }
        self.attached.insert(link, attach.name);
    }

    /// Keeps from the library what it would do wrong: answer a wish for a drain before the link has sent what is there, and
    /// collect flows of links that nobody attached (amqp-crate §4).
    fn incoming_flow(&mut self, channel: u16, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut flow) = decode::<Flow>(body) else {
            return out.put_slice(frame);
        };
        let link = flow.handle.as_ref().map(|handle| (channel, handle.0));
        if link.is_some_and(|link| !self.attached.contains_key(&link)) {
            flow = without_link(flow);
        } else if let Some(credit) = link.and_then(|link| self.line.credit(link)) {
            let limit = flow.link_credit.map(|credit| flow.delivery_count.unwrap_or(0).wrapping_add(credit));
            credit.grant(limit, flow.drain);
            flow.echo &= !flow.drain;
            flow.drain = false;
        }
        write(channel, &flow, out);
        self.sessions.insert(channel, flow);
    }

    /// Tells the library of the links that are drained: it counts, and tells the client; and wakes those of its links that
    /// may have missed their credit: any flow does.
    pub(crate) fn word(&self, reader: &Waker, out: &mut BytesMut) {
        for (link, returned) in self.line.take_drained(reader) {
            if let Some(flow) = self.drain(link, returned) {
                write(link.0, &flow, out);
            }
        }
        for link in self.line.take_missed() {
            if let Some(flow) = self.wake(link) {
                write(link.0, &flow, out);
            }
        }
    }

    fn wake(&self, link: LinkId) -> Option<Flow> {
        self.attached.get(&link)?;
        let session = self.sessions.get(&link.0)?.clone();
        Some(Flow { handle: Some(Handle(link.1)), echo: false, ..without_link(session) })
    }

    fn drain(&self, (channel, handle): LinkId, returned: Returned) -> Option<Flow> {
        Some(Flow {
            handle: Some(Handle(handle)),
            delivery_count: Some(returned.delivery_count),
            link_credit: Some(returned.credit),
            drain: true,
            echo: false,
            ..self.sessions.get(&channel)?.clone()
        })
    }

    /// Takes a whole frame of the library and writes what the client shall get.
    pub(crate) fn outgoing(&mut self, frame: BytesMut, out: &mut BytesMut) {
        let frame = match frame::parse(&frame) {
            Some((channel, TRANSFER, _)) => return self.outgoing_transfer(channel, frame, out),
            Some((channel, performative, body)) => {
                self.replaced(channel, performative, body).unwrap_or(frame)
            }
            None => frame,
        };
        if self.is_held(&frame, out) {
            return;
        }
        self.put(frame, out);
    }

    /// Keeps what belongs to a refused link until its detach, which goes out right after its attach, and only once: a client whose own
    /// detach crosses it makes the library send another.
    fn is_held(&mut self, frame: &BytesMut, out: &mut BytesMut) -> bool {
        let Some((channel, performative, body)) = frame::parse(frame) else { return false };
        match performative {
            ATTACH if frame::refuses_link(frame) => {
                let Some(attach) = decode::<Attach>(body) else { return false };
                self.refusals.insert((channel, attach.handle.0), frame.clone());
                true
            }
            FLOW if !self.refusals.is_empty() => {
                let handle = decode::<Flow>(body).and_then(|flow| flow.handle);
                handle.is_some_and(|handle| self.refusals.contains_key(&(channel, handle.0)))
            }
            DETACH => {
                let Some(detach) = decode::<Detach>(body) else { return false };
                let link = (channel, detach.handle.0);
                if let Some(attach) = self.refusals.remove(&link) {
                    self.put(attach, out);
                } else if self.late.is_detached(link) {
                    return true;
                }
                self.late.detach(link);
                false
            }
            END => {
                self.refusals.retain(|(of, _), _| *of != channel);
                false
            }
            _ => false,
        }
    }

    fn outgoing_transfer(&mut self, channel: u16, mut frame: BytesMut, out: &mut BytesMut) {
        let before = out.len();
        let late = self.late.transfer(channel, &mut frame);
        self.put(frame, out);
        self.line.wrote();
        if late {
            out.truncate(before);
        }
    }

    /// What the client gets in place of a control frame of the library.
    fn replaced(&mut self, channel: u16, performative: u8, body: &[u8]) -> Option<BytesMut> {
        match performative {
            OPEN => return self.announced(decode(body)?),
            BEGIN => {
                let begin = decode::<Begin>(body)?;
                self.late.begin(channel, &begin);
                self.rooms.insert(channel, self.line.room(begin.remote_channel?));
            }
            ATTACH => return self.outgoing_attach(channel, decode(body)?),
            FLOW => return Some(framed(channel, &self.feeding.flow(channel, &decode(body)?)?)),
            DETACH => {
                let link = (channel, decode::<Detach>(body)?.handle.0);
                self.feeding.forget(|known| known == link);
            }
            END => {
                self.rooms.remove(&channel);
                self.feeding.forget(|(of, _)| of == channel);
                return Some(framed(channel, &self.late.end(channel)?));
            }
            _ => {}
        }
        None
    }

    fn outgoing_attach(&mut self, channel: u16, mut attach: Attach) -> Option<BytesMut> {
        self.feeding.attach(channel, &attach);
        self.late.attach((channel, attach.handle.0));
        attach.name = attach.name.strip_suffix(SECOND)?.to_owned();
        Some(framed(channel, &attach))
    }

    /// What the client gets although the library says nothing.
    pub(crate) fn unasked(&mut self, out: &mut BytesMut) {
        for (channel, flow) in self.feeding.changed() {
            self.put(framed(channel, &flow), out);
        }
    }

    fn put(&self, frame: BytesMut, out: &mut BytesMut) {
        let start = out.len();
        let channel = frame::parse(&frame).map(|(channel, ..)| channel);
        let sent = frame::put_outgoing(frame, self.limits, out);
        if let Some(room) = channel.and_then(|channel| self.rooms.get(&channel)) {
            room.arrive(sent);
        }
        if channel.is_some() && self.line.garbles() {
            frame::garble(&mut out[start..]);
        }
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

fn without_link(flow: Flow) -> Flow {
    Flow { handle: None, delivery_count: None, link_credit: None, available: None, ..flow }
}

/// `None` for what the library will not decode either.
fn decode<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_amqp::from_slice(body).ok()
}

fn write<T: Serialize>(channel: u16, performative: &T, out: &mut BytesMut) {
    let body = serde_amqp::to_vec(performative).expect("what was decoded can be encoded");
    frame::write(channel, &body, out);
}

fn framed<T: Serialize>(channel: u16, performative: &T) -> BytesMut {
    let mut frame = BytesMut::new();
    write(channel, performative, &mut frame);
    frame
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::Waker;

    use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
    use futures::FutureExt;
    use tokio::sync::watch;
    use tokio::time::{Duration, advance};

    use super::*;
    use crate::feeding::Feeding;

    fn attach() -> Attach {
        Attach {
            name: "link".to_owned(),
            handle: Handle(7),
            role: Role::Receiver,
            snd_settle_mode: SenderSettleMode::Settled,
            rcv_settle_mode: ReceiverSettleMode::First,
            source: None,
            target: None,
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: None,
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        }
    }

    fn grant() -> Flow {
        Flow {
            next_incoming_id: Some(3),
            incoming_window: 100,
            next_outgoing_id: 4,
            outgoing_window: 100,
            handle: Some(Handle(7)),
            delivery_count: Some(0),
            link_credit: Some(5),
            available: None,
            drain: false,
            echo: true,
            properties: None,
        }
    }

    /// The library looks for credit and then waits for it; what comes in between wakes nobody (amqp-crate §4, 15).
    #[tokio::test(start_paused = true)]
    async fn a_link_that_waits_long_for_its_credit_is_woken_by_a_flow_that_grants_nothing() {
        let line = Arc::<Line>::default();
        let feeding = Feeding::new(watch::Sender::default().subscribe());
        let limits = Limits { frame: 1024, message: 1024 };
        let mut tap = Tap::new(Arc::clone(&line), feeding, limits, Duration::ZERO);
        let mut word = BytesMut::new();
        tap.incoming(&framed(1, &attach()), &mut word);
        tap.incoming(&framed(1, &grant()), &mut word);
        word.clear();
        let mut sending = Box::pin(line.sent((1, 7), pending::<()>()));
        for _ in 0..3 {
            assert!((&mut sending).now_or_never().is_none());
            tap.word(Waker::noop(), &mut word);
            assert!(word.is_empty(), "it has only begun to wait");
            advance(Duration::from_secs(1)).await;
            assert!((&mut sending).now_or_never().is_none());
            tap.word(Waker::noop(), &mut word);
            let (_, _, body) = frame::parse(&word).unwrap();
            let woken: Flow = decode(body).unwrap();
            assert_eq!(
                (woken.handle, woken.link_credit, woken.next_incoming_id),
                (Some(Handle(7)), None, Some(3))
            );
            word.clear();
        }
    }
}
