//! The flow control of one session: which messages wait, how many frames each side takes, the credit of the links, and the numbers that
//! go out with all that. The AMQP library neither sends nor receives a transfer, so its own numbers stay where they began and are
//! replaced here. Tests: here, and `tests/it/credit.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::{Begin, Disposition, Flow};
use tokio::sync::watch;

use crate::wire::attaching::LinkState;
use crate::wire::frame;
use crate::wire::frame_writer::FrameWriter;
use crate::wire::numbers::{
    ClientDelivery, ClientTransfer, OurChannel, OurDelivery, OurHandle, OurTransfer, SentCount,
};
use crate::wire::outbox::{Control, Item, Outbox};
use crate::wire::receiving_link::{Grant, ReceivingLink};
use crate::wire::sending_link::SendingLink;
use crate::wire::transfers::Delivery;

/// Follows one session (AMQP 1.0 part 2, §2.5.6).
#[derive(Debug)]
pub(crate) struct SessionFlow {
    outbox: Arc<Outbox>,
    /// Out of the outbox; `begun` bytes of the first message are written.
    taken: VecDeque<Item>,
    begun: usize,
    /// Our channel, once our begin is written.
    channel: Option<OurChannel>,
    next_delivery_id: OurDelivery,
    /// Where our count of frames starts, and where the count of the library stays.
    initial_outgoing_id: OurTransfer,
    /// Of our next frame.
    next_outgoing_id: OurTransfer,
    /// How many frames the client takes from now on; up to all of `u32`, which Microsoft's Rust SDK says.
    outgoing_window_left: u32,
    /// Of the client's next frame, and of the first one that we do not take.
    next_incoming_id: ClientTransfer,
    incoming_end: ClientTransfer,
    /// The client's window until its first flow. It starts where our begin says.
    first_window: u32,
    /// Ours, as our begin says.
    incoming_window: u32,
    outgoing_window: u32,
    links: BTreeMap<OurHandle, OpenLink>,
    /// Links whose client asked for their state.
    echoes: Vec<Arc<SendingLink>>,
    /// Links whose client is to hear of its credit.
    due: Vec<Arc<ReceivingLink>>,
}

/// A link whose attach is written, and how many deliveries were begun or given back on it.
#[derive(Debug)]
struct OpenLink {
    link: LinkState,
    delivery_count: SentCount,
}

/// The event hubs whose producers get no credit, in lower case.
pub(crate) type HubsWithoutCredit = BTreeSet<String>;

impl SessionFlow {
    /// The client begins a session.
    pub(crate) fn new(begin: &Begin, outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            taken: VecDeque::new(),
            begun: 0,
            channel: None,
            next_delivery_id: OurDelivery::default(),
            initial_outgoing_id: OurTransfer::default(),
            next_outgoing_id: OurTransfer::default(),
            outgoing_window_left: 0,
            next_incoming_id: ClientTransfer::new(begin.next_outgoing_id),
            incoming_end: ClientTransfer::new(begin.next_outgoing_id),
            first_window: begin.incoming_window,
            incoming_window: 0,
            outgoing_window: 0,
            links: BTreeMap::new(),
            echoes: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Our begin is written.
    pub(crate) fn answered(&mut self, channel: OurChannel, begin: &Begin) {
        self.channel = Some(channel);
        self.incoming_window = begin.incoming_window;
        self.outgoing_window = begin.outgoing_window;
        self.initial_outgoing_id = OurTransfer::new(begin.next_outgoing_id);
        self.next_outgoing_id = self.initial_outgoing_id;
        self.outgoing_window_left = self.first_window;
        self.incoming_end = self.next_incoming_id.after(begin.incoming_window);
    }

    /// Whether this is our channel of the session. A client may use its own one for the next session before the end of this one is
    /// answered.
    pub(crate) fn is_on(&self, channel: OurChannel) -> bool {
        self.channel == Some(channel)
    }

    /// Our attach of a link is written.
    pub(crate) fn attached(&mut self, handle: OurHandle, link: LinkState) {
        match &link {
            LinkState::Sending(link) => link.attach(handle),
            LinkState::Receiving(link) => {
                link.attach(handle);
                // Its task may have asked for credit before.
                self.due.push(Arc::clone(link));
            }
        }
        self.links.insert(handle, OpenLink { link, delivery_count: SentCount::default() });
    }

    /// Our detach of a link is next.
    pub(crate) fn detached(&mut self, handle: OurHandle) {
        if let Some(open) = self.links.remove(&handle) {
            open.link.close();
        }
    }

    /// Takes what a flow of the client says about the session. The library may read the rest: for it, nothing was sent.
    pub(crate) fn incoming_flow(&mut self, flow: &mut Flow) {
        // A client leaves the id out as long as it has received nothing of the session.
        let first_not_received = flow.next_incoming_id.map_or(self.initial_outgoing_id, OurTransfer::new);
        let in_flight = self.next_outgoing_id.since_if_ahead(first_not_received);
        // The client had not seen the frames in flight when it wrote the flow, and each takes one place of
        // the window that it announces. More in flight than that is a window of zero, not a huge one.
        self.outgoing_window_left = flow.incoming_window.saturating_sub(in_flight);
        flow.next_incoming_id = Some(self.initial_outgoing_id.get());
    }

    /// Counts a transfer of the client.
    pub(crate) fn incoming_transfer(&mut self) {
        self.next_incoming_id = self.next_incoming_id.next();
    }

    /// The client wants to know the state of a link.
    pub(crate) fn echo(&mut self, link: &Arc<SendingLink>) {
        if !self.echoes.iter().any(|known| Arc::ptr_eq(known, link)) {
            self.echoes.push(Arc::clone(link));
        }
    }

    /// Lets all producers hear of their credit: a fault gives it or takes it away.
    pub(crate) fn credit_changed(&mut self) {
        let producer = |open: &OpenLink| match &open.link {
            LinkState::Receiving(link) if link.hub.is_some() => Some(Arc::clone(link)),
            _ => None,
        };
        self.due.extend(self.links.values().filter_map(producer));
    }

    /// The client wants to know the state of a link on which it sends.
    pub(crate) fn echo_credit(&mut self, link: &Arc<ReceivingLink>) {
        if !self.due.iter().any(|known| Arc::ptr_eq(known, link)) {
            self.due.push(Arc::clone(link));
        }
    }

    /// Makes a flow say how the session is now, which opens the whole window to the client again.
    pub(crate) fn refresh(&mut self, flow: &mut Flow) {
        self.incoming_end = self.next_incoming_id.after(self.incoming_window);
        flow.next_incoming_id = Some(self.next_incoming_id.get());
        flow.incoming_window = self.incoming_window;
        flow.next_outgoing_id = self.next_outgoing_id.get();
    }

    /// Writes what waits, as far as the session window of the client and the space of the writer allow.
    pub(crate) fn write(
        &mut self,
        writer: &mut FrameWriter<'_>,
        starved: &watch::Receiver<HubsWithoutCredit>,
    ) {
        let Some(channel) = self.channel else { return };
        // Credit and outcomes first: they are few and small, and a producer waits for them, while a full
        // buffer of messages may take long to leave.
        self.write_controls(channel, writer);
        self.write_credit(channel, writer, starved);
        self.answer_echoes(channel, writer);
        // At half of the window, so that a client that sends all the time does not stop until the flow
        // arrives.
        if self.incoming_end.since_if_ahead(self.next_incoming_id) < self.incoming_window / 2 {
            let flow = self.session_flow();
            writer.put(frame::framed(channel.0, &flow));
        }
        let mut written = 0;
        while writer.has_space()
            && let Some(bytes) = self.write_next(channel, writer)
        {
            written += bytes;
        }
        if written > 0 {
            self.outbox.written(written);
        }
    }

    /// Writes one frame, or skips what nobody waits for any more. Returns how many bytes of the outbox are done with; `None` if
    /// nothing can be written.
    fn write_next(&mut self, channel: OurChannel, writer: &mut FrameWriter<'_>) -> Option<usize> {
        if self.taken.is_empty() {
            self.taken = self.outbox.take_all();
        }
        let (link, message) = match self.taken.front()? {
            Item::Message(link, message) => (link, message),
            Item::Drained(..) => return Some(self.answer_drain(channel, writer)),
        };
        // The link was closed after its task had put the message in: a transfer now would be one on a handle
        // that the client may already use for another link.
        let Some(handle) = link.handle() else { return Some(self.finish()) };
        // Counted in frames, so a large message may stop in the middle and continue after the next flow;
        // `begun` is kept for that.
        self.outgoing_window_left = self.outgoing_window_left.checked_sub(1)?;
        let delivery = Delivery { channel, handle, id: self.next_delivery_id, message };
        let is_first = self.begun == 0;
        self.begun += writer.put_transfer(&delivery, self.begun);
        let is_last = self.begun == message.len();
        self.next_outgoing_id = self.next_outgoing_id.next();
        if is_first {
            self.next_delivery_id = self.next_delivery_id.next();
            self.count(handle, 1);
        }
        Some(if is_last { self.finish() } else { 0 })
    }

    /// Forgets the first item. A message of a link that has been closed may be written in part: the detach aborts it.
    fn finish(&mut self) -> usize {
        self.begun = 0;
        self.taken.pop_front().map_or(0, |item| item.bytes())
    }

    fn answer_drain(&mut self, channel: OurChannel, writer: &mut FrameWriter<'_>) -> usize {
        if let Some(Item::Drained(link, returned)) = self.taken.pop_front()
            && let Some(handle) = link.handle()
        {
            // A drained link counts the credit that it gives back as if it had delivered that much (AMQP 1.0
            // part 2, §2.6.7), so that both sides compute zero.
            self.count(handle, returned);
            let flow = self.link_flow(handle, 0, true);
            writer.put(frame::framed(channel.0, &flow));
        }
        0
    }

    fn write_controls(&mut self, channel: OurChannel, writer: &mut FrameWriter<'_>) {
        for control in self.outbox.take_controls() {
            match control {
                Control::Credit(link) => self.due.push(link),
                Control::Outcome(id, outcome) => {
                    writer.put(frame::framed(channel.0, &disposition(id, outcome)));
                }
            }
        }
    }

    fn write_credit(
        &mut self,
        channel: OurChannel,
        writer: &mut FrameWriter<'_>,
        starved: &watch::Receiver<HubsWithoutCredit>,
    ) {
        for link in mem::take(&mut self.due) {
            let Some(Grant { handle, delivery_count, credit }) = link.grant() else { continue };
            let is_starved = link.hub.as_ref().is_some_and(|hub| starved.borrow().contains(hub));
            let flow = Flow {
                handle: Some(Handle(handle.0)),
                delivery_count: Some(delivery_count.get()),
                link_credit: Some(if is_starved { 0 } else { credit }),
                ..self.session_flow()
            };
            writer.put(frame::framed(channel.0, &flow));
        }
    }

    fn answer_echoes(&mut self, channel: OurChannel, writer: &mut FrameWriter<'_>) {
        let open: Vec<_> =
            self.echoes.iter().filter_map(|link| Some((link.handle()?, Arc::clone(link)))).collect();
        for (handle, link) in open {
            let written = self.links.get(&handle).map_or(SentCount::default(), |open| open.delivery_count);
            let flow = self.link_flow(handle, link.left_after(written), false);
            writer.put(frame::framed(channel.0, &flow));
        }
        // A link that is not attached yet is answered once it is.
        self.echoes.retain(|link| link.is_awaited());
    }

    fn count(&mut self, handle: OurHandle, deliveries: u32) {
        if let Some(open) = self.links.get_mut(&handle) {
            open.delivery_count = open.delivery_count.after(deliveries);
        }
    }

    fn link_flow(&mut self, handle: OurHandle, credit: u32, drain: bool) -> Flow {
        Flow {
            handle: Some(Handle(handle.0)),
            delivery_count: self.links.get(&handle).map(|open| open.delivery_count.get()),
            link_credit: Some(credit),
            drain,
            ..self.session_flow()
        }
    }

    fn session_flow(&mut self) -> Flow {
        let mut flow = Flow {
            next_incoming_id: None,
            incoming_window: 0,
            next_outgoing_id: 0,
            outgoing_window: self.outgoing_window,
            handle: None,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
            properties: None,
        };
        self.refresh(&mut flow);
        flow
    }
}

fn disposition(id: ClientDelivery, outcome: DeliveryState) -> Disposition {
    Disposition {
        role: Role::Receiver,
        first: id.get(),
        last: None,
        settled: true,
        state: Some(outcome),
        batchable: false,
    }
}

impl Drop for SessionFlow {
    /// Nothing is written on a link after its session, and what waits takes no space of the next session on the channel.
    fn drop(&mut self) {
        for open in self.links.values() {
            open.link.close();
        }
        self.outbox.written(self.taken.iter().map(Item::bytes).sum());
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use eventhubs_amqp_frames::split_frame;
    use fe2o3_amqp_types::performatives::Transfer;

    use super::*;
    use crate::wire::frame::{Limits, decode, parse};
    use crate::wire::shared::Shared;

    const LIMITS: Limits = Limits { frame: 512, message: 1024 };

    fn begin(window: u32) -> Begin {
        Begin {
            remote_channel: None,
            next_outgoing_id: 50,
            incoming_window: window,
            outgoing_window: 5,
            handle_max: Handle(255),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        }
    }

    /// Our channel is 3, and our frames start at 50 too.
    fn session(window: u32) -> (SessionFlow, Arc<Outbox>) {
        let outbox = Arc::<Outbox>::default();
        let mut session = SessionFlow::new(&begin(window), Arc::clone(&outbox));
        session.answered(OurChannel(3), &begin(2048));
        (session, outbox)
    }

    fn link(session: &mut SessionFlow, handle: u32) -> Arc<SendingLink> {
        let link = Arc::<SendingLink>::default();
        link.grant(SentCount::new(0), Some(100), false);
        session.attached(OurHandle(handle), LinkState::Sending(Arc::clone(&link)));
        link
    }

    fn put(outbox: &Outbox, link: &Arc<SendingLink>, sizes: &[usize]) {
        let messages = sizes.iter().map(|size| Bytes::from(vec![7; *size]));
        assert_eq!(outbox.put(link, messages).0, sizes.len());
    }

    fn grant(session: &mut SessionFlow, next_incoming_id: u32, window: u32) -> Flow {
        let mut flow = session.session_flow();
        (flow.next_incoming_id, flow.incoming_window) = (Some(next_incoming_id), window);
        session.incoming_flow(&mut flow);
        flow
    }

    enum Written {
        Transfer(Transfer),
        Flow(Flow),
    }

    fn write(session: &mut SessionFlow) -> Vec<Written> {
        let mut out = BytesMut::new();
        let (_hungry, starved) = watch::channel(BTreeSet::from(["hungry".to_owned()]));
        session
            .write(&mut FrameWriter { out: &mut out, limits: LIMITS, shared: &Shared::default() }, &starved);
        std::iter::from_fn(|| split_frame(&mut out)).map(|frame| read(&frame)).collect()
    }

    fn read(frame: &[u8]) -> Written {
        match parse(frame).unwrap() {
            (3, 0x13, body) => Written::Flow(decode(body).unwrap()),
            (3, 0x14, mut body) => Written::Transfer(serde_amqp::from_reader(&mut body).unwrap()),
            (channel, code, _) => panic!("{code:#x} on {channel}"),
        }
    }

    /// Handle and delivery id of each frame.
    fn transfers(session: &mut SessionFlow) -> Vec<(u32, Option<u32>)> {
        let transfer = |written| match written {
            Written::Transfer(transfer) => (transfer.handle.0, transfer.delivery_id),
            Written::Flow(flow) => panic!("{flow:?}"),
        };
        write(session).into_iter().map(transfer).collect()
    }

    #[test]
    fn no_frame_is_written_beyond_the_session_window() {
        let (mut session, outbox) = session(2);
        let link = link(&mut session, 0);
        // The second message takes two frames, the last of which does not fit into the window.
        put(&outbox, &link, &[1, 600, 1]);
        assert_eq!(transfers(&mut session), [(0, Some(0)), (0, Some(1))]);
        assert_eq!(transfers(&mut session), []);
        let flow = grant(&mut session, 51, 2);
        assert_eq!(flow.next_incoming_id, Some(50), "the library has sent nothing");
        assert_eq!(transfers(&mut session), [(0, None)]);
        // A client that has closed its window: 53 is the next one that we send.
        grant(&mut session, 53, 0);
        assert_eq!(transfers(&mut session), []);
        grant(&mut session, 53, 1);
        assert_eq!(transfers(&mut session), [(0, Some(2))]);
    }

    /// A window of more than half of all numbers is not one that has passed.
    #[test]
    fn the_largest_window_is_a_window() {
        let (mut session, outbox) = session(u32::MAX);
        let link = link(&mut session, 0);
        put(&outbox, &link, &[1]);
        assert_eq!(transfers(&mut session), [(0, Some(0))]);
        grant(&mut session, 50, u32::MAX);
        put(&outbox, &link, &[1]);
        assert_eq!(transfers(&mut session), [(0, Some(1))]);
    }

    /// JavaScript closes the connection when a number is missing.
    #[test]
    fn delivery_ids_have_no_gap_where_a_link_was_closed() {
        let (mut session, outbox) = session(100);
        let [gone, stays] = [4, 5].map(|handle| link(&mut session, handle));
        put(&outbox, &gone, &[1]);
        assert_eq!(transfers(&mut session), [(4, Some(0))]);
        put(&outbox, &gone, &[1, 1]);
        put(&outbox, &stays, &[1]);
        session.detached(OurHandle(4));
        assert_eq!(transfers(&mut session), [(5, Some(1))]);
    }

    #[test]
    fn the_answer_to_a_drain_counts_what_was_written() {
        let (mut session, outbox) = session(100);
        let link = link(&mut session, 4);
        put(&outbox, &link, &[1, 1]);
        outbox.drained(&link);
        session.incoming_transfer();
        let written = write(&mut session);
        let [Written::Transfer(_), Written::Transfer(_), Written::Flow(flow)] = &written[..] else {
            panic!("{} frames", written.len());
        };
        assert_eq!((flow.delivery_count, flow.link_credit, flow.drain), (Some(100), Some(0), true));
        assert_eq!(
            (flow.next_outgoing_id, flow.next_incoming_id, flow.incoming_window),
            (52, Some(51), 2048)
        );
    }

    /// What waits in the outbox is not sent yet, for the client.
    #[test]
    fn an_echo_is_answered_once_the_link_is_attached() {
        let (mut session, outbox) = session(1);
        let late = Arc::<SendingLink>::default();
        late.grant(SentCount::new(0), Some(10), false);
        session.echo(&late);
        session.echo(&late);
        assert!(write(&mut session).is_empty());
        session.attached(OurHandle(4), LinkState::Sending(Arc::clone(&late)));
        put(&outbox, &late, &[1, 1]);
        let [Written::Flow(flow), Written::Transfer(_)] = &write(&mut session)[..] else { panic!() };
        assert_eq!((flow.delivery_count, flow.link_credit, flow.drain), (Some(0), Some(10), false));
        session.echo(&late);
        let [Written::Flow(flow)] = &write(&mut session)[..] else { panic!() };
        assert_eq!((flow.delivery_count, flow.link_credit), (Some(1), Some(9)));
    }

    #[test]
    fn a_session_that_ends_closes_its_links_and_frees_its_space() {
        let (mut session, outbox) = session(0);
        let link = link(&mut session, 4);
        put(&outbox, &link, &[2 * 1024 * 1024]);
        assert_eq!(transfers(&mut session), []);
        drop(session);
        assert_eq!(link.handle(), None);
        let next = Arc::<SendingLink>::default();
        next.attach(OurHandle(0));
        next.grant(SentCount::new(0), Some(1), false);
        put(&outbox, &next, &[1]);
    }

    /// Of the first half nothing is said, of the second half in time.
    #[test]
    fn the_window_of_the_client_is_opened_again_when_half_of_it_is_used() {
        let (mut session, _) = session(0);
        for _ in 0..1024 {
            session.incoming_transfer();
        }
        assert!(write(&mut session).is_empty());
        session.incoming_transfer();
        let [Written::Flow(flow)] = &write(&mut session)[..] else { panic!("no flow") };
        assert_eq!(
            (flow.handle.is_none(), flow.next_incoming_id, flow.incoming_window),
            (true, Some(1075), 2048)
        );
        assert!(write(&mut session).is_empty());
    }

    #[test]
    fn outcomes_and_credit_do_not_wait_for_the_session_window() {
        let (mut session, outbox) = session(0);
        let reader = link(&mut session, 4);
        put(&outbox, &reader, &[1]);
        let [fed, hungry] = ["fed", "hungry"]
            .map(|hub| Arc::new(ReceivingLink::new(Arc::default(), 10, Some(hub.to_owned()))));
        for (handle, link) in [(5, &fed), (6, &hungry)] {
            link.serve();
            session.attached(OurHandle(handle), LinkState::Receiving(Arc::clone(link)));
        }
        let [Written::Flow(first), Written::Flow(second)] = &write(&mut session)[..] else {
            panic!("no credit")
        };
        assert_eq!((first.handle.clone(), first.link_credit), (Some(Handle(5)), Some(200)));
        assert_eq!((second.handle.clone(), second.link_credit), (Some(Handle(6)), Some(0)));
    }
}
