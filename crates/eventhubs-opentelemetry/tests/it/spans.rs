//! The spans: what surrounds a call, and what it is linked to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use eventhubs::{EventData, FailurePolicy, GiveUp, StartingPosition, Until};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, within};
use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};

use crate::exported::{Exported, HUB, named};

fn sent(number: usize) -> String {
    format!("00-{:032x}-{:016x}-01", number + 1, number + 1)
}

async fn emulator() -> Emulator {
    Emulator::builder().event_hub(HUB, 1).start().await.unwrap()
}

fn publish(emulator: &Emulator, events: impl IntoIterator<Item = EventData>) {
    emulator.publish_to(HUB, "0", events).unwrap();
}

#[tokio::test]
async fn a_batch_is_linked_to_at_most_128_of_its_events() {
    within(PATIENCE, async {
        let (emulator, exported) = (emulator().await, Exported::new());
        publish(
            &emulator,
            (0..300).map(|number| EventData::new("event").property("traceparent", sent(number))),
        );
        let receive = exported.client(&emulator).receive_batch(|_, _| async { Ok(()) });
        let receive = receive.starting_position(StartingPosition::Earliest).max_batch_size(300);
        let receive = receive.min_batch_size(300).max_wait_time(PATIENCE);
        receive.until(Until::now()).await.unwrap();
        let [span] = &exported.spans("process orders")[..] else { panic!("one span") };
        assert_eq!((&span.span_kind, span.links.len()), (&SpanKind::Consumer, 128));
        let ids: BTreeSet<_> =
            span.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
        assert_eq!(ids.len(), 128);
        let enqueued =
            |attributes| named(attributes)["messaging.eventhubs.message.enqueued_time"].parse::<u64>();
        assert!(
            span.links.iter().all(|link| enqueued(&link.attributes).is_ok_and(|time| time > 1_700_000_000))
        );
        let attributes = named(&span.attributes);
        for (name, value) in [
            ("eventhubs.links_dropped", "172"),
            ("messaging.batch.message_count", "300"),
            ("messaging.operation.name", "process"),
            ("messaging.system", "eventhubs"),
            ("messaging.destination.name", HUB),
            ("messaging.destination.partition.id", "0"),
            ("messaging.consumer.group.name", "$Default"),
            ("messaging.client.id", "pod-1"),
        ] {
            assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}");
        }
    })
    .await;
}

/// What clients of others write, and what must not be taken for a context.
#[tokio::test]
async fn only_contexts_that_are_well_formed_are_linked() {
    within(PATIENCE, async {
        let (emulator, exported) = (emulator().await, Exported::new());
        let event = || EventData::new("event");
        publish(
            &emulator,
            [
                event(),
                event().property("traceparent", sent(1)).property("Diagnostic-Id", sent(1)),
                event().property("Diagnostic-Id", sent(2)),
                event().property("traceparent", "00-broken"),
                event().property("traceparent", format!("00-{:032x}-{:016x}-00", 0, 0)),
                event().property("traceparent", sent(2)),
            ],
        );
        let receive = exported.client(&emulator).receive_batch(|_, _| async { Ok(()) });
        let receive =
            receive.starting_position(StartingPosition::Earliest).min_batch_size(6).max_wait_time(PATIENCE);
        receive.until(Until::now()).await.unwrap();
        let [span] = &exported.spans("process orders")[..] else { panic!("one span") };
        let ids: Vec<_> = span.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
        assert_eq!(ids, ["0000000000000002", "0000000000000003"]);
        assert!(span.links.iter().all(|link| link.span_context.is_remote()));
        assert!(!span.parent_span_is_remote);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_the_callback_is_part_of_the_call_over_awaits_and_threads() {
    within(PATIENCE, async {
        let (emulator, exported) = (emulator().await, Exported::new());
        publish(&emulator, (0..20).map(|_| EventData::new("event")));
        let tracer = Arc::new(exported.tracers.tracer("test"));
        let receive = exported.client(&emulator).receive(move |context, event| {
            let tracer = Arc::clone(&tracer);
            async move {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                drop(tracer.start("own"));
                context.update_checkpoint(&event).await?;
                Ok(())
            }
        });
        receive.starting_position(StartingPosition::Earliest).until(Until::now()).await.unwrap();
        let calls = exported.spans("process orders");
        assert_eq!(calls.len(), 20);
        let ids: BTreeSet<_> = calls.iter().map(|span| span.span_context.span_id().to_string()).collect();
        for name in ["own", "checkpoint orders"] {
            let parents: BTreeSet<_> =
                exported.spans(name).iter().map(|span| span.parent_span_id.to_string()).collect();
            assert_eq!(parents, ids, "{name}");
        }
        assert!(!Context::current().has_active_span(), "none is left over");
        let checkpoint = &exported.spans("checkpoint orders")[0];
        let attributes = named(&checkpoint.attributes);
        assert_eq!(attributes["messaging.operation.type"], "settle");
        assert_eq!(attributes["messaging.destination.partition.id"], "0");
        assert!(checkpoint.start_time <= checkpoint.end_time);
    })
    .await;
}

#[tokio::test]
async fn each_attempt_has_a_span_that_says_why_it_failed_without_its_text() {
    within(PATIENCE, async {
        let (emulator, exported) = (emulator().await, Exported::new());
        publish(&emulator, [EventData::new("event").property("traceparent", sent(4))]);
        let calls = Arc::new(Mutex::new(0));
        let receive = exported.client(&emulator).receive(move |_, _| {
            *calls.lock().unwrap() += 1;
            async { Err("card 4111 1111 is refused".into()) }
        });
        let policy = FailurePolicy::default().attempts(2).then(GiveUp::Skip);
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(policy);
        receive.until(Until::now()).await.unwrap();
        let spans = exported.spans("process orders");
        assert_eq!(spans.len(), 2);
        for (span, attempt) in spans.iter().zip([None, Some("2")]) {
            let attributes = named(&span.attributes);
            assert_eq!(attributes.get("eventhubs.attempt").map(String::as_str), attempt);
            assert_eq!(attributes["error.type"], "_OTHER");
            assert_eq!((&span.status, span.links.len()), (&Status::error(""), 1));
        }
        assert!(!format!("{spans:?} {:?}", exported.metrics()).contains("4111"));
    })
    .await;
}
