//! A state machine in the stream: reads the control frames of the client that the AMQP library tells nothing about, and
//! changes those in which it does not do as the service does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::performatives::{Attach, Detach, Flow, Open};
use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use crate::address::Address;
use crate::flow::Returned;
use crate::frame::{self, Limits};
use crate::line::{Line, LinkId};
use crate::opaque;

const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const FLOW: u8 = 0x13;
const DETACH: u8 = 0x16;
const END: u8 = 0x17;

/// Follows one connection.
#[derive(Debug)]
pub(crate) struct Tap {
    line: Arc<Line>,
    pub(crate) limits: Limits,
    /// The silence after which we give a client up; zero for any.
    idle_timeout: Duration,
    /// The last flow on each channel: what it says about the session holds until the next one.
    sessions: BTreeMap<u16, Flow>,
}

impl Tap {
    pub(crate) fn new(line: Arc<Line>, limits: Limits, idle_timeout: Duration) -> Self {
        Self { line, limits, idle_timeout, sessions: BTreeMap::new() }
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
                self.line.close_credits(|(of, _)| of == channel);
            }
            ATTACH => self.incoming_attach(channel, body),
            DETACH => {
                if let Some(detach) = decode::<Detach>(body) {
                    self.line.close_credits(|link| link == (channel, detach.handle.0));
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

    fn incoming_attach(&self, channel: u16, body: &[u8]) {
        let Some(attach) = decode::<Attach>(body).filter(|attach| attach.role == Role::Receiver) else {
            return;
        };
        let address = attach.source.and_then(|source| source.address).unwrap_or_default();
        if matches!(Address::parse(&address), Address::ConsumerGroup { .. }) {
            self.line.open_credit((channel, attach.handle.0));
        }
    }

    /// Keeps the wish for a drain from the library: the link grants it when it has sent what is there.
    fn incoming_flow(&mut self, channel: u16, frame: &[u8], body: &[u8], out: &mut BytesMut) {
        let Some(mut flow) = decode::<Flow>(body) else {
            return out.put_slice(frame);
        };
        let link = flow.handle.as_ref().and_then(|handle| self.line.credit((channel, handle.0)));
        let drain = flow.drain && link.is_some();
        if let Some(link) = link {
            let limit = flow.link_credit.map(|credit| flow.delivery_count.unwrap_or(0).wrapping_add(credit));
            link.grant(limit, drain);
        }
        if drain {
            (flow.drain, flow.echo) = (false, false);
            write(channel, &flow, out);
        } else {
            out.put_slice(frame);
        }
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
    pub(crate) fn outgoing(&self, frame: BytesMut, out: &mut BytesMut) {
        let start = out.len();
        let known = frame::parse(&frame).map(|(_, performative, _)| performative);
        let frame = if known == Some(OPEN) { self.outgoing_open(frame) } else { frame };
        frame::put_outgoing(frame, self.limits, out);
        if known.is_some() && self.line.garbles() {
            frame::garble(&mut out[start..]);
        }
    }

    /// Announces our idle time-out: the library would spin when it enforces one itself (amqp-crate §4).
    fn outgoing_open(&self, frame: BytesMut) -> BytesMut {
        let open = frame::parse(&frame).and_then(|(_, _, body)| decode::<Open>(body));
        let Some(mut open) = open.filter(|_| !self.idle_timeout.is_zero()) else { return frame };
        open.idle_time_out = Some(u32::try_from(self.idle_timeout.as_millis()).unwrap_or(u32::MAX));
        let mut announced = BytesMut::new();
        write(0, &open, &mut announced);
        announced
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
