use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventhubs::{PartitionId, StartingPosition};

use crate::support::{Seen, body, client, emulator, publish_to, start, within};

fn partition(id: &str) -> PartitionId {
    id.parse().unwrap()
}

#[tokio::test]
async fn a_partition_can_have_a_starting_position_of_its_own() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        publish_to(&emulator, "1", &["d", "e", "f"]);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(
            client(&emulator)
                .receive(move |_, event| {
                    log.push(body(&event));
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .starting_position_of(partition("1"), StartingPosition::from_sequence_number(2)),
        );
        seen.until_count(4).await;
        running.stop().await;
        let mut all = seen.all();
        all.sort();
        assert_eq!(all, ["a", "b", "c", "f"]);
    })
    .await;
}

#[tokio::test]
async fn latest_without_a_checkpoint_skips_nothing_after_a_failure() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["old"]);
        let seen = Seen::default();
        let (log, initialize) = (seen.clone(), seen.clone());
        let failed = Arc::new(AtomicBool::new(false));
        let running = start(
            client(&emulator)
                .receive(move |_, event| {
                    log.push(body(&event));
                    let fails = !failed.swap(true, Ordering::Relaxed);
                    async move { if fails { Err("the first call fails".into()) } else { Ok(()) } }
                })
                .on_partition_initialize(move |_| {
                    initialize.push("initialize");
                    async { Ok(()) }
                }),
        );
        seen.until_contains("initialize").await;
        publish_to(&emulator, "0", &["a", "b"]);
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(seen.all(), ["initialize", "a", "initialize", "a", "b"]);
    })
    .await;
}

#[tokio::test]
async fn one_partition_can_be_read_alone() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        publish_to(&emulator, "1", &["b"]);
        let seen = Seen::default();
        let client = client(&emulator);
        for expected in [["b"].as_slice(), ["b", "c"].as_slice()] {
            let log = seen.clone();
            let running = start(
                client
                    .receive(move |context, event| {
                        log.push(body(&event));
                        async move { Ok(context.update_checkpoint(&event).await?) }
                    })
                    .starting_position(StartingPosition::Earliest)
                    .partition_id(partition("1")),
            );
            seen.until_count(expected.len()).await;
            running.stop().await;
            assert_eq!(seen.all(), expected, "the second run goes on behind the checkpoint");
            publish_to(&emulator, "1", &["c"]);
        }
    })
    .await;
}
