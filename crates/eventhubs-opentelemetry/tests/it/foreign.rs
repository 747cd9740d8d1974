//! The trace contexts of events that the real SDKs for Python and JavaScript have sent.

use std::path::Path;
use std::sync::{Arc, Mutex};

use eventhubs::{StartingPosition, Until};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, installed, run_python, within};
use tokio::process::Command;

use crate::exported::{Exported, HUB};

const NEW: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OLD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The properties of each event in JSON, and the context that is in them.
fn cases() -> (String, Vec<Option<&'static str>>) {
    let zero = format!("00-{:032}-{:016}-01", 0, 0);
    let cases = [
        (format!(r#"{{"traceparent": "{NEW}", "Diagnostic-Id": "{NEW}"}}"#), Some(NEW)),
        (format!(r#"{{"traceparent": "{NEW}", "Diagnostic-Id": "{OLD}"}}"#), Some(NEW)),
        (format!(r#"{{"traceparent": "{NEW}"}}"#), Some(NEW)),
        (format!(r#"{{"Diagnostic-Id": "{OLD}"}}"#), Some(OLD)),
        ("{}".to_owned(), None),
        (format!(r#"{{"traceparent": "{}"}}"#, NEW.to_uppercase()), None),
        (r#"{"traceparent": 7, "Diagnostic-Id": ""}"#.to_owned(), None),
        (format!(r#"{{"traceparent": "{zero}"}}"#), None),
        (format!(r#"{{"traceparent": "{zero}", "Diagnostic-Id": "{OLD}"}}"#), Some(OLD)),
        (format!(r#"{{"traceparent": {{"bytes": "{NEW}"}}}}"#), Some(NEW)),
        (r#"{"traceparent": {"bytes": "broken"}}"#.to_owned(), None),
    ];
    let (events, contexts): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    (format!("[{}]", events.join(", ")), contexts)
}

/// Reads what was sent in one call, and compares the contexts of the events, and the links of the span.
async fn check(emulator: &Emulator, contexts: Vec<Option<&'static str>>) {
    let (exported, seen) = (Exported::new(), Arc::new(Mutex::new(Vec::new())));
    let seeing = Arc::clone(&seen);
    let receive = exported.client(emulator).receive_batch(move |_, events| {
        let of = |event: &eventhubs::ReceivedEvent| event.trace_context().map(|sent| sent.traceparent);
        seeing.lock().unwrap().extend(events.iter().map(of));
        async { Ok(()) }
    });
    let receive = receive.starting_position(StartingPosition::Earliest);
    let receive = receive.min_batch_size(contexts.len()).max_wait_time(PATIENCE);
    receive.until(Until::now()).await.unwrap();
    let expected: Vec<_> = contexts.iter().map(|context| context.map(str::to_owned)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);

    let [span] = &exported.spans("process orders")[..] else { panic!("one span") };
    let links = span.links.iter().map(|link| {
        let sent = &link.span_context;
        format!("00-{}-{}-{:02x}", sent.trace_id(), sent.span_id(), sent.trace_flags())
    });
    assert_eq!(links.collect::<Vec<_>>(), [NEW, OLD]);
}

async fn emulator() -> Emulator {
    Emulator::builder().event_hub(HUB, 1).start().await.unwrap()
}

#[tokio::test]
async fn contexts_that_the_python_sdk_sent_are_linked() {
    let (emulator, (events, contexts)) = (emulator().await, cases());
    let connection_string = emulator.namespace_connection_string();
    run_python("traces.py", &[&connection_string, HUB, &events], PATIENCE).await;
    within(PATIENCE, check(&emulator, contexts)).await;
}

#[tokio::test]
async fn contexts_that_the_javascript_sdk_sent_are_linked() {
    let (emulator, (events, contexts)) = (emulator().await, cases());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/witnesses/js/traces.cjs");
    let sending = Command::new("node")
        .arg(script)
        .args([&emulator.namespace_connection_string(), HUB, &events])
        .env("NODE_PATH", installed("js/node_modules"))
        .kill_on_drop(true)
        .status();
    assert!(within(PATIENCE, sending).await.unwrap().success());
    within(PATIENCE, check(&emulator, contexts)).await;
}
