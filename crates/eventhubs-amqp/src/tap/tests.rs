//! The tap against its oracle, and by itself where the oracle must give up.

mod links;
mod tls;
mod values;

use std::sync::Arc;
use std::time::Duration;

use eventhubs_types::{ConsumerGroup, EventBody, EventHubName, PartitionId, StartingPosition};
use fe2o3_amqp_types::definitions::{self, LinkError};
use fe2o3_amqp_types::performatives::Detach;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_amqp::Value;
use serde_amqp::primitives::Symbol;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::connection::engine::Engine;
use crate::event::received::decode;
use crate::link::attach::LinkOptions;
use crate::link::source::DeliverySource;
use crate::tap::Prefetch;
use crate::testing::oracle::{self, assert_same};
use crate::testing::plain_source::{DataPath, attach};
use crate::testing::raw_peer::{CHANNEL, HANDLE, Said, Script, frame, start, transfer};
use crate::transport::stream::Io;
use crate::{ErrorKind, ReceivedEvent};
use values::{scalar, section, value};

const LIMIT: Duration = Duration::from_secs(60);

fn options(prefetch: u32) -> LinkOptions {
    LinkOptions {
        event_hub: EventHubName::new("orders").unwrap(),
        group: ConsumerGroup::default(),
        partition: PartitionId::new("0").unwrap(),
        owner_level: None,
        prefetch: Prefetch { events: prefetch, bytes: 1 << 40 },
        track_last_enqueued: false,
        identifier: "reader".to_owned(),
    }
}

struct Run {
    source: Box<dyn DeliverySource>,
    said: mpsc::Receiver<Said>,
    engine: Arc<Engine>,
}

async fn run(data_path: DataPath, prefetch: u32, script: Script) -> Run {
    let (stream, said) = start(script);
    run_over(Box::new(stream), said, data_path, prefetch).await
}

async fn run_over(
    stream: Box<dyn Io>,
    said: mpsc::Receiver<Said>,
    data_path: DataPath,
    prefetch: u32,
) -> Run {
    let engine = Engine::over(stream, "peer", "client", LIMIT).await.unwrap();
    let engine = Arc::new(engine);
    let options = options(prefetch);
    let source = attach(&engine, &options, &StartingPosition::Earliest, data_path).await.unwrap();
    Run { source, said, engine }
}

impl Run {
    async fn events(&mut self, count: usize) -> Vec<ReceivedEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            let more = timeout(LIMIT, self.source.receive(count - events.len())).await;
            events.extend(more.expect("events in time").unwrap());
        }
        events
    }

    /// What the link says of its credit: next incoming id, delivery count and credit, from the last flow.
    fn last_flow(&mut self) -> (u32, u32, u32) {
        let mut last = None;
        while let Ok((code, numbers)) = self.said.try_recv() {
            if code == 0x13 && numbers[4].is_some() {
                last = Some((numbers[0].unwrap(), numbers[5].unwrap(), numbers[6].unwrap()));
            }
        }
        last.unwrap()
    }
}

async fn read(data_path: DataPath, script: Script, count: usize) -> Vec<ReceivedEvent> {
    run(data_path, 1_000, script).await.events(count).await
}

type Pairs = Vec<(Value, Value)>;

fn map(pairs: Pairs) -> Value {
    Value::Map(pairs.into_iter().collect())
}

fn symbol(name: &str) -> Value {
    Value::Symbol(Symbol::from(name))
}

fn annotations() -> impl Strategy<Value = Pairs> {
    let name = "[a-z-]{1,9}".prop_map(|name| symbol(&name));
    let key = prop_oneof![name, any::<u64>().prop_map(Value::Ulong)];
    prop::collection::vec((key, value()), 0..4)
}

/// Sequence number, offset, time and key, of all types that are understood, among others.
fn message_annotations() -> impl Strategy<Value = Value> {
    let number = prop_oneof![any::<i64>().prop_map(Value::Long), any::<u32>().prop_map(Value::Uint)];
    let offset = prop_oneof![
        "[0-9:]{1,9}".prop_map(Value::String),
        any::<i64>().prop_map(Value::Long),
        "[0-9]{1,4}".prop_map(|text| symbol(&text))
    ];
    let optional = || prop::option::of(scalar());
    (annotations(), number, offset, optional(), optional()).prop_map(
        |(mut all, number, offset, time, key)| {
            all.push((symbol("x-opt-sequence-number"), number));
            all.insert(0, (symbol("x-opt-offset"), offset));
            all.extend(time.map(|time| (symbol("x-opt-enqueued-time"), time)));
            all.extend(key.map(|key| (symbol("x-opt-partition-key"), key)));
            map(all)
        },
    )
}

fn head() -> impl Strategy<Value = Value> {
    (annotations(), any::<i64>(), "[0-9]{1,5}", scalar()).prop_map(|(mut all, number, offset, time)| {
        all.push((symbol("last_enqueued_sequence_number"), Value::Long(number)));
        all.push((symbol("last_enqueued_offset"), Value::String(offset)));
        all.push((symbol("last_enqueued_time_utc"), time.clone()));
        all.push((symbol("runtime_info_retrieval_time_utc"), time));
        map(all)
    })
}

fn properties() -> impl Strategy<Value = Value> {
    let text = || ".{0,9}".prop_map(Value::String).boxed();
    let name = || "[a-z/]{1,9}".prop_map(|name| symbol(&name)).boxed();
    let time = || any::<i64>().prop_map(|n| Value::Timestamp(n.into())).boxed();
    let bytes = || any::<[u8; 3]>().prop_map(|n| Value::Binary(n.to_vec().into())).boxed();
    let number = any::<u32>().prop_map(Value::Uint).boxed();
    let uuid = || any::<[u8; 16]>().prop_map(|n| Value::Uuid(n.into())).boxed();
    let ulong = || any::<u64>().prop_map(Value::Ulong).boxed();
    let id = || prop_oneof![text(), ulong(), uuid(), bytes()].boxed();
    let fields =
        [id(), bytes(), text(), text(), text(), id(), name(), name(), time(), time(), text(), number, text()];
    let or_null = |field| prop_oneof![Just(Value::Null), field].boxed();
    let fields: Vec<_> = fields.into_iter().map(or_null).collect();
    (fields, 0..=13_usize).prop_map(|(mut fields, count)| {
        fields.truncate(count);
        Value::List(fields)
    })
}

fn application_properties() -> impl Strategy<Value = Value> {
    prop::collection::vec((".{0,9}".prop_map(Value::String), scalar()), 0..5).prop_map(map)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let bytes =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..400)];
    let data = bytes.prop_map(|bytes| section(0x75, &Value::Binary(bytes.into())));
    let list = prop::collection::vec(value(), 0..4).prop_map(|list| section(0x76, &Value::List(list)));
    prop_oneof![
        4 => prop::collection::vec(data, 1..4).prop_map(|all| all.concat()),
        1 => prop::collection::vec(list, 1..4).prop_map(|all| all.concat()),
        1 => value().prop_map(|value| section(0x77, &value)),
    ]
}

/// A message with any of its sections.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let optional = (
        prop::option::of(head()),
        prop::option::of(properties()),
        prop::option::of(application_properties()),
        prop::option::of(annotations().prop_map(map)),
        prop::option::of(Just(Value::List(vec![Value::Bool(true)]))),
    );
    (message_annotations(), body(), optional).prop_map(
        |(annotations, body, (head, properties, application_properties, footer, header))| {
            let section =
                |code, value: Option<Value>| value.map(|value| section(code, &value)).unwrap_or_default();
            [
                section(0x70, header),
                section(0x71, head),
                section(0x72, Some(annotations)),
                section(0x73, properties),
                section(0x74, application_properties),
                body,
                section(0x78, footer),
            ]
            .concat()
        },
    )
}

proptest! {
    #[test]
    fn a_message_is_the_same_event_to_both(bytes in message()) {
        let theirs = oracle::read(&bytes).expect("the library decodes what it encoded");
        assert_same(&decode(bytes.into()).unwrap(), &theirs);
    }

    #[test]
    fn a_damaged_message_is_the_same_event_to_both_or_undecodable(
        bytes in message(), at in any::<prop::sample::Index>(), byte: u8, end in any::<prop::sample::Index>(), cut: bool,
    ) {
        let mut bytes = bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        oracle::agree(&bytes);
    }
}

/// Deliveries of one and of several frames, some aborted half-way, settled or not; and how many are left.
fn stream(seed: u8, deliveries: u32, first_id: u32) -> (Vec<u8>, usize) {
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig::default(),
        proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &[seed; 32]),
    );
    let mut draw = |most: usize| (0..=most).new_tree(&mut runner).unwrap().current();
    let mut source = TestRunner::new_with_rng(
        ProptestConfig::default(),
        proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &[!seed; 32]),
    );
    let (mut bytes, mut left) = (Vec::new(), 0);
    for n in 0..deliveries {
        let message = message().new_tree(&mut source).unwrap().current();
        let id = Some(first_id.wrapping_add(n));
        let settled = draw(3) > 0;
        let aborted = draw(5) == 0;
        let mut cuts: Vec<usize> = (0..draw(3)).map(|_| draw(message.len())).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for (index, cut) in cuts.iter().enumerate() {
            let id = id.filter(|_| index == 0);
            bytes.extend(transfer(id, settled, true, false, &message[from..*cut]));
            from = *cut;
        }
        let id = id.filter(|_| cuts.is_empty());
        if aborted && !cuts.is_empty() {
            bytes.extend(transfer(id, settled, false, true, &[]));
        } else {
            bytes.extend(transfer(id, settled, false, false, &message[from..]));
            left += 1;
        }
    }
    (bytes, left)
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_deliveries_is_the_same_events_to_both() {
    for seed in 0..20 {
        let (bytes, count) = stream(seed, 40, 0);
        let script =
            Script { pieces: bytes.chunks(1_500).map(<[u8]>::to_vec).collect(), ..Script::default() };
        let plain = read(DataPath::Plain, script.clone(), count).await;
        let tapped = read(DataPath::Tap, script, count).await;
        for (ours, theirs) in tapped.iter().zip(&plain) {
            assert_same(ours, theirs);
        }
    }
}

/// The shortest stream of two deliveries of which one comes in several frames.
fn short_stream() -> (Vec<u8>, usize) {
    let streams = (0..40).map(|seed| stream(seed, 2, 0)).filter(|(_, count)| *count == 2);
    let frames = |bytes: &[u8]| bytes.windows(3).filter(|code| *code == [0x00, 0x53, 0x14]).count();
    let torn = streams.filter(|(bytes, _)| frames(bytes) > 3);
    torn.min_by_key(|(bytes, _)| bytes.len()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn where_a_stream_is_cut_makes_no_difference() {
    let (bytes, count) = short_stream();
    let whole = Script { pieces: vec![bytes.clone()], ..Script::default() };
    let plain = read(DataPath::Plain, whole, count).await;
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let script = Script { pieces: vec![head.to_vec(), tail.to_vec()], ..Script::default() };
        assert!(read(DataPath::Tap, script, count).await == plain, "cut at {cut}");
    }
}

fn simple(number: i64, body: &[u8]) -> Vec<u8> {
    let annotations = vec![
        (symbol("x-opt-sequence-number"), Value::Long(number)),
        (symbol("x-opt-offset"), Value::String(number.to_string())),
    ];
    let data = Value::Binary(body.to_vec().into());
    [section(0x72, &map(annotations)), section(0x75, &data)].concat()
}

/// `count` settled deliveries with ids from `first` on.
fn plain_stream(count: u32, first: u32) -> Vec<u8> {
    let deliveries = (0..count)
        .map(|n| transfer(Some(first.wrapping_add(n)), true, false, false, &simple(n.into(), b"x")));
    deliveries.collect::<Vec<_>>().concat()
}

/// AMQP 1.0 part 2, §2.5.6 and §2.6.7: both numbers wrap, and both start where the peer says.
#[tokio::test(start_paused = true)]
async fn ids_and_delivery_counts_start_where_the_peer_says_and_wrap() {
    let script = Script {
        next_outgoing_id: u32::MAX - 3,
        initial_delivery_count: u32::MAX - 5,
        pieces: vec![plain_stream(20, u32::MAX - 1)],
    };
    let mut run = run(DataPath::Tap, 20, script).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(run.last_flow(), (u32::MAX - 3, u32::MAX - 5, 20));
    run.events(20).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(run.last_flow(), (16, 14, 20));
}

/// AMQP 1.0 part 2, §2.5.6: a session whose window is used up is stuck, however much credit its links have.
#[tokio::test(start_paused = true)]
async fn the_session_window_is_opened_again_while_one_long_delivery_comes() {
    let message = simple(7, &[b'y'; 9_000]);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for (index, byte) in message.iter().enumerate() {
        let id = (index == 0).then_some(0);
        pieces.push(transfer(id, true, true, false, &[*byte]));
    }
    pieces.push(transfer(None, true, false, false, &[]));
    let bytes = pieces.concat();
    let script = Script { pieces: bytes.chunks(50_000).map(<[u8]>::to_vec).collect(), ..Script::default() };
    let mut run = run(DataPath::Tap, 10, script).await;
    assert_eq!(run.events(1).await[0].body_bytes().unwrap().len(), 9_000);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut windows = Vec::new();
    while let Ok((code, numbers)) = run.said.try_recv() {
        if code == 0x13 && numbers[4].is_none() {
            windows.push((numbers[0].unwrap(), numbers[1].unwrap()));
        }
    }
    let mut reached = 0;
    for (next, window) in windows {
        assert!(next - reached <= window, "{next} transfers had come after {reached}");
        reached = next;
    }
    assert!(reached > 4_000);
}

#[tokio::test(start_paused = true)]
async fn more_than_was_allowed_ends_the_link_after_what_was_allowed() {
    let script = Script { pieces: vec![plain_stream(12, 0)], ..Script::default() };
    let mut run = run(DataPath::Tap, 10, script).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(run.events(10).await.len(), 10);
    let error = run.source.receive(1).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

fn stolen() -> Vec<u8> {
    let error = definitions::Error::new(LinkError::Stolen, Some("by reader-2".to_owned()), None);
    let detach = Detach { handle: HANDLE.into(), closed: true, error: Some(error) };
    frame(CHANNEL, &detach, &[])
}

/// docs/contract.md §5.3, §5.4.
#[tokio::test(start_paused = true)]
async fn a_theft_drops_what_is_buffered_at_once() {
    for data_path in [DataPath::Tap, DataPath::Plain] {
        let script =
            Script { pieces: vec![plain_stream(8, 0), stolen(), plain_stream(1, 8)], ..Script::default() };
        let mut run = run(data_path, 10, script).await;
        assert_eq!(run.events(1).await.len(), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(run.source.is_stolen());
        for _ in 0..2 {
            let error =
                futures::FutureExt::now_or_never(run.source.receive(10)).expect("at once").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OwnershipLost);
            assert_eq!(error.description(), Some("by reader-2"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_a_link_is_closed_does_no_harm() {
    let script = Script { pieces: (0..8).map(|n| plain_stream(1, n)).collect(), ..Script::default() };
    let Run { source, engine, .. } = run(DataPath::Tap, 10, script).await;
    source.close().await.unwrap();
    assert!(engine.is_live());
}

/// A poison body, between two good events.
#[tokio::test(start_paused = true)]
async fn poison_is_delivered_in_its_place_and_the_next_event_comes() {
    let good = |n| simple(n, b"good");
    let position = simple(1, b"");
    let position = &position[..position.len() - 5]; // without the data section
    let deep = [0xd0, 0, 1, 0, 0, 0, 0, 0, 1].repeat(20_000);
    let wide = [&[0x00, 0x53, 0x77, 0xf0, 0, 0, 0, 5, 0, 1, 0, 1, 0x41][..]].concat();
    let long = [&[0x00, 0x53, 0x75, 0xb0, 0xff, 0xff, 0xff, 0xff][..], b"short"].concat();
    for poison in [&deep[..], &wide, &long, &[0x00], &[0x00; 10_000], b"text"] {
        let poison = [position, poison].concat();
        let half = poison.len() / 2;
        let pieces = [
            transfer(Some(0), true, false, false, &good(0)),
            transfer(Some(1), true, true, false, &poison[..half.min(60_000)]),
            poison[half.min(60_000)..]
                .chunks(60_000)
                .map(|piece| transfer(None, true, true, false, piece))
                .collect::<Vec<_>>()
                .concat(),
            transfer(None, true, false, false, &[]),
            transfer(Some(2), true, false, false, &good(2)),
        ];
        let script = Script { pieces: vec![pieces.concat()], ..Script::default() };
        let events = read(DataPath::Tap, script, 3).await;
        let numbers: Vec<i64> = events.iter().map(|event| event.sequence_number().value()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(events[1].offset().as_str(), "1");
        assert_eq!(events[1].body(), &EventBody::Undecodable(poison.into()));
        assert_eq!(events[2].body_as_str().unwrap(), "good");
    }
}
