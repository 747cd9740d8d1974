//! What the service says of a partition may be odd: reading from the newest event begins there all the same.

use std::sync::Arc;

use eventhubs::{MemoryCheckpointStore, Value};
use eventhubs_emulator::{RequestKind, Verdict};

use crate::positions::watching;
use crate::support::{Seen, client_on, emulator, publish_to, start, within};

/// Changes to the true answer about a partition that has the one event 0.
type Odd = &'static [(&'static str, Value)];

const ODD: &[Odd] = &[
    &[("last_enqueued_sequence_number", Value::I64(-1))],
    &[("last_enqueued_sequence_number", Value::I64(-1)), ("is_partition_empty", Value::Null)],
    &[("last_enqueued_sequence_number", Value::Null)],
    &[("last_enqueued_sequence_number", Value::Bool(true))],
    &[("last_enqueued_sequence_number", Value::I64(-1)), ("begin_sequence_number", Value::I64(7))],
    &[("begin_sequence_number", Value::I64(7))],
    &[("last_enqueued_offset", Value::Null)],
    &[("is_partition_empty", Value::Null)],
    &[("name", Value::Null), ("partition", Value::Null)],
];

fn answer(odd: &[(&'static str, Value)]) -> Value {
    let mut all = vec![
        ("name", "orders".into()),
        ("partition", "0".into()),
        ("begin_sequence_number", Value::I64(0)),
        ("last_enqueued_sequence_number", Value::I64(0)),
        ("last_enqueued_offset", "0".into()),
        ("is_partition_empty", Value::Bool(false)),
    ];
    for (name, value) in odd {
        all.retain(|(known, _)| known != name);
        all.push((name, value.clone()));
    }
    Value::Map(all.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// What two runs after each other see of an old event and one that comes in each of them.
async fn read_from_the_newest(odd: Vec<(&'static str, Value)>) -> Vec<String> {
    let emulator = emulator(1).await;
    publish_to(&emulator, "0", &["old"]);
    let said = answer(&odd);
    emulator.intercept(move |request| match request.kind {
        RequestKind::Read if request.address.contains("Partitions") => Verdict::Answer(said.clone()),
        _ => Verdict::Pass,
    });
    let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
    for event in ["a", "b"] {
        let run = Seen::default();
        let running = start(watching(&client_on(&emulator, Arc::clone(&store)), &run));
        run.until_contains("open 0").await;
        publish_to(&emulator, "0", &[event]);
        run.until_contains(event).await;
        running.stop().await;
        run.all().into_iter().for_each(|text| seen.push(text));
    }
    seen.all()
}

#[tokio::test]
async fn the_newest_event_is_where_it_is_whatever_the_service_says_of_it() {
    within(async {
        for odd in ODD {
            let seen = read_from_the_newest(odd.to_vec()).await;
            assert!(!seen.iter().any(|text| text == "old" || text == "InvalidPosition"), "{odd:?}: {seen:?}");
        }
        for (name, offset) in [("last_enqueued_offset", "-1"), ("last_enqueued_offset", "")] {
            let seen = read_from_the_newest(vec![(name, offset.into())]).await;
            assert!(
                !seen.iter().any(|text| text == "old" || text == "InvalidPosition"),
                "{offset:?}: {seen:?}"
            );
        }
    })
    .await;
}
