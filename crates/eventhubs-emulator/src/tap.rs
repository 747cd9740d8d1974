//! A state machine in the stream: reads the control frames of the client that the AMQP library tells nothing about, and
//! changes those in which it does not do as the service does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::performatives::{Attach, Begin, Detach, Flow, Open};
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use crate::address::Address;
use crate::feeding::Feeding;
use crate::flow::Returned;
use crate::frame::{self, Limits};
use crate::line::{Line, LinkId};
use crate::opaque;
use crate::room::Room;

const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const DISPOSITION: u8 = 0x15;
const DETACH: u8 = 0x16;
const END: u8 = 0x17;

/// Ends the name of a link on which the client sends, for the library only: that takes two links of one name for one, but a
/// link of each direction may have it, and Proton gives both the same.
const SENDS: char = '\u{1}';

/// The name that the client gave a link.
pub(crate) fn link_name(attach: &Attach) -> &str {
    attach.name.strip_suffix(SENDS).unwrap_or(&attach.name)
}

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
    /// The links that the client has attached, of both roles.
    attached: BTreeSet<LinkId>,
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
            attached: BTreeSet::new(),
        }
    }

    /// Takes a whole frame of the client and writes what the library shall read instead.
    pub(crate) fn incoming(&mut self, frame: &[u8], out: &mut BytesMut) {
        let Some((channel, performative, body)) = frame::parse(frame) else {
            return opaque::put_incoming(frame, out);
        };
        match performative {
            OPEN => return self.incoming_open(frame, body, out),
            FLOW => return self.incoming_flow(channel, frame, body, out),
            BEGIN | END => {
                self.sessions.remove(&channel);
                self.line.forget_session(channel);
                self.attached.retain(|(of, _)| *of != channel);
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

    /// The library sends an empty frame in each idle time-out; a client that counts strictly wants two (contract §2).
    fn incoming_open(&self, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut open) = decode::<Open>(body) else {
            return out.put_slice(frame);
        };
        self.line.meet(&open);
        match open.idle_time_out {
            Some(ms @ 1..) => {
                open.idle_time_out = Some((ms / 2).max(1));
                write(0, &open, out);
            }
            _ => out.put_slice(frame),
        }
    }

    fn incoming_attach(&mut self, channel: u16, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut attach) = decode::<Attach>(body) else {
            return out.put_slice(frame);
        };
        let link = (channel, attach.handle.0);
        self.attached.insert(link);
        if attach.role == Role::Sender {
            attach.name.push(SENDS);
            return write(channel, &attach, out);
        }
        let address = attach.source.and_then(|source| source.address).unwrap_or_default();
        if matches!(Address::parse(&address), Address::ConsumerGroup { .. }) {
            self.line.open_credit(link);
        }
        out.put_slice(frame);
    }

    /// Keeps from the library what it would do wrong: answer a wish for a drain before the link has sent what is there, and
    /// collect flows of links that nobody attached (amqp-crate §4).
    fn incoming_flow(&mut self, channel: u16, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut flow) = decode::<Flow>(body) else {
            return out.put_slice(frame);
        };
        let link = flow.handle.as_ref().map(|handle| (channel, handle.0));
        if link.is_some_and(|link| !self.attached.contains(&link)) {
            flow = Flow { handle: None, delivery_count: None, link_credit: None, available: None, ..flow };
        } else if let Some(credit) = link.and_then(|link| self.line.credit(link)) {
            let limit = flow.link_credit.map(|credit| flow.delivery_count.unwrap_or(0).wrapping_add(credit));
            credit.grant(limit, flow.drain);
            flow.echo &= !flow.drain;
            flow.drain = false;
        }
        write(channel, &flow, out);
        self.sessions.insert(channel, flow);
    }

    /// Tells the library of the links that are drained: it counts, and tells the client.
    pub(crate) fn drains(&self, reader: &Waker, out: &mut BytesMut) {
        for (link, returned) in self.line.take_drained(reader) {
            if let Some(flow) = self.drain(link, returned) {
                write(link.0, &flow, out);
            }
        }
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
            Some((channel, performative, body)) => {
                self.replaced(channel, performative, body).unwrap_or(frame)
            }
            None => frame,
        };
        self.put(frame, out);
    }

    /// What the client gets in place of a control frame of the library.
    fn replaced(&mut self, channel: u16, performative: u8, body: &[u8]) -> Option<BytesMut> {
        match performative {
            OPEN => return self.announced(decode(body)?),
            BEGIN => {
                let remote = decode::<Begin>(body)?.remote_channel?;
                self.rooms.insert(channel, self.line.room(remote));
            }
            ATTACH => {
                let mut attach: Attach = decode(body)?;
                self.feeding.attach(channel, &attach);
                attach.name.truncate(attach.name.strip_suffix(SENDS)?.len());
                return Some(framed(channel, &attach));
            }
            FLOW => return Some(framed(channel, &self.feeding.flow(channel, &decode(body)?)?)),
            DETACH => {
                let handle = decode::<Detach>(body)?.handle.0;
                self.feeding.forget(|link| link == (channel, handle));
            }
            END => {
                self.rooms.remove(&channel);
                self.feeding.forget(|(of, _)| of == channel);
            }
            _ => {}
        }
        None
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
            room.free(sent);
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
    use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
    use tokio::sync::watch;

    use super::*;

    fn attach(role: Role, handle: u32) -> Attach {
        Attach {
            name: "same".to_owned(),
            handle: Handle(handle),
            role,
            snd_settle_mode: SenderSettleMode::Mixed,
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

    fn name(frame: &[u8]) -> String {
        let (_, _, body) = frame::parse(frame).unwrap();
        decode::<Attach>(body).unwrap().name
    }

    #[test]
    fn links_of_both_directions_may_have_the_same_name() {
        let feeding = Feeding::new(watch::Sender::default().subscribe());
        let limits = Limits { frame: 1024, message: 1024 };
        let mut tap = Tap::new(Arc::default(), feeding, limits, Duration::ZERO);
        let names = [Role::Sender, Role::Receiver].map(|role| {
            let (mut inside, mut back) = (BytesMut::new(), BytesMut::new());
            tap.incoming(&framed(0, &attach(role.clone(), 0)), &mut inside);
            let answer = Attach {
                name: name(&inside),
                role: if role == Role::Sender { Role::Receiver } else { Role::Sender },
                ..attach(role, 0)
            };
            tap.outgoing(framed(0, &answer), &mut back);
            assert_eq!(name(&back), "same");
            name(&inside)
        });
        assert_ne!(names[0], names[1]);
    }
}
