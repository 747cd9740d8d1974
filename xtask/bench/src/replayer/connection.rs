//! One connection of the replayer: just enough of a broker to be read from.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use super::event_link::EventLink;
use super::nodes::Node;
use super::stream::Stream;
use super::{Counters, Settings};
use crate::amqp::decode::{Raw, split};
use crate::amqp::encode::{Fields, described, frame};
use crate::amqp::{AMQP, AMQP_FRAME, SASL, SASL_FRAME, code};
use crate::clock;

/// How long a paced link sleeps between looks at what is due.
const TICK: Duration = Duration::from_micros(50);

/// What we let a peer send; it sends requests only.
const WINDOW: u32 = 65_535;

const MAX_FRAME_SIZE: u32 = 1 << 20;

pub(super) struct Connection<'s> {
    stream: Stream,
    settings: &'s Settings,
    input: Vec<u8>,
    output: Vec<u8>,
    sessions: BTreeMap<u16, Session>,
    /// By channel and handle; both ends of a link use the same.
    control: BTreeMap<(u16, u32), ControlLink>,
    events: Vec<EventLink>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Session {
    next_outgoing: u32,
    /// The transfer id at which the peer's window ends.
    window_end: u32,
    next_incoming: u32,
}

/// One of a pair of links with `$cbs` or `$management`.
struct ControlLink {
    node: Node,
    /// Whether the peer sends requests on it, not receives answers.
    requests: bool,
    credit: u32,
    answers: VecDeque<Vec<u8>>,
}

impl<'s> Connection<'s> {
    pub(super) fn new(stream: Stream, settings: &'s Settings) -> Self {
        Self {
            stream,
            settings,
            input: Vec::new(),
            output: Vec::new(),
            sessions: BTreeMap::new(),
            control: BTreeMap::new(),
            events: Vec::new(),
            closed: false,
        }
    }

    /// Serves until the peer closes.
    pub(super) fn serve(mut self, counters: &Counters) -> io::Result<()> {
        let mut began = None;
        let served = self.turns(counters, &mut began);
        if let Some(began) = began {
            add(&counters.open, clock::nanos() - began);
            add(&counters.cpu, thread_cpu());
        }
        served
    }

    fn turns(&mut self, counters: &Counters, began: &mut Option<u64>) -> io::Result<()> {
        let mut wait = None;
        while !self.closed {
            if self.wait(wait, counters, began.is_some())? {
                if self.stream.read_into(&mut self.input)? == 0 {
                    return Ok(());
                }
                self.take_frames()?;
                self.stream.write(&std::mem::take(&mut self.output))?;
            }
            let sent = self.send_events()?;
            if sent > 0 {
                began.get_or_insert_with(clock::nanos);
            }
            add(&counters.events, sent as u64);
            wait = match (sent, self.settings.rate) {
                (0, None) => None,
                (0, Some(_)) => Some(TICK),
                _ => Some(Duration::ZERO),
            };
        }
        Ok(())
    }

    /// Whether there is something to read; counts the waits for credit.
    fn wait(&mut self, limit: Option<Duration>, counters: &Counters, counts: bool) -> io::Result<bool> {
        if limit.is_some() || !counts {
            return self.stream.is_readable(limit);
        }
        let before = clock::nanos();
        let readable = self.stream.is_readable(limit);
        add(&counters.waits, 1);
        add(&counters.waited, clock::nanos() - before);
        readable
    }

    /// Sends what credit, window and pace allow, each link a batch.
    fn send_events(&mut self) -> io::Result<usize> {
        let rate = self.settings.rate.map(|rate| rate / f64::from(self.settings.partitions));
        let now = clock::nanos();
        let mut sent = 0;
        for link in &mut self.events {
            let Some(session) = self.sessions.get_mut(&link.channel) else {
                continue;
            };
            let allowed = link.credit().min(session.window_end.wrapping_sub(session.next_outgoing));
            let count = if allowed == 0 { 0 } else { link.due(rate, now).min(allowed as usize) };
            if count > 0 {
                self.stream.write(link.next(count, session.next_outgoing))?;
                session.next_outgoing = session.next_outgoing.wrapping_add(count as u32);
                sent += count;
            }
        }
        Ok(sent)
    }

    fn take_frames(&mut self) -> io::Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some(size) = frame_size(rest) {
            let Some((frame, next)) = rest.split_at_checked(size) else {
                break;
            };
            self.take_frame(frame).ok_or_else(|| io::Error::other(format!("cannot read {frame:x?}")))?;
            rest = next;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    fn take_frame(&mut self, frame: &[u8]) -> Option<()> {
        if frame.starts_with(b"AMQP") {
            self.take_header(frame);
            return Some(());
        }
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        let mut rest = frame.get(usize::from(frame[4]) * 4..)?;
        if rest.is_empty() {
            return Some(());
        }
        let (performative, fields) = split(&mut rest)?.described()?;
        let fields = fields.items();
        match u8::try_from(performative).ok()? {
            code::SASL_INIT => self.put(SASL_FRAME, 0, code::SASL_OUTCOME, &Fields::new().ubyte(0).nulls(1)),
            code::OPEN => self.opened(),
            code::BEGIN => self.begun(channel, &fields)?,
            code::ATTACH => self.attached(channel, &fields)?,
            code::FLOW => self.flowed(channel, &fields)?,
            code::TRANSFER => self.transferred(channel, &fields, rest)?,
            code::DETACH => self.detached(channel, &fields)?,
            code::END => self.ended(channel),
            code::CLOSE => {
                self.put(AMQP_FRAME, 0, code::CLOSE, &Fields::new().nulls(1));
                self.closed = true;
            }
            _ => {}
        }
        Some(())
    }

    fn put(&mut self, kind: u8, channel: u16, performative: u8, fields: &Fields) {
        self.output.extend(frame(kind, channel, &described(performative, &fields.list())));
    }

    fn take_header(&mut self, header: &[u8]) {
        self.output.extend_from_slice(header);
        if header == SASL {
            let mechanisms = Fields::new().raw(&Fields::symbols(["ANONYMOUS"].into_iter()));
            self.put(SASL_FRAME, 0, code::SASL_MECHANISMS, &mechanisms);
        }
    }

    fn opened(&mut self) {
        let open = Fields::new().string("replayer").nulls(1).uint(MAX_FRAME_SIZE).ushort(u16::MAX).nulls(6);
        self.put(AMQP_FRAME, 0, code::OPEN, &open);
    }

    fn begun(&mut self, channel: u16, fields: &[Raw<'_>]) -> Option<()> {
        let session = Session {
            next_outgoing: 0,
            window_end: fields.get(2)?.uint()?,
            next_incoming: fields.get(1)?.uint()?,
        };
        self.sessions.insert(channel, session);
        let begin = Fields::new().ushort(channel).uint(0).uint(WINDOW).uint(WINDOW).uint(255).nulls(3);
        self.put(AMQP_FRAME, channel, code::BEGIN, &begin);
        Some(())
    }

    fn attached(&mut self, channel: u16, fields: &[Raw<'_>]) -> Option<()> {
        let handle = fields.get(1)?.uint()?;
        let peer_receives = fields.get(2)?.is_true();
        let (source, target) = (fields.get(5)?, fields.get(6)?);
        let node = Node::of(address(if peer_receives { *source } else { *target }));
        // events go out settled; of requests a client may insist on how it settles them
        let settling = if peer_receives { &[0x50, 1] } else { fields.get(3)?.0 };
        let attach = Fields::new()
            .raw(fields[0].0)
            .uint(handle)
            .boolean(!peer_receives)
            .raw(settling)
            .ubyte(0)
            .raw(source.0)
            .raw(target.0)
            .nulls(1)
            .boolean(false)
            .uint(0)
            .ulong(u64::from(MAX_FRAME_SIZE))
            .nulls(3);
        self.put(AMQP_FRAME, channel, code::ATTACH, &attach);
        if node == Node::Partition {
            self.events.push(EventLink::new(self.settings.shape, channel, handle));
            return Some(());
        }
        let link = ControlLink { node, requests: !peer_receives, credit: 0, answers: VecDeque::new() };
        self.control.insert((channel, handle), link);
        if !peer_receives {
            self.put_flow(channel, Some((handle, 0, 10_000)))?;
        }
        Some(())
    }

    /// Tells about a session, and about one link: handle, delivery-count and credit.
    fn put_flow(&mut self, channel: u16, link: Option<(u32, u32, u32)>) -> Option<()> {
        let session = self.sessions.get(&channel)?;
        let flow =
            Fields::new().uint(session.next_incoming).uint(WINDOW).uint(session.next_outgoing).uint(WINDOW);
        let flow = match link {
            None => flow.nulls(3),
            Some((handle, count, credit)) => flow.uint(handle).uint(count).uint(credit),
        };
        self.put(AMQP_FRAME, channel, code::FLOW, &flow.uint(0).boolean(false).boolean(false).nulls(1));
        Some(())
    }

    fn flowed(&mut self, channel: u16, fields: &[Raw<'_>]) -> Option<()> {
        let field = |index: usize| fields.get(index).and_then(|field| field.uint());
        let session = self.sessions.get_mut(&channel)?;
        session.window_end = field(0).unwrap_or(0).wrapping_add(field(1)?);
        let mut answer = None;
        if let Some(handle) = field(4) {
            let (count, credit) = (field(5).unwrap_or(0), field(6).unwrap_or(0));
            if let Some(link) = self.control.get_mut(&(channel, handle)) {
                link.credit = if link.requests { 0 } else { credit };
                self.put_answers(channel, handle);
            } else {
                let mut events = self.events.iter_mut();
                let link = events.find(|link| (link.channel, link.handle) == (channel, handle))?;
                link.grant(count, credit);
                answer = Some((handle, link.delivery_count(), link.credit()));
            }
        }
        match fields.get(9) {
            Some(echo) if echo.is_true() => self.put_flow(channel, answer),
            _ => Some(()),
        }
    }

    fn transferred(&mut self, channel: u16, fields: &[Raw<'_>], message: &[u8]) -> Option<()> {
        let session = self.sessions.get_mut(&channel)?;
        session.next_incoming = session.next_incoming.wrapping_add(1);
        let node = self.control.get(&(channel, fields.first()?.uint()?))?.node;
        if let (Some(id), Some(settled)) = (fields.get(1).map(|id| id.0), fields.get(4))
            && !settled.is_true()
        {
            let accepted = described(code::ACCEPTED, &Fields::new().list());
            let disposition =
                Fields::new().boolean(true).raw(id).raw(id).boolean(true).raw(&accepted).boolean(false);
            self.put(AMQP_FRAME, channel, code::DISPOSITION, &disposition);
        }
        let answer = node.answer(message, self.settings.partitions);
        // a client may have other pairs to the same node, in sessions that it has forgotten to end
        let mut links = self.control.range_mut((channel, 0)..=(channel, u32::MAX));
        let ((_, handle), link) = links.find(|(_, link)| link.node == node && !link.requests)?;
        let handle = *handle;
        link.answers.push_back(answer);
        self.put_answers(channel, handle);
        Some(())
    }

    fn put_answers(&mut self, channel: u16, handle: u32) {
        let (Some(link), Some(session)) =
            (self.control.get_mut(&(channel, handle)), self.sessions.get_mut(&channel))
        else {
            return;
        };
        while link.credit > 0 {
            let Some(answer) = link.answers.pop_front() else {
                return;
            };
            let id = session.next_outgoing;
            session.next_outgoing = id.wrapping_add(1);
            link.credit -= 1;
            let transfer = Fields::new()
                .uint(handle)
                .uint(id)
                .binary(&id.to_be_bytes())
                .uint(0)
                .boolean(true)
                .boolean(false)
                .nulls(2)
                .boolean(false)
                .boolean(false)
                .boolean(false);
            let body = [described(code::TRANSFER, &transfer.list()), answer].concat();
            self.output.extend(frame(AMQP_FRAME, channel, &body));
        }
    }

    fn detached(&mut self, channel: u16, fields: &[Raw<'_>]) -> Option<()> {
        let handle = fields.first()?.uint()?;
        self.control.remove(&(channel, handle));
        self.events.retain(|link| (link.channel, link.handle) != (channel, handle));
        let detach = Fields::new().uint(handle).boolean(true).nulls(1);
        self.put(AMQP_FRAME, channel, code::DETACH, &detach);
        Some(())
    }

    fn ended(&mut self, channel: u16) {
        self.sessions.remove(&channel);
        self.control.retain(|(at, _), _| *at != channel);
        self.events.retain(|link| link.channel != channel);
        self.put(AMQP_FRAME, channel, code::END, &Fields::new().nulls(1));
    }
}

/// The size of the frame or header that begins here, if that much is known.
fn frame_size(input: &[u8]) -> Option<usize> {
    match input {
        [b'A', b'M', b'Q', b'P', ..] => Some(AMQP.len()),
        [a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d]).max(8) as usize),
        _ => None,
    }
}

/// The address of a source or a target.
fn address(terminus: Raw<'_>) -> &str {
    let fields = terminus.described().map(|(_, fields)| fields.items());
    fields.and_then(|fields| fields.first()?.text()).unwrap_or_default()
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn thread_cpu() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the system counts CPU time");
    crate::meter::cpu_nanos(&usage)
}
