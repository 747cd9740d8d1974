//! The one script for all clients; `tests/witnesses/matrix.toml` says what each check is about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventhubs_emulator::Emulator;
use serde_json::json;
use tokio::time::{interval, timeout};

use super::stage::{PARTITION, PARTITIONS, Read, Stage, from, from_earliest, same};
use super::witness::{Event, Failure, Outcome, Said, failed};

/// Between the two halves of what a position check reads.
const GAP: Duration = Duration::from_secs(60);
const GAP_MS: i64 = 60_000;
/// Between the events that processors get while they share.
const ROUND: Duration = Duration::from_millis(100);
/// After how much silence of processors that share more events are sent.
const SILENCE: Duration = Duration::from_secs(2);
/// After how much silence a connection counts as dead, where the client can be told.
const IDLE_SECONDS: u32 = 5;
/// How often two links are refused.
const REFUSALS: usize = 10;
/// Bytes of a body that is above the limit of 1 MiB.
const TOO_LARGE: usize = 1_200_000;
/// How many readers without an owner level a partition takes (contract §5.3).
const MAX_READERS: usize = 5;

/// Runs the check of that name.
pub(super) async fn run(check: &str, stage: &mut Stage<'_>) -> Outcome {
    match check {
        "properties" => properties(stage).await,
        "send" => send(stage).await,
        "batch" => batch(stage).await,
        "key" => key(stage).await,
        "no_key" => no_key(stage).await,
        "large" => large(stage).await,
        "bodies" => bodies(stage).await,
        "earliest" => earliest(stage).await,
        "latest" => latest(stage).await,
        "offset" => offset(stage).await,
        "sequence_number" => sequence_number(stage).await,
        "sequence_number_inclusive" => sequence_number_inclusive(stage).await,
        "enqueued_time" => enqueued_time(stage).await,
        "last_enqueued" => last_enqueued(stage).await,
        "owner_level" => owner_level(stage).await,
        "equal_owner_level" => equal_owner_level(stage).await,
        "six_readers" => six_readers(stage).await,
        "refusals" => refusals(stage).await,
        "refused_sender" => refused_sender(stage).await,
        "refused_links" => refused_links(stage).await,
        "too_large" => too_large(stage).await,
        "request_token" => request_token(stage).await,
        "frame_size" => frame_size(stage).await,
        "processor" => processor(stage).await,
        "detach" => after(stage, |e, hub| e.detach_links(hub, "amqp:link:detach-forced", "moved")).await,
        "session_end" => after(stage, |e, hub| e.end_sessions(hub, "amqp:internal-error", "a fault")).await,
        "connection_close" => {
            after(stage, |e, _| e.close_connections("amqp:connection:forced", "restart")).await
        }
        "dropped_socket" => after(stage, |e, _| e.drop_connections()).await,
        "expired_token" => after(stage, |e, _| e.expire_tokens()).await,
        "refused_attach" => refused_attach(stage).await,
        "frozen_connection" => frozen_connection(stage).await,
        unknown => panic!("there is no check {unknown:?}"),
    }
}

async fn properties(stage: &mut Stage<'_>) -> Outcome {
    let hub = stage.witness.ask("properties", json!({ "hub": stage.hub })).await?;
    same("hub", hub, json!({ "name": stage.hub, "partitions": ["0", "1", "2", "3"] }))?;
    stage.publish(["first", "second"]);
    let [first, second] = &stage.events(2, from_earliest()).await?[..] else {
        unreachable!("two were asked for")
    };
    let written = stage.witness.ask("partition", json!({ "hub": stage.hub, "partition": PARTITION })).await?;
    let expected = json!({
        "id": PARTITION,
        "beginning": first.sequence_number,
        "last": second.sequence_number,
        "offset": second.offset,
        "enqueued_ms": second.enqueued_ms,
        "empty": false,
    });
    same("partition", written, expected)?;
    let unwritten = stage.witness.ask("partition", json!({ "hub": stage.hub, "partition": "1" })).await?;
    same("empty", &unwritten["empty"], &json!(true))?;
    same("last of none", (&unwritten["last"], &unwritten["offset"]), (&json!(-1), &json!("-1")))
}

async fn send(stage: &mut Stage<'_>) -> Outcome {
    let properties = json!({ "text": "t", "number": 7, "yes": true });
    let options = json!({ "partition": PARTITION, "properties": properties, "message_id": "m1" });
    stage.send(&["one", "two"], options).await?;
    let events = stage.events(2, from_earliest()).await?;
    same("bodies", texts(&events), vec!["one", "two"])?;
    same("message id", events[0].message_id.as_deref(), Some("m1"))?;
    same("properties", json!(events[0].properties), properties)
}

async fn batch(stage: &mut Stage<'_>) -> Outcome {
    let bodies: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    stage.send(&bodies, json!({ "partition": PARTITION, "batch": true })).await?;
    let events = stage.events(100, from_earliest()).await?;
    same("bodies", texts(&events), bodies)?;
    same("sequence numbers", numbers(&events), (0..100).collect())
}

async fn key(stage: &mut Stage<'_>) -> Outcome {
    stage.send(&["1", "2", "3"], json!({ "key": "a key" })).await?;
    let partition = stage.counts().iter().position(|count| *count == 3);
    let partition = partition.ok_or_else(|| failed(format!("they went to several: {:?}", stage.counts())))?;
    let read = Read { partition: partition.to_string(), ..from_earliest() };
    let events = stage.events(3, read).await?;
    same("keys", events.iter().map(|event| event.key.as_deref()).collect(), vec![Some("a key"); 3])
}

async fn no_key(stage: &mut Stage<'_>) -> Outcome {
    stage.send(&["1", "2", "3", "4", "5", "6", "7", "8"], json!({})).await?;
    same("events by partition", stage.counts(), vec![2; PARTITIONS])
}

/// In several frames either way.
async fn large(stage: &mut Stage<'_>) -> Outcome {
    let body = "large ".repeat(50_000);
    stage.send(&[&body], json!({ "partition": PARTITION })).await?;
    let events = stage.events(1, from_earliest()).await?;
    if texts(&events) == [body] { Ok(()) } else { Err(failed("another body came back")) }
}

async fn bodies(stage: &mut Stage<'_>) -> Outcome {
    let kinds =
        [json!({ "value": { "key": [1, null, "three"] } }), json!({ "sequence": [[1, 2], ["three"]] })];
    for kind in &kinds {
        stage
            .witness
            .ask(
                "send",
                json!({ "hub": stage.hub, "bodies": [kind], "partition": PARTITION, "batch": false }),
            )
            .await?;
    }
    let events = stage.events(2, from_earliest()).await?;
    same("bodies", events.into_iter().map(|event| event.body).collect(), kinds.to_vec())
}

/// Twenty events, the second half a minute later.
fn publish_two_halves(stage: &Stage<'_>) {
    stage.publish(0..10);
    stage.emulator.advance_clock(GAP);
    stage.publish(10..20);
}

async fn starts_at(stage: &mut Stage<'_>, read: Read, number: i64) -> Outcome {
    let what = read.start.to_string();
    let [event] = &stage.events(1, read).await?[..] else { unreachable!("one was asked for") };
    same(&what, event.sequence_number, number)
}

async fn earliest(stage: &mut Stage<'_>) -> Outcome {
    publish_two_halves(stage);
    starts_at(stage, from_earliest(), 0).await
}

async fn latest(stage: &mut Stage<'_>) -> Outcome {
    publish_two_halves(stage);
    let reader = stage.read(from(json!({ "latest": true }))).await?;
    stage.attached().await?;
    stage.publish(["new"]);
    let event = stage.event(&reader).await?;
    stage.stop(&reader).await?;
    same("sequence number", event.sequence_number, 20)
}

async fn offset(stage: &mut Stage<'_>) -> Outcome {
    publish_two_halves(stage);
    let tenth = stage.events(11, from_earliest()).await?.swap_remove(10);
    starts_at(stage, from(json!({ "offset": tenth.offset })), 11).await?;
    starts_at(stage, from(json!({ "offset": tenth.offset, "inclusive": true })), 10).await
}

async fn sequence_number(stage: &mut Stage<'_>) -> Outcome {
    publish_two_halves(stage);
    starts_at(stage, from(json!({ "sequence_number": 10 })), 11).await
}

async fn sequence_number_inclusive(stage: &mut Stage<'_>) -> Outcome {
    publish_two_halves(stage);
    for number in [0, 10] {
        starts_at(stage, from(json!({ "sequence_number": number, "inclusive": true })), number).await?;
    }
    Ok(())
}

async fn enqueued_time(stage: &mut Stage<'_>) -> Outcome {
    publish_two_halves(stage);
    let [first] = &stage.events(1, from_earliest()).await?[..] else { unreachable!("one was asked for") };
    let between = first.enqueued_ms + GAP_MS / 2;
    starts_at(stage, from(json!({ "enqueued_ms": between })), 10).await
}

async fn last_enqueued(stage: &mut Stage<'_>) -> Outcome {
    stage.publish(["one", "two", "three"]);
    let read = Read { last_enqueued: true, ..from_earliest() };
    let last = stage.events(3, read).await?.swap_remove(2);
    let head = last.last_enqueued.ok_or_else(|| failed("nothing came with the event"))?;
    same("last event", (head.sequence_number, head.offset), (last.sequence_number, last.offset))?;
    same("its time", head.enqueued_ms, last.enqueued_ms)?;
    same("retrieved later than enqueued", head.retrieved_ms >= head.enqueued_ms, true)
}

fn at_level(level: i64) -> Read {
    Read { owner_level: Some(level), ..from_earliest() }
}

async fn owner_level(stage: &mut Stage<'_>) -> Outcome {
    stage.publish(["event"]);
    let low = stage.read(at_level(1)).await?;
    stage.event(&low).await?;
    let high = stage.read(at_level(2)).await?;
    stage.event(&high).await?;
    stage.told(&low, "with higher epoch of '2' is created").await?;
    stage.stop(&low).await?;
    stage.refused(at_level(1), "with a higher epoch '2' already exists").await?;
    stage.refused(from_earliest(), "non-epoch receiver is not allowed").await?;
    stage.publish(["another"]);
    same("the owner continues with", &stage.event(&high).await?.body, &json!("another"))?;
    stage.stop(&high).await
}

/// Not at level 0, which JavaScript takes for none.
async fn equal_owner_level(stage: &mut Stage<'_>) -> Outcome {
    stage.publish(["event"]);
    let first = stage.read(at_level(1)).await?;
    stage.event(&first).await?;
    let second = stage.read(at_level(1)).await?;
    stage.event(&second).await?;
    stage.told(&first, "with higher epoch of '1' is created").await?;
    stage.stop(&first).await?;
    stage.stop(&second).await
}

async fn six_readers(stage: &mut Stage<'_>) -> Outcome {
    stage.publish(["event"]);
    let mut readers = Vec::new();
    for _ in 0..MAX_READERS {
        let reader = stage.read(from_earliest()).await?;
        stage.event(&reader).await?;
        readers.push(reader);
    }
    let text =
        "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5";
    stage.refused(from_earliest(), text).await?;
    for reader in readers {
        stage.stop(&reader).await?;
    }
    Ok(())
}

async fn refusals(stage: &mut Stage<'_>) -> Outcome {
    let nowhere = Read { group: "no-such-group", ..from_earliest() };
    stage.refused(nowhere, "could not be found").await?;
    stage.refused(from(json!({ "offset": "999999" })), "The supplied offset '999999' is invalid").await
}

/// JavaScript took it for a condition that passes when a flow came between attach and detach, and Go for a lost connection.
async fn refused_sender(stage: &mut Stage<'_>) -> Outcome {
    let nowhere = stage.send(&["event"], json!({ "partition": "99" })).await;
    fails_with(nowhere, "invalid")?;
    same("events", stage.counts(), vec![0; PARTITIONS])
}

/// rhea throws when a link is detached twice, in about every second run.
async fn refused_links(stage: &mut Stage<'_>) -> Outcome {
    for _ in 0..REFUSALS {
        let refused = stage.witness.ask("refused_links", json!({ "hub": stage.hub, "count": 2 })).await?;
        same("conditions", refused, json!(["amqp:not-found", "amqp:not-found"]))?;
    }
    Ok(())
}

/// Asked of libraries of AMQP: an SDK tries again what was refused, for minutes.
async fn too_large(stage: &mut Stage<'_>) -> Outcome {
    let body = "x".repeat(TOO_LARGE);
    let request = json!({ "hub": stage.hub, "body": body, "partition": PARTITION });
    fails_with(stage.witness.ask("send_of_any_size", request).await.map(drop), "size")?;
    same("events", stage.counts(), vec![0; PARTITIONS])?;
    stage.send(&["small"], json!({ "partition": PARTITION })).await
}

async fn request_token(stage: &mut Stage<'_>) -> Outcome {
    let hub = stage.witness.ask("properties_by_request_token", json!({ "hub": stage.hub })).await?;
    same("hub", hub, json!({ "name": stage.hub, "partitions": ["0", "1", "2", "3"] }))
}

/// The C library below older SDKs fails when the broker answers with more than it offered.
async fn frame_size(stage: &mut Stage<'_>) -> Outcome {
    for offered in [4096, 65_536] {
        let answered = stage.witness.ask("max_frame_size", json!({ "offered": offered })).await?;
        same("frame size", answered, json!(offered))?;
    }
    Ok(())
}

/// Demands that a request has failed, with this in its text in any case.
fn fails_with(outcome: Outcome, text: &str) -> Outcome {
    match outcome {
        Err(Failure::Failed(why)) if why.to_lowercase().contains(text) => Ok(()),
        Err(Failure::Failed(why)) => Err(failed(format!("{text:?} is not in {why}"))),
        Err(absent) => Err(absent),
        Ok(()) => Err(failed(format!("nothing failed with {text:?}"))),
    }
}

/// An event that a processor has handled.
type Place = (String, i64);

/// Two share; then both stop, and a third begins where they stopped.
async fn processor(stage: &mut Stage<'_>) -> Outcome {
    for name in ["a", "b"] {
        stage.witness.ask("process", json!({ "reader": name, "hub": stage.hub })).await?;
    }
    let mut shares = BTreeMap::<String, BTreeSet<String>>::new();
    let mut handled = BTreeSet::new();
    let mut rounds = interval(ROUND);
    while shares.len() < 2 || shares.values().any(|share| share.len() < PARTITIONS / 2) {
        rounds.tick().await;
        publish_to_all(stage);
        // not all of them come at once while a partition changes hands
        while let Ok(word) = timeout(SILENCE, handled_by(stage, &["a", "b"])).await {
            let (name, place) = word?;
            shares.entry(name).or_default().insert(place.0.clone());
            handled.insert(place);
            if handled.len() == stage.counts().iter().sum::<usize>() {
                break;
            }
        }
    }
    // what was handled twice while partitions changed hands may have set a checkpoint back
    for _ in 0..2 {
        publish_to_all(stage);
        while handled.len() < stage.counts().iter().sum() {
            handled.insert(handled_by(stage, &["a", "b"]).await?.1);
        }
    }
    stage.stop("a").await?;
    stage.stop("b").await?;
    stage.witness.ask("process", json!({ "reader": "c", "hub": stage.hub })).await?;
    publish_to_all(stage);
    for _ in 0..PARTITIONS {
        let (_, place) = handled_by(stage, &["c"]).await?;
        same("new to the third", (handled.insert(place.clone()), place.clone()), (true, place))?;
    }
    stage.stop("c").await
}

fn publish_to_all(stage: &Stage<'_>) {
    for id in 0..PARTITIONS {
        stage.emulator.publish_to(stage.hub, &id.to_string(), ["event"]).expect("it is there");
    }
}

/// The next event that one of these processors has handled; that it loses a partition is no failure.
async fn handled_by(stage: &mut Stage<'_>, names: &[&str]) -> Outcome<(String, Place)> {
    loop {
        if let (name, Said::Event(event)) = stage.witness.next_of(names).await? {
            return Ok((name, (event.partition.unwrap_or_default(), event.sequence_number)));
        }
    }
}

async fn after(stage: &mut Stage<'_>, fault: impl Fn(&Emulator, &str) -> usize) -> Outcome {
    goes_on(stage, from_earliest(), true, fault).await
}

async fn frozen_connection(stage: &mut Stage<'_>) -> Outcome {
    let read = Read { idle_seconds: Some(IDLE_SECONDS), ..from_earliest() };
    goes_on(stage, read, false, |emulator, _| emulator.freeze_connections()).await
}

/// A reader that is hit by a fault, which ends its link or not, continues after the last event, without a gap and without
/// a repeat.
async fn goes_on(
    stage: &mut Stage<'_>,
    read: Read,
    ends: bool,
    fault: impl Fn(&Emulator, &str) -> usize,
) -> Outcome {
    stage.publish(["before"]);
    let reader = stage.read(read).await?;
    same("before the fault", stage.event(&reader).await?.body, json!("before"))?;
    let hit = stage.links();
    same("the fault hits", fault(stage.emulator, stage.hub) > 0, true)?;
    if ends {
        stage.gone(&hit).await?;
    }
    stage.publish(["after"]);
    same("after the fault", stage.event_despite_errors(&reader).await?.body, json!("after"))?;
    stage.stop(&reader).await
}

async fn refused_attach(stage: &mut Stage<'_>) -> Outcome {
    stage.publish(["event"]);
    let refuse = stage.emulator.refuse_attaches(stage.hub, 1, "com.microsoft:server-busy", "try later");
    refuse.expect("the hub is there");
    let reader = stage.read(from_earliest()).await?;
    same("after the refusal", stage.event_despite_errors(&reader).await?.body, json!("event"))?;
    stage.stop(&reader).await
}

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.body.as_str().unwrap_or_default()).collect()
}

fn numbers(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.sequence_number).collect()
}
