//! The state of one session in the stream: transfers that came, flows that are due, links that end. The boundaries of its
//! windows are pinned by `tap/tests.rs`.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use eventhubs_amqp_frames::{Performative, Transfer, Violation, chunk_size, field, string, symbol, uint};

use super::encode::{LinkFlow, SessionFlow, accepted, corrected, flow};
use super::inspector::MAX_FRAME_SIZE;
use super::link::{Address, LinkState, Outcome, STOLEN};
use super::registry::Taps;

/// The largest message that is kept whole, in bytes: the most that any tier of the service allows, and some annotations.
/// What is longer is cut, and so cannot be decoded.
pub(super) const MAX_KEPT_MESSAGE: usize = 20 * 1024 * 1024 + 64 * 1024;

/// The size of the chunks in which the stream reads.
const CHUNK: usize = chunk_size(MAX_FRAME_SIZE);

/// A message shorter than this, in bytes, is copied, so that one that is kept long does not keep a whole chunk of the
/// stream alive.
const LEAST_SHARED: usize = CHUNK / 128;

/// When less than this has come for a link at once, in bytes, it is copied: a reader that is slow would keep whole chunks
/// alive, full of what others have long read.
const LEAST_KEPT: usize = CHUNK / 16;

/// How many bytes of small messages share one copy.
const COPIES: usize = 8 * 1024;

/// What our begin said of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    next_outgoing_id: u32,
    incoming_window: u32,
    outgoing_window: u32,
}

impl Begun {
    pub(super) fn read(begin: &Performative<'_>) -> Option<Self> {
        let number = |index| begin.field(index).and_then(uint);
        Some(Self {
            next_outgoing_id: number(field::begin::NEXT_OUTGOING_ID)?,
            incoming_window: number(field::begin::INCOMING_WINDOW)?,
            outgoing_window: number(field::begin::OUTGOING_WINDOW)?,
        })
    }
}

/// A session that both have begun.
#[derive(Debug)]
pub(super) struct Session {
    local: u16,
    begun: Begun,
    next_incoming_id: u32,
    next_outgoing_id: u32,
    /// How many transfers may come before the window must be opened again.
    window_left: u32,
    links: Vec<Link>,
}

impl Session {
    pub(super) fn new(local: u16, begun: Begun, next_incoming_id: u32) -> Self {
        Self {
            local,
            begun,
            next_incoming_id,
            next_outgoing_id: begun.next_outgoing_id,
            window_left: begun.incoming_window,
            links: Vec::new(),
        }
    }

    /// Our channel.
    pub(super) fn local(&self) -> u16 {
        self.local
    }

    pub(super) fn has_no_link(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn count_transfer(&mut self) {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        self.window_left = self.window_left.saturating_sub(1);
    }

    pub(super) fn count_sent(&mut self) {
        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
    }

    /// We attach: if it is a link that somebody wants to follow, it is followed.
    pub(super) fn attaching(&mut self, attach: &Performative<'_>, taps: &Taps) {
        let name = attach.field(field::attach::NAME).and_then(string);
        let handle = attach.field(field::attach::HANDLE).and_then(uint);
        if let (Some(name), Some(handle)) = (name, handle)
            && let Some(state) = taps.attaching(name)
        {
            self.links.push(Link::new(name.to_owned(), handle, state));
        }
    }

    /// The peer attaches its end.
    pub(super) fn attached(&mut self, channel: u16, attach: &Performative<'_>) {
        let name = attach.field(field::attach::NAME).and_then(string);
        let Some(handle) = attach.field(field::attach::HANDLE).and_then(uint) else {
            return;
        };
        let waiting = |link: &&mut Link| link.theirs.is_none() && Some(link.name.as_str()) == name;
        if let Some(link) = self.links.iter_mut().find(waiting) {
            link.theirs = Some(handle);
            let initial =
                attach.field(field::attach::INITIAL_DELIVERY_COUNT).and_then(uint).unwrap_or_default();
            link.state.attached(Address { channel, handle }, initial);
        }
    }

    /// We detach: what is in flight is not wanted any more, but must not reach the library either.
    pub(super) fn detaching(&mut self, detach: &Performative<'_>) {
        let handle = detach.field(field::detach::HANDLE).and_then(uint);
        if let Some(link) = self.links.iter_mut().find(|link| Some(link.ours) == handle) {
            link.state.close();
            if link.theirs.is_none() {
                self.links.retain(|link| Some(link.ours) != handle);
            }
        }
    }

    /// The peer detaches.
    pub(super) fn detached(&mut self, handle: u32, detach: &Performative<'_>) {
        let Some(index) = self.links.iter().position(|link| link.theirs == Some(handle)) else {
            return;
        };
        let mut link = self.links.remove(index);
        link.state.deliver(&mut link.arrivals);
        if let Some(theft) = detach.field(field::detach::ERROR).and_then(theft) {
            link.state.stolen(theft);
        }
    }

    /// Whether the transfer belongs to a link whose transfers are taken; its payload is that part of the block.
    pub(super) fn take(
        &mut self,
        transfer: &Transfer,
        block: &Bytes,
        payload: Range<usize>,
    ) -> Result<bool, Violation> {
        let theirs = Some(transfer.handle);
        let Some(link) = self.links.iter_mut().find(|link| link.theirs == theirs) else {
            return Ok(false);
        };
        if !link.state.takes() {
            return Ok(false);
        }
        link.take(transfer, block, payload)?;
        Ok(true)
    }

    /// Hands over what was taken since the last time.
    pub(super) fn hand_over(&mut self, out: &mut BytesMut) {
        let mut changed = Vec::new();
        for link in self.links.iter_mut().filter(|link| !link.arrivals.is_empty()) {
            link.leave_chunk();
            if link.state.deliver(&mut link.arrivals) {
                changed.extend(link.theirs);
            }
        }
        for handle in changed {
            self.write_flow(handle, out);
        }
        if self.window_left <= self.begun.incoming_window / 2 {
            flow(self.local, self.window(), None, out);
        }
    }

    /// Writes how much credit a link has, and what it confirms.
    pub(super) fn write_flow(&mut self, handle: u32, out: &mut BytesMut) {
        let Some(index) = self.links.iter().position(|link| link.theirs == Some(handle)) else {
            return;
        };
        let session = self.window();
        let link = &mut self.links[index];
        for (first, last) in link.unsettled.drain(..) {
            accepted(self.local, first, last, out);
        }
        if let Some((delivery_count, credit)) = link.state.credit() {
            let of_link = LinkFlow { handle: link.ours, delivery_count, credit };
            flow(self.local, session, Some(of_link), out);
        }
    }

    /// Replaces a flow of the library: it knows neither the transfers that were taken nor the credit of their links.
    pub(super) fn correct(&mut self, flow: &Performative<'_>, out: &mut BytesMut) {
        let handle = flow.field(field::flow::HANDLE).and_then(uint);
        let taken = |link: &&Link| Some(link.ours) == handle && link.state.takes();
        match self.links.iter().find(taken).map(|link| link.theirs) {
            Some(Some(theirs)) => self.write_flow(theirs, out),
            Some(None) => {}
            None => {
                self.window_left = self.begun.incoming_window;
                corrected(self.local, flow, self.next_incoming_id, out);
            }
        }
    }

    /// Opens the window again: what is taken never waits for room in it.
    fn window(&mut self) -> SessionFlow {
        self.window_left = self.begun.incoming_window;
        SessionFlow {
            next_incoming_id: self.next_incoming_id,
            incoming_window: self.begun.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: self.begun.outgoing_window,
        }
    }
}

/// A link that somebody follows.
#[derive(Debug)]
struct Link {
    name: String,
    /// The handle that we chose.
    ours: u32,
    /// The handle that the peer chose, once it has.
    theirs: Option<u32>,
    state: Arc<LinkState>,
    /// A delivery of which more must come.
    unfinished: Option<Unfinished>,
    /// What is not handed over yet.
    arrivals: Vec<Option<Bytes>>,
    /// Ranges of deliveries to confirm: as many as the credit and a chunk allow, since more credit confirms them.
    unsettled: Vec<(u32, u32)>,
    copies: BytesMut,
}

#[derive(Debug, Default)]
struct Unfinished {
    payload: BytesMut,
    id: Option<u32>,
    settled: bool,
}

impl Link {
    fn new(name: String, ours: u32, state: Arc<LinkState>) -> Self {
        Self {
            name,
            ours,
            theirs: None,
            state,
            unfinished: None,
            arrivals: Vec::new(),
            unsettled: Vec::new(),
            copies: BytesMut::new(),
        }
    }

    fn take(&mut self, transfer: &Transfer, block: &Bytes, payload: Range<usize>) -> Result<(), Violation> {
        if self.unfinished.is_none() && !transfer.more && !transfer.aborted {
            let message = self.keep(block, payload);
            return self.finish(message, transfer.delivery_id, transfer.settled);
        }
        let mut unfinished = self.unfinished.take().unwrap_or_default();
        unfinished.id = unfinished.id.or(transfer.delivery_id);
        unfinished.settled |= transfer.settled;
        if transfer.aborted {
            self.arrivals.push(None); // implicitly settled
            return Ok(());
        }
        let room = MAX_KEPT_MESSAGE.saturating_sub(unfinished.payload.len());
        let piece = &block[payload];
        unfinished.payload.extend_from_slice(&piece[..piece.len().min(room)]);
        if transfer.more {
            self.unfinished = Some(unfinished);
            return Ok(());
        }
        self.finish(unfinished.payload.freeze(), unfinished.id, unfinished.settled)
    }

    /// The part of the block, copied if it is short.
    fn keep(&mut self, block: &Bytes, payload: Range<usize>) -> Bytes {
        if payload.len() >= LEAST_SHARED {
            return block.slice(payload);
        }
        if self.copies.capacity() < payload.len() {
            self.copies.reserve(COPIES.max(payload.len()));
        }
        self.copies.extend_from_slice(&block[payload]);
        self.copies.split().freeze()
    }

    /// Copies what shares a chunk, if it is little of it.
    fn leave_chunk(&mut self) {
        let bytes: usize = self.arrivals.iter().flatten().map(Bytes::len).sum();
        if bytes >= LEAST_KEPT {
            return;
        }
        let mut copies = BytesMut::with_capacity(bytes);
        for message in self.arrivals.iter_mut().flatten().filter(|message| message.len() >= LEAST_SHARED) {
            copies.extend_from_slice(message);
            *message = copies.split().freeze();
        }
    }

    fn finish(&mut self, message: Bytes, id: Option<u32>, settled: bool) -> Result<(), Violation> {
        self.arrivals.push(Some(message));
        if settled {
            return Ok(());
        }
        let id = id.ok_or(Violation::Malformed)?;
        match self.unsettled.last_mut() {
            Some((_, last)) if last.wrapping_add(1) == id => *last = id,
            _ => self.unsettled.push((id, id)),
        }
        Ok(())
    }
}

/// The outcome, if the error says that another reader has the partition.
fn theft(error: &[u8]) -> Option<Outcome> {
    let error = Performative::read(error).ok()?;
    let condition = error.field(field::error::CONDITION).and_then(symbol)?;
    let description = error.field(field::error::DESCRIPTION).and_then(string);
    (condition == STOLEN).then(|| Outcome::Stolen(description.map(str::to_owned)))
}
