use std::time::{Duration, UNIX_EPOCH};

use eventhubs_amqp::{ErrorKind, ReceivedEvent};
use eventhubs_types::{EventBody, EventData, StartingPosition, Value};

use crate::support::{client, emulator, numbers, open, receive};

/// Contract §6.3.
#[tokio::test]
async fn bodies_of_all_kinds_arrive_as_they_were_sent() {
    let emulator = emulator().await;
    let map = Value::Map(vec![
        ("a".into(), Value::List(vec![Value::I32(1), Value::Null])),
        (Value::U64(2), true.into()),
    ]);
    let bodies = [
        EventBody::Data(vec!["one section".into()]),
        EventBody::Data(vec!["two ".into(), "sections".into()]),
        EventBody::Data(vec!["".into()]),
        EventBody::Data(vec![vec![0x5a; 1_000_000].into()]),
        EventBody::Value("a string".into()),
        EventBody::Value(map),
        EventBody::Sequence(vec![vec![Value::I64(1), "x".into()], vec![Value::Uuid([7; 16])]]),
    ];
    emulator.publish_to("orders", "0", bodies.clone().map(EventData::with_body)).unwrap();
    let events = receive(&mut open(&client(&emulator), StartingPosition::Earliest).await, bodies.len()).await;
    for (event, body) in events.iter().zip(&bodies) {
        assert_eq!(event.body(), body);
    }
    assert_eq!(events[1].body_as_str().unwrap(), "two sections");
    assert_eq!(events[1].body_bytes().unwrap(), "two sections");
    assert_eq!(events[4].body_as_str().unwrap(), "a string");
    assert!(events[5].body_as_str().is_err());
    assert!(events[3].body_bytes().unwrap().iter().all(|byte| *byte == 0x5a));
}

#[tokio::test]
async fn properties_of_all_types_arrive_as_they_were_sent() {
    let emulator = emulator().await;
    let values = [
        ("null", Value::Null),
        ("bool", Value::Bool(true)),
        ("u8", Value::U8(u8::MAX)),
        ("u16", Value::U16(u16::MAX)),
        ("u32", Value::U32(u32::MAX)),
        ("u64", Value::U64(u64::MAX)),
        ("i8", Value::I8(i8::MIN)),
        ("i16", Value::I16(i16::MIN)),
        ("i32", Value::I32(i32::MIN)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(-2.5)),
        ("decimal32", Value::Decimal32([1, 2, 3, 4])),
        ("decimal64", Value::Decimal64([5; 8])),
        ("decimal128", Value::Decimal128([6; 16])),
        ("char", Value::Char('ß')),
        ("time", Value::Timestamp(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))),
        ("uuid", Value::Uuid([9; 16])),
        ("binary", Value::Binary(vec![0, 255].into())),
        ("string", Value::String("grüße".into())),
        ("symbol", Value::Symbol("sym".into())),
    ];
    let mut sent = EventData::new("x")
        .message_id("m1")
        .correlation_id("c1")
        .content_type("text/plain")
        .partition_key("pk");
    for (name, value) in values {
        sent = sent.property(name, value);
    }
    emulator.publish_to("orders", "0", [sent.clone()]).unwrap();
    let event = receive(&mut open(&client(&emulator), StartingPosition::Earliest).await, 1).await.remove(0);
    assert_eq!(event.properties(), &sent.properties);
    assert_eq!((event.message_id(), event.correlation_id()), (Some("m1"), Some("c1")));
    assert_eq!((event.content_type(), event.partition_key()), (Some("text/plain"), Some("pk")));
    assert_eq!(event.system_properties()["message-id"], Value::String("m1".into()));
    assert_eq!(event.system_properties()["content-type"], Value::Symbol("text/plain".into()));
    assert!(event.enqueued_time().unwrap() > UNIX_EPOCH);
    assert!(!event.offset().as_str().is_empty());
}

/// In a debug build a thousand levels abort the process.
#[tokio::test]
async fn an_undecodable_event_is_delivered_in_its_place_with_its_raw_bytes() {
    let emulator = emulator().await;
    let deep = (0..40).fold(Value::String("poison".into()), |value, _| Value::List(vec![value]));
    let bodies = [
        EventBody::Data(vec!["before".into()]),
        EventBody::Value(deep),
        EventBody::Data(vec!["behind".into()]),
    ];
    let sent = bodies.map(|body| EventData::with_body(body).property("a", 1));
    emulator.publish_to("orders", "0", sent).unwrap();
    let mut receiver = open(&client(&emulator), StartingPosition::Earliest).await;
    let events = receive(&mut receiver, 3).await;
    assert_eq!(numbers(&events), [0, 1, 2]);
    let EventBody::Undecodable(raw) = events[1].body() else { panic!("{:?}", events[1].body()) };
    assert!(raw.windows(6).any(|bytes| bytes == b"poison"));
    assert_eq!(events[1].undecodable_parts(), ["body"]);
    assert_eq!(events[1].properties()["a"], Value::I32(1), "its properties can be decoded");
    assert!(events[1].enqueued_time().is_some());
    assert_eq!(events[1].body_bytes(), None);
    assert_eq!(events[2].body_as_str().unwrap(), "behind");
    assert_eq!(events[2].properties()["a"], Value::I32(1));
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Reading {
    degrees: f64,
}

#[tokio::test]
async fn a_body_is_read_as_json_and_an_error_does_not_show_it() {
    let emulator = emulator().await;
    let in_two = EventBody::Data(vec!["{\"degrees\":".into(), " 21.5}".into()]);
    let bodies = [
        EventBody::Data(vec![r#"{"degrees": 21.5}"#.into()]),
        in_two,
        EventBody::Value(r#"{"degrees": 21.5}"#.into()),
        EventBody::Data(vec!["canary".into()]),
        EventBody::Data(vec![r#"{"degrees": "canary"}"#.into()]),
        EventBody::Value(Value::I32(5)),
    ];
    emulator.publish_to("orders", "0", bodies.map(EventData::with_body)).unwrap();
    let events = receive(&mut open(&client(&emulator), StartingPosition::Earliest).await, 6).await;
    for event in &events[..3] {
        assert_eq!(event.body_as_json::<Reading>().unwrap(), Reading { degrees: 21.5 });
    }
    let failed = |event: &ReceivedEvent| {
        let error = event.body_as_json::<Reading>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        format!("{error:?}")
    };
    for (event, reason) in events[3..].iter().zip([
        "is not JSON: expected value at line 1",
        "JSON of another form: ",
        "not text",
    ]) {
        assert!(failed(event).contains(reason) && !failed(event).contains("canary"), "{}", failed(event));
    }
}
