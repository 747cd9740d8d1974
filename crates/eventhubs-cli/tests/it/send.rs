//! `eventhubs send` against a running `eventhubs emulator`.

use std::io::Write as _;
use std::time::Duration;

use eventhubs_amqp::{EventHubClient, PartitionReceiver, ReceivedEvent, RetryPolicy};
use eventhubs_types::{ConsumerGroup, PartitionId, StartingPosition};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use tokio::io::AsyncWriteExt;

use crate::program::{Program, output_of, output_trusting, started, within};

fn client(connection_string: &str) -> EventHubClient {
    let builder = EventHubClient::builder(connection_string.parse().unwrap());
    builder.retry(RetryPolicy::fixed(Duration::from_millis(20))).build().unwrap()
}

async fn read(client: &EventHubClient, position: StartingPosition) -> PartitionReceiver {
    let receiver = client.partition_receiver(ConsumerGroup::default(), PartitionId::new("0").unwrap());
    within(receiver.starting_position(position).open()).await.unwrap()
}

async fn events(connection_string: &str, count: usize) -> Vec<ReceivedEvent> {
    let client = client(connection_string);
    let mut receiver = read(&client, StartingPosition::Earliest).await;
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(within(receiver.receive_batch(count, None)).await.unwrap());
    }
    events
}

/// Runs `eventhubs send --json`, and gives its summary.
async fn send(connection_string: &str, arguments: &[&str], input: &str) -> Value {
    let all = [&["send", "--json", "--connection-string", connection_string], arguments].concat();
    let output = output_of(&all, input.as_bytes()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_body_lines_or_a_file_are_sent() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let connection_string = program.connection_string(0, 0);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"two\nlines").unwrap();
    let file = file.path().to_str().unwrap();
    let summary = send(connection_string, &["body", "--property", "a=b=c", "--key", "k"], "").await;
    assert_eq!((summary["events"].as_u64(), summary["bytes"].as_u64()), (Some(1), Some(4)));
    assert_eq!(send(connection_string, &[], "first\nsecond\n").await["events"], 2);
    assert_eq!(send(connection_string, &["--file", file, "--count", "2"], "").await["events"], 2);
    let events = events(connection_string, 5).await;
    let bodies: Vec<_> = events.iter().map(|event| event.body_as_str().unwrap()).collect();
    assert_eq!(bodies, ["body", "first", "second", "two\nlines", "two\nlines"]);
    assert_eq!(events[0].partition_key(), Some("k"));
    assert_eq!(events[0].properties()["a"].as_str(), Some("b=c"));
}

#[tokio::test]
async fn lines_are_bytes_and_need_not_be_text() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let connection_string = program.connection_string(0, 0);
    let all = ["send", "--connection-string", connection_string];
    let output = output_of(&all, b"a\nb\nc\xe9d\ne\n").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bodies: Vec<_> = events(connection_string, 4)
        .await
        .iter()
        .map(|event| event.body().bytes().unwrap().to_vec())
        .collect();
    assert_eq!(bodies, [&b"a"[..], b"b", b"c\xe9d", b"e"]);
}

#[tokio::test]
async fn a_run_ends_in_time_although_standard_input_stays_open() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let connection_string = program.connection_string(0, 0);
    let mut child = started(&["send", "--connection-string", connection_string, "--duration", "0.3"]);
    let mut stdin = child.stdin.take().unwrap();
    within(stdin.write_all(b"one\n")).await.unwrap();
    let status = within(child.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    drop(stdin);
    assert_eq!(events(connection_string, 1).await[0].body_as_str().unwrap(), "one");
}

#[tokio::test]
async fn events_without_a_key_are_spread_evenly() {
    let program = Program::start(&["--hub", "orders:4"]).await;
    let connection_string = program.connection_string(0, 0);
    for arguments in [&["body", "--count", "40"][..], &["--size", "10", "--count", "40"]] {
        send(connection_string, arguments, "").await;
    }
    let partitions = program.get("/namespaces/emulatorNs1/event-hubs/orders/partitions").await;
    for partition in partitions.as_array().unwrap() {
        assert_eq!(partition["event_count"], 20, "{partitions}");
    }
}

#[tokio::test]
async fn load_is_of_the_size_and_number_wanted_and_the_same_again() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let connection_string = program.connection_string(0, 0);
    let load = ["--size", "100", "--keys", "3", "--count", "2500", "--seed", "7", "--rate", "100000"];
    for _ in 0..2 {
        let summary = send(connection_string, &load, "").await;
        assert_eq!((summary["events"].as_u64(), summary["bytes"].as_u64()), (Some(2500), Some(250_000)));
    }
    let events = events(connection_string, 5000).await;
    assert_eq!(events.len(), 5000);
    for (first, second) in events[..2500].iter().zip(&events[2500..]) {
        assert_eq!((first.body(), first.partition_key()), (second.body(), second.partition_key()));
    }
}

#[tokio::test]
async fn a_run_ends_after_its_duration() {
    let program = Program::start(&["--hub", "orders:4"]).await;
    let load = ["--size", "10", "--duration", "0.3", "--rate", "50"];
    let summary = send(program.connection_string(0, 0), &load, "").await;
    let events = summary["events"].as_u64().unwrap();
    assert!((1..=16).contains(&events), "{events}");
}

#[tokio::test]
async fn an_emulator_is_reached_over_tls() {
    let certificate = NamedTempFile::new().unwrap();
    let certificate = certificate.path().to_str().unwrap();
    let program = Program::start(&["--hub", "orders:1", "--certificate", certificate]).await;
    let over_tls = program.connection_string(0, 0).replace("UseDevelopmentEmulator=true;", "");
    let output = output_trusting(certificate, &["send", "--connection-string", &over_tls, "secret"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(events(program.connection_string(0, 0), 1).await[0].body_as_str().unwrap(), "secret");
}

#[tokio::test]
async fn a_mistake_is_an_error_without_the_key() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let good = program.connection_string(0, 0);
    let namespace = good.split(";EntityPath").next().unwrap();
    for (connection_string, arguments, why) in [
        ("nonsense", ["x"].as_slice(), "error:"),
        (namespace, &["x"], "event hub: is missing; add EntityPath=<name>"),
        (namespace, &["--hub", "unknown", "x"], "not found"),
        (good, &["--partition", "7", "x"], "invalid argument"),
        (good, &["--file", "/nowhere"], "/nowhere"),
    ] {
        let all = [&["send", "--connection-string", connection_string], arguments].concat();
        let output = output_of(&all, b"").await;
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(why) && !error.contains("SAS_KEY_VALUE"), "{error}");
    }
}

/// An acknowledgement is a promise, also of an emulator.
#[tokio::test]
async fn what_was_acknowledged_survives_that_the_emulator_is_killed() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    let program = Program::start(&["--hub", "orders:1", "--data", data]).await;
    let sender = client(program.connection_string(0, 0)).partition_producer(PartitionId::new("0").unwrap());
    let (acknowledged, mut seen) = tokio::sync::watch::channel(0_usize);
    let load = tokio::spawn(async move {
        while sender.send([format!("event {}", *acknowledged.borrow())]).await.is_ok() {
            acknowledged.send_modify(|count| *count += 1);
        }
    });
    let reader = client(program.connection_string(0, 0));
    let mut receiver = read(&reader, StartingPosition::Earliest).await;
    let read_before = within(receiver.receive_batch(100, None)).await.unwrap();
    within(seen.wait_for(|count| *count >= 300)).await.unwrap();
    program.kill().await;
    within(load).await.unwrap();
    let acknowledged = *seen.borrow();

    let program = Program::start(&["--data", data]).await;
    let connection_string = program.connection_string(0, 0);
    send(connection_string, &["the next"], "").await;
    let kept = events(connection_string, acknowledged + 1).await;
    let numbers: Vec<_> = kept.iter().map(|event| event.sequence_number().value()).collect();
    assert_eq!(numbers, (0..).take(kept.len()).collect::<Vec<i64>>());
    for (n, event) in kept[..acknowledged].iter().enumerate() {
        assert_eq!(event.body_as_str().unwrap(), format!("event {n}"));
    }
    assert_eq!(kept.last().unwrap().body_as_str().unwrap(), "the next");
    let last_read = read_before.last().unwrap();
    let position = StartingPosition::after_offset(last_read.offset().clone());
    let mut receiver = read(&client(connection_string), position).await;
    let next = within(receiver.receive_batch(1, None)).await.unwrap();
    assert_eq!(next[0].sequence_number().value(), last_read.sequence_number().value() + 1);
}
