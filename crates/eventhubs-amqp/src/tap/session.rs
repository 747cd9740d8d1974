//! The state of one session in the stream: transfers that came, flows that are due, links that end.
//!
//! Tests: below, where the exact boundaries are; `tap/tests/links.rs` for several links and sessions,
//! `tap/tests.rs` against the AMQP library.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use eventhubs_amqp_frames::{Performative, Transfer, Violation, chunk_size, field, string, symbol, uint};

use super::encode::{LinkFlow, SessionFlow, accepted, corrected, flow};
use super::inspector::MAX_FRAME_SIZE;
use super::link::{LinkState, Outcome, STOLEN};
use super::numbers::{DeliveryId, OurChannel, OurHandle, PeerChannel, PeerHandle, PeerLink};
use super::registry::Taps;

/// The largest message that is kept whole, in bytes: the most that any tier of the service allows, and some
/// annotations.
///
/// A longer one is cut here, and so handed out as undecodable, which costs one event. It must not end the
/// link as an error would: the reader would attach again, at this very event.
pub(super) const MAX_KEPT_MESSAGE: usize = 20 * 1024 * 1024 + 64 * 1024;

/// The size of the chunks in which the stream reads.
const CHUNK: usize = chunk_size(MAX_FRAME_SIZE);

/// A message shorter than this, in bytes, is copied, so that one that is kept long does not keep a whole
/// chunk of the stream alive. `ReceivedEvent` documents the ratio.
const LEAST_SHARED: usize = CHUNK / 128;

/// When less than this has come for a link at once, in bytes, it is copied: a reader that is slow would keep
/// whole chunks alive, full of what others have long read.
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

/// A session that both ends have begun.
#[derive(Debug)]
pub(super) struct SessionState {
    channel: OurChannel,
    begun: Begun,
    /// The number of the transfer that comes next. The library counts only those that it sees, so its own
    /// number is wrong from the first one on that is taken; every flow that goes out carries this one
    /// instead.
    next_incoming_id: u32,
    /// The number of our next transfer, which a flow has to repeat.
    next_outgoing_id: u32,
    /// How many more transfers the peer may send by our last flow. It falls with each transfer, and each flow
    /// sets it back to the whole window of the begin: what is taken never waits for room in the window, so
    /// there is always room for all.
    window_left: u32,
    /// The links that somebody follows, in the order of their attaches. Few: the client has one per session.
    links: Vec<Link>,
}

impl SessionState {
    pub(super) fn new(channel: OurChannel, begun: Begun, next_incoming_id: u32) -> Self {
        Self {
            channel,
            begun,
            next_incoming_id,
            next_outgoing_id: begun.next_outgoing_id,
            window_left: begun.incoming_window,
            links: Vec::new(),
        }
    }

    pub(super) fn channel(&self) -> OurChannel {
        self.channel
    }

    pub(super) fn has_no_link(&self) -> bool {
        self.links.is_empty()
    }

    /// The peer sent a transfer, to whichever link.
    pub(super) fn count_transfer(&mut self) {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        // Saturating, since a peer that exceeds the window does no harm here: the credit of the links bounds
        // the memory.
        self.window_left = self.window_left.saturating_sub(1);
    }

    /// The library sent a transfer.
    pub(super) fn count_sent(&mut self) {
        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
    }

    /// The library attaches a link: if somebody wants to follow it, it is followed from here on.
    pub(super) fn attaching(&mut self, attach: &Performative<'_>, taps: &Taps) {
        let name = attach.field(field::attach::NAME).and_then(string);
        let handle = attach.field(field::attach::HANDLE).and_then(uint);
        if let (Some(name), Some(handle)) = (name, handle)
            && let Some(state) = taps.attaching(name)
        {
            self.links.push(Link::new(name.to_owned(), OurHandle(handle), state));
        }
    }

    /// The peer attaches its end.
    pub(super) fn attached(&mut self, channel: PeerChannel, attach: &Performative<'_>) {
        let name = attach.field(field::attach::NAME).and_then(string);
        let Some(handle) = attach.field(field::attach::HANDLE).and_then(uint).map(PeerHandle) else {
            return;
        };
        let waiting = |link: &&mut Link| link.peer_handle.is_none() && Some(link.name.as_str()) == name;
        if let Some(link) = self.links.iter_mut().find(waiting) {
            link.peer_handle = Some(handle);
            let initial = attach.field(field::attach::INITIAL_DELIVERY_COUNT).and_then(uint);
            link.state.attached(PeerLink { channel, handle }, initial.unwrap_or_default());
        }
    }

    /// The library detaches: what is in flight is not wanted any more. It must not reach the library either,
    /// which has forgotten the link, so a link that the peer knows is followed until the peer detaches too.
    pub(super) fn detaching(&mut self, detach: &Performative<'_>) {
        let handle = detach.field(field::detach::HANDLE).and_then(uint).map(OurHandle);
        if let Some(link) = self.links.iter_mut().find(|link| Some(link.our_handle) == handle) {
            link.state.close();
            if link.peer_handle.is_none() {
                self.links.retain(|link| Some(link.our_handle) != handle);
            }
        }
    }

    /// The peer detaches.
    pub(super) fn detached(&mut self, handle: PeerHandle, detach: &Performative<'_>) {
        let Some(index) = self.links.iter().position(|link| link.peer_handle == Some(handle)) else {
            return;
        };
        let mut link = self.links.remove(index);
        // Deliver first: the events before an ordinary end are handed out before it. The end itself has no
        // outcome here, since the library sees the detach too, and its `recv` reports it.
        link.state.deliver(&mut link.arrivals);
        // A theft comes second, and so clears what was delivered a line above: another reader has the
        // partition already, and what is queued here must not be processed twice. It cannot wait for `recv`,
        // which says so only after the queue.
        if let Some(theft) = detach.field(field::detach::ERROR).and_then(theft) {
            link.state.stolen(theft);
        }
    }

    /// Whether the transfer belongs to a link whose transfers are taken; its payload is that part of the
    /// block.
    pub(super) fn take(
        &mut self,
        transfer: &Transfer,
        block: &Bytes,
        payload: Range<usize>,
    ) -> Result<bool, Violation> {
        let handle = Some(PeerHandle(transfer.handle));
        let Some(link) = self.links.iter_mut().find(|link| link.peer_handle == handle) else {
            return Ok(false);
        };
        if !link.state.takes() {
            return Ok(false);
        }
        link.take(transfer, block, payload)?;
        Ok(true)
    }

    /// Hands over what was taken since the last time. Once per read and not per transfer: each hand-over
    /// locks the queue and wakes the reader.
    pub(super) fn hand_over(&mut self, out: &mut BytesMut) {
        let mut changed = Vec::new();
        for link in self.links.iter_mut().filter(|link| !link.arrivals.is_empty()) {
            link.leave_chunk();
            if link.state.deliver(&mut link.arrivals) {
                changed.extend(link.peer_handle);
            }
            debug_assert!(link.arrivals.is_empty(), "all that came is handed over");
        }
        for handle in changed {
            self.write_flow(handle, out);
        }
        // At one half, and not when it is used up: the peer learns of it while it can still send, however
        // long the round trip takes. Earlier would only mean more flows. Flows of links open the window too,
        // so this one is rare.
        if self.window_left <= self.begun.incoming_window / 2 {
            flow(self.channel, self.open_window(), None, out);
        }
    }

    /// Writes how much credit a link has, and confirms what it has received.
    pub(super) fn write_flow(&mut self, handle: PeerHandle, out: &mut BytesMut) {
        let Some(index) = self.links.iter().position(|link| link.peer_handle == Some(handle)) else {
            return;
        };
        let session = self.open_window();
        let link = &mut self.links[index];
        for (first, last) in link.unsettled.drain(..) {
            accepted(self.channel, first, last, out);
        }
        if let Some((delivery_count, credit)) = link.state.credit() {
            let of_link = LinkFlow { handle: link.our_handle, delivery_count, credit };
            flow(self.channel, session, Some(of_link), out);
        }
    }

    /// Replaces a flow of the library: it knows neither the transfers that were taken nor the credit of their
    /// links.
    pub(super) fn correct(&mut self, flow: &Performative<'_>, out: &mut BytesMut) {
        let handle = flow.field(field::flow::HANDLE).and_then(uint).map(OurHandle);
        let taken = |link: &&Link| Some(link.our_handle) == handle && link.state.takes();
        match self.links.iter().find(taken).map(|link| link.peer_handle) {
            Some(Some(peer_handle)) => self.write_flow(peer_handle, out),
            // Dropped. The peer has not attached, so nobody knows yet where its delivery count begins, and a
            // credit of the library would be one that this tap has not granted. The reader grants the first
            // one after the attach.
            Some(None) => {}
            // About the session, or a link of the library: only the number of the transfers in it is wrong.
            // It announces the window of the begin, since the library has seen none of what was taken.
            None => {
                self.window_left = self.begun.incoming_window;
                corrected(self.channel, flow, self.next_incoming_id, out);
            }
        }
    }

    /// What a flow says of the session. Whoever asks must write it, since it counts as announced.
    fn open_window(&mut self) -> SessionFlow {
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
    our_handle: OurHandle,
    /// `None` until the peer has attached.
    peer_handle: Option<PeerHandle>,
    state: Arc<LinkState>,
    /// A delivery of which more frames must come; the peer may not begin another one on this link before.
    unfinished: Option<Unfinished>,
    /// Deliveries that are not handed over yet; `None` is one that was aborted, which used credit all the
    /// same. Empty between two reads of the stream.
    arrivals: Vec<Option<Bytes>>,
    /// Ranges of delivery ids that are not accepted yet, both ends included. Bounded by the outstanding
    /// credit and one chunk, because granting more credit also sends the dispositions. Empty where the peer
    /// settles before it sends, as asked.
    unsettled: Vec<(DeliveryId, DeliveryId)>,
    /// Where small messages are copied to, so that several share one allocation.
    copies: BytesMut,
}

#[derive(Debug, Default)]
struct Unfinished {
    payload: BytesMut,
    /// Of the first frame; the others may leave it out.
    id: Option<DeliveryId>,
    settled: bool,
}

impl Link {
    fn new(name: String, our_handle: OurHandle, state: Arc<LinkState>) -> Self {
        Self {
            name,
            our_handle,
            peer_handle: None,
            state,
            unfinished: None,
            arrivals: Vec::new(),
            unsettled: Vec::new(),
            copies: BytesMut::new(),
        }
    }

    fn take(&mut self, transfer: &Transfer, block: &Bytes, payload: Range<usize>) -> Result<(), Violation> {
        let id = transfer.delivery_id.map(DeliveryId);
        if self.unfinished.is_none() && !transfer.more && !transfer.aborted {
            let message = self.keep(block, payload);
            return self.finish(message, id, transfer.settled);
        }
        let mut unfinished = self.unfinished.take().unwrap_or_default();
        unfinished.id = unfinished.id.or(id);
        // Settled is what any of its frames says (AMQP 1.0 part 2, §2.7.5).
        unfinished.settled |= transfer.settled;
        if transfer.aborted {
            self.arrivals.push(None); // implicitly settled
            return Ok(());
        }
        let room = MAX_KEPT_MESSAGE.saturating_sub(unfinished.payload.len());
        let piece = &block[payload];
        unfinished.payload.extend_from_slice(&piece[..piece.len().min(room)]);
        debug_assert!(unfinished.payload.len() <= MAX_KEPT_MESSAGE, "what is longer is cut");
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
        // The shorter ones were copied when they came.
        for message in self.arrivals.iter_mut().flatten().filter(|message| message.len() >= LEAST_SHARED) {
            copies.extend_from_slice(message);
            *message = copies.split().freeze();
        }
    }

    fn finish(&mut self, message: Bytes, id: Option<DeliveryId>, settled: bool) -> Result<(), Violation> {
        self.arrivals.push(Some(message));
        if settled {
            return Ok(());
        }
        let id = id.ok_or(Violation::Malformed)?;
        match self.unsettled.last_mut() {
            Some((_, last)) if last.next() == id => *last = id,
            // Another link of the session had the numbers in between: one disposition must not cover them.
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

#[cfg(test)]
mod tests {
    use eventhubs_amqp_frames::{KillSwitch, channel, descriptor, frame_length};
    use fe2o3_amqp_types::definitions::{
        self, LinkError, ReceiverSettleMode, Role, SenderSettleMode, SessionError,
    };
    use fe2o3_amqp_types::performatives::{Attach, Detach, Flow};
    use serde_amqp::serde::Serialize;

    use super::*;
    use crate::tap::{Prefetch, TappedLink};

    /// The window that our begin offers, in transfers.
    const WINDOW: u32 = 8;
    const CHANNEL: OurChannel = OurChannel(1);
    const OURS: u32 = 3;
    const PEERS: u32 = 103;

    fn encoded(performative: &impl Serialize) -> Vec<u8> {
        serde_amqp::to_vec(performative).unwrap()
    }

    fn attach(role: Role, handle: u32) -> Vec<u8> {
        encoded(&Attach {
            name: "link".to_owned(),
            handle: handle.into(),
            role,
            snd_settle_mode: SenderSettleMode::Settled,
            rcv_settle_mode: ReceiverSettleMode::First,
            source: None,
            target: None,
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: Some(0),
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        })
    }

    /// A session with one link that our end has attached, and the reader of that link.
    fn attaching() -> (SessionState, TappedLink) {
        let taps = Taps::new(KillSwitch::default());
        let prefetch = Prefetch { events: 1_000, bytes: 1 << 40 };
        let reader = TappedLink::expect(&taps, "link", prefetch);
        let begun = Begun { next_outgoing_id: 0, incoming_window: WINDOW, outgoing_window: WINDOW };
        let mut session = SessionState::new(CHANNEL, begun, 0);
        session.attaching(&Performative::read(&attach(Role::Receiver, OURS)).unwrap(), &taps);
        (session, reader)
    }

    /// The same with both ends attached and credit granted.
    fn attached() -> (SessionState, TappedLink) {
        let (mut session, reader) = attaching();
        session.attached(PeerChannel(101), &Performative::read(&attach(Role::Sender, PEERS)).unwrap());
        reader.top_up();
        (session, reader)
    }

    /// A transfer of the peer with this payload, in a block of its own.
    fn transfer(session: &mut SessionState, more: bool, payload: &[u8]) -> Bytes {
        let block = Bytes::copy_from_slice(payload);
        let transfer =
            Transfer { handle: PEERS, delivery_id: Some(0), settled: true, more, ..Transfer::default() };
        session.count_transfer();
        assert_eq!(session.take(&transfer, &block, 0..block.len()), Ok(true));
        block
    }

    /// The flows among the frames, by their handle, if they are about a link.
    fn flows(out: &BytesMut) -> Vec<Option<u32>> {
        let (mut rest, mut flows) = (&out[..], Vec::new());
        while let Some(length) = frame_length(rest, MAX_FRAME_SIZE).unwrap() {
            let performative = Performative::of_frame(&rest[..length]).unwrap().unwrap();
            assert_eq!((performative.descriptor, channel(rest)), (descriptor::FLOW, CHANNEL.0));
            flows.push(performative.field(field::flow::HANDLE).and_then(uint));
            rest = &rest[length..];
        }
        flows
    }

    fn handed_over(session: &mut SessionState) -> Vec<Option<u32>> {
        let mut out = BytesMut::new();
        session.hand_over(&mut out);
        flows(&out)
    }

    /// The window of a session is used up by frames, not by deliveries, and no credit helps a session without
    /// a window.
    #[test]
    fn the_window_is_announced_again_when_half_of_it_is_used_and_not_before() {
        let (mut session, _reader) = attached();
        for round in 0..2 {
            for used in 1..WINDOW / 2 {
                transfer(&mut session, true, b"x");
                assert_eq!(handed_over(&mut session), [], "round {round}, {used} of {WINDOW} are used");
            }
            transfer(&mut session, true, b"x");
            assert_eq!(handed_over(&mut session), [None], "round {round}, half is used");
        }
    }

    /// A flow of a link carries the window too, so another one right after it would be for nothing.
    #[test]
    fn a_flow_of_a_link_announces_the_window() {
        let (mut session, _reader) = attached();
        for _ in 1..WINDOW / 2 {
            transfer(&mut session, true, b"x");
        }
        let mut out = BytesMut::new();
        session.write_flow(PeerHandle(PEERS), &mut out);
        assert_eq!(flows(&out), [Some(OURS)]);
        transfer(&mut session, true, b"x");
        assert_eq!(handed_over(&mut session), []);
    }

    /// From `LEAST_SHARED` on the reader gets a part of the block itself. The many bytes next to it keep the
    /// chunk worth keeping.
    #[test]
    fn a_message_is_copied_below_the_least_that_is_shared_and_not_at_it() {
        for (length, is_shared) in [(LEAST_SHARED - 1, false), (LEAST_SHARED, true)] {
            let (mut session, reader) = attached();
            let block = transfer(&mut session, false, &vec![7; length]);
            transfer(&mut session, false, &vec![7; LEAST_KEPT]);
            handed_over(&mut session);
            assert_eq!(block.as_ptr() == reader.take(1)[0].as_ptr(), is_shared, "{length} bytes");
        }
    }

    /// One event that waits in a chunk of 128 KiB may not keep it, but a sixteenth of it may.
    #[test]
    fn what_came_at_once_is_copied_below_the_least_that_is_kept_and_not_at_it() {
        for (length, is_kept) in [(LEAST_KEPT - 1, false), (LEAST_KEPT, true)] {
            let (mut session, reader) = attached();
            let block = transfer(&mut session, false, &vec![7; length]);
            handed_over(&mut session);
            assert_eq!(block.as_ptr() == reader.take(1)[0].as_ptr(), is_kept, "{length} bytes");
        }
    }

    /// One byte more than any tier of the service allows is cut off, and the link lives on.
    #[test]
    fn a_message_of_the_largest_size_is_whole_and_a_longer_one_is_cut_to_it() {
        for excess in [0, 1] {
            let (mut session, reader) = attached();
            transfer(&mut session, true, &vec![7; MAX_KEPT_MESSAGE - 1]);
            transfer(&mut session, false, &vec![8; 1 + excess]);
            handed_over(&mut session);
            let message = reader.take(1).remove(0);
            assert_eq!((message.len(), message.last()), (MAX_KEPT_MESSAGE, Some(&8)), "{excess} too long");
            assert_eq!(reader.outcome(), None);
        }
    }

    fn detached(session: &mut SessionState, error: Option<definitions::Error>) {
        let detach = encoded(&Detach { handle: PEERS.into(), closed: true, error });
        session.detached(PeerHandle(PEERS), &Performative::read(&detach).unwrap());
    }

    /// Only a theft makes them worthless: then another reader processes them already.
    #[test]
    fn the_events_before_a_detach_are_handed_out_unless_the_link_was_stolen() {
        let other = definitions::Error::new(SessionError::WindowViolation, None, None);
        for error in [None, Some(other)] {
            let (mut session, reader) = attached();
            transfer(&mut session, false, b"before the end");
            detached(&mut session, error);
            assert_eq!(reader.take(9), ["before the end"]);
            assert_eq!(reader.outcome(), None, "the library reports the end");
        }
        let (mut session, reader) = attached();
        transfer(&mut session, false, b"before the theft");
        let stolen = definitions::Error::new(LinkError::Stolen, Some("by reader-2".to_owned()), None);
        detached(&mut session, Some(stolen));
        assert_eq!(reader.take(9), [""; 0]);
        assert_eq!(reader.outcome(), Some(Outcome::Stolen(Some("by reader-2".to_owned()))));
    }

    /// What a flow of the library becomes.
    fn corrected_flows(session: &mut SessionState, handle: Option<u32>) -> Vec<Option<u32>> {
        let flow = encoded(&Flow {
            next_incoming_id: Some(0),
            incoming_window: WINDOW,
            next_outgoing_id: 0,
            outgoing_window: WINDOW,
            handle: handle.map(Into::into),
            delivery_count: handle.map(|_| 0),
            link_credit: handle.map(|_| 77),
            available: None,
            drain: false,
            echo: false,
            properties: None,
        });
        let mut out = BytesMut::new();
        session.correct(&Performative::read(&flow).unwrap(), &mut out);
        flows(&out)
    }

    /// Its delivery count would be made up, and its credit granted by nobody.
    #[test]
    fn a_flow_of_the_library_for_a_link_not_yet_attached_is_dropped() {
        let (mut session, _reader) = attaching();
        assert_eq!(corrected_flows(&mut session, Some(OURS)), []);
        assert_eq!(corrected_flows(&mut session, None), [None], "one about the session goes out");
        let (mut session, _reader) = attached();
        assert_eq!(corrected_flows(&mut session, Some(OURS)), [Some(OURS)]);
    }
}
