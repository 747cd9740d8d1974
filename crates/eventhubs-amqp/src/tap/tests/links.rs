//! The tap alone, shown the frames of both sides: what our own client never does, and the emulator cannot be
//! told to do.

use bytes::{Bytes, BytesMut};
use eventhubs_amqp_frames::descriptor::{DISPOSITION, FLOW};
use eventhubs_amqp_frames::{KillSwitch, Performative, Tap, channel, frame_length, uint};
use fe2o3_amqp_types::definitions::{ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::performatives::{Attach, Begin, Detach, End, Flow, Transfer};
use tokio::time::{Duration, timeout};

use crate::tap::session::MAX_KEPT_MESSAGE;
use crate::tap::{MAX_FRAME_SIZE, Prefetch, TappedLink, Taps, TransferTap};
use crate::testing::raw_peer::frame;

/// A connection whose two ends number everything differently: our channel or handle n is the peer's n + 100.
struct Wire {
    tap: TransferTap,
    taps: Taps,
    /// What was written to the peer since it was last looked at.
    written: BytesMut,
}

impl Wire {
    fn new() -> Self {
        let taps = Taps::new(KillSwitch::default());
        Self { tap: TransferTap::new(taps.clone()), taps, written: BytesMut::new() }
    }

    fn we(&mut self, frame: &[u8]) {
        self.tap.outgoing(frame.into(), &mut self.written);
    }

    /// What of the peer's frames, all in one block, is passed on to the library.
    fn peer(&mut self, frames: &[u8]) -> usize {
        self.peer_block(&Bytes::copy_from_slice(frames))
    }

    fn peer_block(&mut self, block: &Bytes) -> usize {
        let (mut start, mut passed) = (0, BytesMut::new());
        while let Some(length) = frame_length(&block[start..], MAX_FRAME_SIZE).unwrap() {
            self.tap.incoming(block, start..start + length, &mut passed).unwrap();
            start += length;
        }
        self.tap.settle(&mut self.written);
        frames(&passed).len()
    }

    /// What the stream asks of the tap before each read; what it repeats to the library.
    fn unasked(&mut self) -> BytesMut {
        let mut repeated = BytesMut::new();
        self.tap.unasked(&mut self.written, &mut repeated);
        repeated
    }

    fn begin(&mut self, channel: u16) {
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 5_000,
            outgoing_window: 5_000,
            handle_max: 255.into(),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.we(&frame(channel, &begin, &[]));
        let answer = Begin { remote_channel: Some(channel), ..begin };
        self.peer(&frame(channel + 100, &answer, &[]));
    }

    fn end(&mut self, channel: u16) {
        self.we(&frame(channel, &End { error: None }, &[]));
        self.peer(&frame(channel + 100, &End { error: None }, &[]));
    }

    /// Attaches a link that may be sent ten events, and whose first flow is written.
    fn attach(&mut self, name: &str, channel: u16, handle: u32) -> TappedLink {
        let link = TappedLink::expect(&self.taps, name, Prefetch { events: 10, bytes: 1 << 40 });
        let mut attach = Attach {
            name: name.to_owned(),
            handle: handle.into(),
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
        };
        self.we(&frame(channel, &attach, &[]));
        attach.role = Role::Sender;
        attach.handle = (handle + 100).into();
        attach.initial_delivery_count = Some(0);
        self.peer(&frame(channel + 100, &attach, &[]));
        link.top_up();
        self.unasked();
        link
    }

    /// Channel, handle and credit of the flows that were written since the last look.
    fn flows(&mut self) -> Vec<(u16, u32, u32)> {
        let flows = self.look(FLOW, [4, 6]);
        flows
            .into_iter()
            .filter_map(|(channel, [handle, credit])| Some((channel, handle?, credit?)))
            .collect()
    }

    /// The first and the last of each range of deliveries that was confirmed since the last look.
    fn confirmed(&mut self) -> Vec<(u32, u32)> {
        let dispositions = self.look(DISPOSITION, [1, 2]);
        dispositions.into_iter().filter_map(|(_, [first, last])| Some((first?, last?))).collect()
    }

    /// The channel and two fields of each such performative that was written since the last look.
    fn look(&mut self, descriptor: u8, fields: [usize; 2]) -> Vec<(u16, [Option<u32>; 2])> {
        let (written, mut found) = (self.written.split(), Vec::new());
        for frame in frames(&written) {
            let performative = Performative::of_frame(frame).unwrap().unwrap();
            if performative.descriptor == descriptor {
                let numbers = fields.map(|index| performative.field(index).and_then(uint));
                found.push((channel(frame), numbers));
            }
        }
        found
    }
}

/// Splits whole frames from each other.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some(length) = frame_length(bytes, MAX_FRAME_SIZE).unwrap() {
        let (frame, rest) = bytes.split_at(length);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// A settled transfer of the peer on our channel and handle.
fn transfer(channel: u16, handle: u32, more: bool, payload: &[u8]) -> Vec<u8> {
    delivery(channel, handle, 0, true, more, payload)
}

fn delivery(channel: u16, handle: u32, id: u32, settled: bool, more: bool, payload: &[u8]) -> Vec<u8> {
    let transfer = Transfer {
        handle: (handle + 100).into(),
        delivery_id: Some(id),
        delivery_tag: Some(vec![0].into()),
        message_format: Some(0),
        settled: Some(settled),
        more,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    };
    frame(channel + 100, &transfer, payload)
}

fn detach(channel: u16, handle: u32) -> Vec<u8> {
    frame(channel, &Detach { handle: handle.into(), closed: true, error: None }, &[])
}

fn taken(link: &TappedLink) -> Vec<Bytes> {
    link.take(1_000)
}

#[test]
fn links_of_several_sessions_and_several_links_of_one_do_not_mix() {
    let mut wire = Wire::new();
    wire.begin(0);
    wire.begin(1);
    let links = [(0, 0), (0, 1), (1, 0), (1, 1)]
        .map(|(channel, handle)| wire.attach(&format!("{channel}{handle}"), channel, handle));
    assert_eq!(wire.flows(), [(0, 0, 10), (0, 1, 10), (1, 0, 10), (1, 1, 10)], "in our own numbers");
    let mut frames = Vec::new();
    let order = [(1, 1), (0, 0), (1, 0), (0, 1)];
    for n in 0..6 {
        let head = |(channel, handle)| transfer(channel, handle, true, format!("{n} of ").as_bytes());
        let tail =
            |(channel, handle)| transfer(channel, handle, false, format!("{channel}{handle}").as_bytes());
        frames.extend(order.map(head).concat());
        frames.extend(order.map(tail).concat());
    }
    assert_eq!(wire.peer(&frames), 0, "the library sees none of them");
    for (link, name) in links.iter().zip(["00", "01", "10", "11"]) {
        assert_eq!(taken(link), (0..6).map(|n| format!("{n} of {name}")).collect::<Vec<_>>());
    }
}

#[test]
fn credit_is_topped_up_for_the_link_whose_events_were_taken() {
    let mut wire = Wire::new();
    wire.begin(0);
    let [_idle, busy] = [0, 1].map(|handle| wire.attach(&handle.to_string(), 0, handle));
    wire.flows();
    wire.peer(&[0; 6].map(|_| transfer(0, 1, false, b"x")).concat());
    assert_eq!(taken(&busy).len(), 6);
    wire.unasked();
    assert_eq!(wire.flows(), [(0, 1, 10)]);
}

/// Together with the credit, not one by one; another link may have had the ids between.
#[test]
fn deliveries_that_wait_to_be_confirmed_are_confirmed_in_ranges() {
    let mut wire = Wire::new();
    wire.begin(0);
    let link = wire.attach("link", 0, 0);
    let unsettled = |id| delivery(0, 0, id, false, false, b"x");
    wire.peer(&[u32::MAX, 0, 1, 3].map(unsettled).concat());
    wire.peer(&[4, 9].map(unsettled).concat());
    assert_eq!(wire.confirmed(), []);
    assert_eq!(taken(&link).len(), 6);
    wire.unasked();
    assert_eq!(wire.confirmed(), [(u32::MAX, 1), (3, 4), (9, 9)]);
}

/// The library does not wake a sender for credit that comes between its look for some and its wait
/// (docs/amqp-crate.md §4 no. 15).
#[tokio::test(start_paused = true)]
async fn the_credit_of_a_sender_is_told_again_while_one_waits() {
    let mut wire = Wire::new();
    wire.begin(0);
    let flow = Flow {
        next_incoming_id: Some(0),
        incoming_window: 100,
        next_outgoing_id: 0,
        outgoing_window: 100,
        handle: Some(107.into()),
        delivery_count: Some(0),
        link_credit: Some(5),
        available: None,
        drain: false,
        echo: false,
        properties: None,
    };
    let flow = frame(100, &flow, &[]);
    assert_eq!(wire.peer(&flow), 1, "the library sees it");
    let taps = wire.taps.clone();
    let told = async |wire: &mut Wire| {
        assert!(timeout(Duration::from_secs(1), taps.wake_senders()).await.is_err());
        let told = wire.unasked();
        assert_eq!(wire.unasked(), "", "once for each wake");
        told
    };
    assert_eq!(told(&mut wire).await, flow);
    // Next incoming id, window, next outgoing id, window, and a null for the handle.
    let of_session = [0, 0, 0, 19, 2, 0, 0, 100, 0x00, 0x53, 0x13, 0xc0, 6, 5, 0x43, 0x43, 0x43, 0x43, 0x40];
    assert_eq!(wire.peer(&of_session), 1);
    assert_eq!(
        told(&mut wire).await,
        flow,
        "a flow of the session grants nothing, so it does not replace it"
    );
    wire.end(0);
    assert_eq!(told(&mut wire).await, "");
}

/// Our detach and the transfers of the peer cross on the way.
#[test]
fn frames_between_both_detaches_are_dropped_and_the_handle_is_free_again() {
    let mut wire = Wire::new();
    wire.begin(0);
    let [neighbour, link] = [0, 1].map(|handle| wire.attach(&handle.to_string(), 0, handle));
    wire.peer(&transfer(0, 1, true, b"half of an event that never ends"));
    wire.we(&detach(0, 1));
    let crossing = [transfer(0, 1, false, b"too late"), transfer(0, 0, false, b"of the neighbour")].concat();
    assert_eq!(wire.peer(&crossing), 0, "the library, which has forgotten the link, must not see it");
    wire.peer(&detach(100, 101));
    assert_eq!((taken(&link).len(), taken(&neighbour).len()), (0, 1));
    let again = wire.attach("again", 0, 1);
    wire.peer(&transfer(0, 1, false, b"new"));
    assert_eq!(taken(&again), ["new"]);
    assert_eq!(taken(&link).len(), 0);
}

/// The library uses the numbers of what has ended again.
#[test]
fn a_link_on_a_channel_that_was_used_before_starts_over() {
    let mut wire = Wire::new();
    for round in 0..3 {
        wire.begin(0);
        let link = wire.attach("same name", 0, 0);
        assert_eq!(wire.flows(), [(0, 0, 10)], "round {round}");
        wire.peer(&transfer(0, 0, true, b"unfinished"));
        wire.peer(&transfer(0, 0, false, b" no more"));
        assert_eq!(taken(&link), ["unfinished no more"]);
        wire.peer(&transfer(0, 0, true, b"unfinished forever"));
        wire.end(0);
    }
}

#[test]
fn transfers_of_links_that_nobody_taps_are_passed_on() {
    let mut wire = Wire::new();
    wire.begin(0);
    let link = wire.attach("tapped", 0, 0);
    let data = &[0x00, 0x53, 0x75, 0xa0, 0x01, b'x'];
    assert_eq!(wire.peer(&[transfer(0, 7, false, data), transfer(3, 0, false, data)].concat()), 2);
    assert_eq!(taken(&link).len(), 0);
}

#[test]
fn a_message_that_never_ends_is_cut_where_no_tier_of_the_service_goes() {
    let mut wire = Wire::new();
    wire.begin(0);
    let link = wire.attach("link", 0, 0);
    let piece = transfer(0, 0, true, &vec![7; 60_000]);
    for _ in 0..MAX_KEPT_MESSAGE / 60_000 + 10 {
        wire.peer(&piece);
    }
    wire.peer(&transfer(0, 0, false, b"the end"));
    wire.peer(&transfer(0, 0, false, b"the next"));
    let messages = taken(&link);
    assert_eq!(messages[0].len(), MAX_KEPT_MESSAGE);
    assert_eq!(messages[1], "the next");
}

#[test]
fn an_event_that_waits_keeps_no_chunk_alive_but_one_that_fills_it() {
    let mut wire = Wire::new();
    wire.begin(0);
    let [few, large, small] = [0, 1, 2].map(|handle| wire.attach(&handle.to_string(), 0, handle));
    let frames = [
        transfer(0, 0, false, &vec![0; 2_000]),
        transfer(0, 0, false, &vec![0; 3_000]),
        transfer(0, 1, false, &vec![1; 50_000]),
        [0; 10].map(|_| transfer(0, 2, false, &[2; 1_000])).concat(),
    ];
    let block = Bytes::from(frames.concat());
    wire.peer_block(&block);
    let whole = taken(&large);
    assert!(block.as_ptr_range().contains(&whole[0].as_ptr()), "it was not copied");
    drop(whole);
    assert!(block.is_unique(), "somebody else holds it");
    assert_eq!(taken(&few), [vec![0; 2_000], vec![0; 3_000]]);
    assert_eq!(taken(&small), vec![vec![2; 1_000]; 10]);
}
