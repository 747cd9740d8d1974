//! Dead letters of real events, in another event hub.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use eventhubs::dead_letters::{self, DeadLetter, DeadLetterSink as _};
use eventhubs::{
    ErrorKind, EventBody, EventData, HubDeadLetters, PartitionContext, ProducerClient, ReceivedEvent,
    RetryPolicy, Value,
};
use eventhubs_amqp::{EventHubClient, RawMessage};
use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_dead_letters::testkit::{Messages, Place, dead_letter_sink_tests};
use eventhubs_emulator::{Builder, Emulator};
use eventhubs_test_harness::{PATIENCE, run_python};
use eventhubs_types::{ConsumerGroup, StartingPosition};
use tokio::sync::OnceCell;

use crate::support::{HUB, scope, within};

const FAILED: &str = "failed";
const PARTITIONS: usize = 2;

fn builder() -> Builder {
    Emulator::builder().event_hub(HUB, PARTITIONS).event_hub(FAILED, PARTITIONS)
}

/// The emulator of a place, which outlives the sinks.
async fn service(place: &Place) -> Arc<OnceCell<Emulator>> {
    let cell = place.shared(OnceCell::<Emulator>::new);
    cell.get_or_init(async || builder().start().await.unwrap()).await;
    cell
}

async fn open(place: Place) -> HubDeadLetters {
    sink(service(&place).await.get().unwrap())
}

async fn read(place: Place) -> Vec<DeadLetter> {
    let service = service(&place).await;
    let events = received(service.get().unwrap(), FAILED).await;
    events.iter().map(|event| HubDeadLetters::letter(event).unwrap()).collect()
}

dead_letter_sink_tests!(open, read, Messages::Changed);

fn sink(emulator: &Emulator) -> HubDeadLetters {
    let producer = ProducerClient::builder(emulator.connection_string(FAILED));
    let producer = producer.retry(RetryPolicy::fixed(Duration::from_millis(20))).build().unwrap();
    HubDeadLetters::new(producer).unwrap()
}

/// All events of an event hub.
async fn received(emulator: &Emulator, hub: &str) -> Vec<ReceivedEvent> {
    let client = EventHubClient::builder(emulator.connection_string(hub).parse().unwrap()).build().unwrap();
    let mut events = Vec::new();
    for id in (0..PARTITIONS).map(|id| id.to_string()) {
        let count = emulator.partition(hub, &id).unwrap().event_count;
        let receiver = client.partition_receiver(ConsumerGroup::default(), id.parse().unwrap());
        let mut receiver = receiver.starting_position(StartingPosition::Earliest).open().await.unwrap();
        let end = events.len() + count;
        while events.len() < end {
            events.extend(within(receiver.receive_batch(end - events.len(), None)).await.unwrap());
        }
    }
    events
}

/// The letter of an event, as a callback makes it.
fn letter(event: &ReceivedEvent) -> DeadLetter {
    let partition = event.partition_id().unwrap().clone();
    let context = PartitionContext::for_tests(MemoryCheckpointStore::new(), scope(), partition);
    dead_letters::letter(&context, event, &"instance-1".parse().unwrap())
        .because("Refused", "the handler refused it")
        .after(3, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
}

/// The letters of these events, once they were received.
async fn letters_of(emulator: &Emulator, events: Vec<EventData>) -> Vec<DeadLetter> {
    emulator.publish_to(HUB, "0", events).unwrap();
    received(emulator, HUB).await.iter().map(letter).collect()
}

fn odd_events() -> Vec<EventData> {
    let deep = (0..40).fold(Value::String("poison".into()), |value, _| Value::List(vec![value]));
    let bodies = [
        EventBody::Data(vec!["two ".into(), "sections".into()]),
        EventBody::Value(Value::Map(vec![("a".into(), Value::I32(1))])),
        EventBody::Sequence(vec![vec![Value::I64(1)], vec![Value::Null]]),
        EventBody::Value(deep),
    ];
    let event = |body| EventData::with_body(body).property("colour", "red").message_id("id");
    bodies.map(event).to_vec()
}

#[tokio::test]
async fn a_letter_has_the_words_of_service_bus_and_where_the_event_came_from() {
    let emulator = builder().start().await.unwrap();
    let event = EventData::new("tea").property("colour", "red").partition_key("kitchen");
    let letter = letters_of(&emulator, vec![event]).await.remove(0);
    sink(&emulator).put(&letter).await.unwrap();
    let event = received(&emulator, FAILED).await.remove(0);
    let expected = [
        ("DeadLetterErrorDescription", "the handler refused it".into()),
        ("DeadLetterReason", "Refused".into()),
        ("colour", "red".into()),
        ("x-attempts", Value::I64(3)),
        ("x-first-failed", Value::Timestamp(letter.first_failed())),
        ("x-original-consumer-group", "$Default".into()),
        ("x-original-enqueued-time", Value::Timestamp(letter.enqueued_time().unwrap())),
        ("x-original-event-hub", HUB.into()),
        ("x-original-namespace", "127.0.0.1".into()),
        ("x-original-offset", letter.offset().as_str().into()),
        ("x-original-partition", "0".into()),
        ("x-original-sequence-number", Value::I64(0)),
        ("x-owner", "instance-1".into()),
    ];
    let properties: Vec<_> =
        event.properties().iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(properties, expected);
    assert_eq!((event.body_as_str().unwrap().as_ref(), event.partition_key()), ("tea", Some("kitchen")));
}

#[tokio::test]
async fn real_events_with_odd_bodies_come_back_as_they_were() {
    let emulator = builder().start().await.unwrap();
    let letters = letters_of(&emulator, odd_events()).await;
    for letter in &letters {
        sink(&emulator).put(letter).await.unwrap();
    }
    let mut kept: Vec<_> =
        received(&emulator, FAILED).await.iter().filter_map(HubDeadLetters::letter).collect();
    kept.sort_by_key(DeadLetter::sequence_number);
    for (kept, letter) in kept.iter().zip(&letters).take(3) {
        assert_eq!(kept.clone().with_message(None), letter.clone().with_message(None));
    }
    let (kept, poison) = (&kept[3], &letters[3]);
    assert_eq!(
        (kept.undecodable_parts(), poison.undecodable_parts()),
        (&["body".to_owned()][..], kept.undecodable_parts())
    );
    assert_eq!(kept.event().properties, poison.event().properties);
    // The body section, which nobody can decode, byte for byte.
    let raw = poison.message().unwrap();
    let body = raw.windows(3).position(|bytes| bytes == [0x00, 0x53, 0x77]).unwrap();
    assert!(kept.message().unwrap().ends_with(&raw[body..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_reads_letters_with_bodies_of_each_kind() {
    let emulator = builder().start().await.unwrap();
    let events = odd_events().into_iter().take(3).collect();
    for letter in letters_of(&emulator, events).await {
        sink(&emulator).put(&letter).await.unwrap();
    }
    let arguments = [&*emulator.connection_string(FAILED), "3"];
    let printed = run_python("dead_letters.py", &arguments, PATIENCE).await;
    let lines: Vec<&str> = printed.lines().collect();
    for (line, body) in lines.iter().zip([
        r#"{"body": ["two ", "sections"], "kind": "DATA""#,
        r#"{"body": {"a": 1}, "kind": "VALUE""#,
        r#"{"body": [[1], [null]], "kind": "SEQUENCE""#,
    ]) {
        assert!(line.starts_with(body), "{line}");
        for property in [
            r#""DeadLetterReason": "Refused""#,
            r#""DeadLetterErrorDescription": "the handler refused it""#,
            r#""colour": "red""#,
            r#""x-attempts": 3"#,
            r#""x-original-partition": "0""#,
        ] {
            assert!(line.contains(property), "{property}: {line}");
        }
    }
    assert_eq!(lines.len(), 3);
}

/// What `eventhubs dead-letters replay` does.
#[tokio::test]
async fn a_letter_that_is_sent_to_its_event_hub_again_is_the_event_that_it_was() {
    let emulator = builder().start().await.unwrap();
    let letters = letters_of(&emulator, odd_events()).await;
    let client = EventHubClient::builder(emulator.connection_string(HUB).parse().unwrap()).build().unwrap();
    let producer = client.partition_producer("1".parse().unwrap());
    for letter in &letters {
        let message = RawMessage::from(letter.message().unwrap().clone());
        producer.send_raw(&message, &[std::collections::BTreeMap::new()]).await.unwrap();
    }
    let events = received(&emulator, HUB).await;
    let (first, again) = events.split_at(letters.len());
    for (first, again) in first.iter().zip(again) {
        assert_eq!(again.properties(), first.properties());
        assert_eq!(again.message_id(), Some("id"));
        assert!(again.body() == first.body() || !again.undecodable_parts().is_empty());
    }
}

#[tokio::test]
async fn a_letter_that_fails_again_says_where_it_failed_last() {
    let emulator = builder().start().await.unwrap();
    let first = letters_of(&emulator, vec![EventData::new("tea")]).await.remove(0);
    sink(&emulator).put(&first).await.unwrap();
    let event = received(&emulator, FAILED).await.remove(0);
    sink(&emulator).put(&letter(&event).because("Again", "")).await.unwrap();
    let events = received(&emulator, FAILED).await;
    let letters: Vec<_> = events.iter().filter_map(HubDeadLetters::letter).collect();
    let reasons: Vec<_> = letters.iter().map(DeadLetter::reason).collect();
    assert!(reasons.contains(&"Refused") && reasons.contains(&"Again"), "{reasons:?}");
    assert!(letters.iter().all(|letter| letter.event() == first.event()), "{letters:?}");
}

#[tokio::test]
async fn an_event_that_grew_past_the_limit_goes_with_what_there_is_room_for() {
    let emulator = builder().max_message_size(4_000).start().await.unwrap();
    let sent = |size: usize| EventData::new(vec![b'x'; size]);
    let events = vec![sent(1_000), sent(3_000), sent(3_700), sent(3_970)];
    let letters = letters_of(&emulator, events).await;
    let sink = sink(&emulator);
    for letter in &letters[..3] {
        sink.put(&letter.clone().because(&"r".repeat(100), &"d".repeat(1_000))).await.unwrap();
    }
    let mut events = received(&emulator, FAILED).await;
    events.sort_by_key(|event| event.body_bytes().unwrap().len());
    let lengths = |event: &ReceivedEvent| {
        let length = |name| event.properties().get(name).and_then(Value::as_str).map(str::len);
        (
            length("DeadLetterReason"),
            length("DeadLetterErrorDescription"),
            length("x-original-offset").is_some(),
        )
    };
    let found: Vec<_> = events.iter().map(lengths).collect();
    assert_eq!(found, [(Some(100), Some(1_000), true), (Some(100), None, true), (Some(64), None, false)]);
    assert_eq!(events[2].properties()["x-original-sequence-number"], Value::I64(2));
    assert!(HubDeadLetters::letter(&events[1]).is_some() && HubDeadLetters::letter(&events[2]).is_none());

    let error = sink.put(&letters[3]).await.unwrap_err().downcast::<eventhubs::Error>().unwrap();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::InvalidArgument, false));
    assert!(error.to_string().contains("the limit is 4000"), "{error}");
}

#[tokio::test]
async fn a_hub_that_cannot_be_reached_is_an_error_that_may_pass() {
    let emulator = builder().start().await.unwrap();
    let letter = letters_of(&emulator, vec![EventData::new("tea")]).await.remove(0);
    let sink = sink(&emulator);
    emulator.refuse_sends(FAILED, 4, "com.microsoft:server-busy", "slow down").unwrap();
    let error = sink.put(&letter).await.unwrap_err().downcast::<eventhubs::Error>().unwrap();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Busy, true), "{error}");
    sink.put(&letter).await.unwrap();
}

#[test]
fn a_producer_for_one_partition_is_refused() {
    let connection_string =
        "Endpoint=sb://n.example.net/;SharedAccessKeyName=k;SharedAccessKey=aw==;EntityPath=failed";
    let producer = ProducerClient::builder(connection_string).partition_id("0".parse().unwrap());
    let error = HubDeadLetters::new(producer.build().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
