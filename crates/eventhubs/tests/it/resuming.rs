//! Failures that come while a partition is being resumed: what was known before them must not be forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventhubs::{CheckpointStore, InvalidPosition, MemoryCheckpointStore, Receive, StartingPosition};
use eventhubs_checkpoint_store::{Checkpoint, Expected};

use crate::faulty_store::{Fault, FaultyStore};
use crate::positions::watching;
use crate::support::{
    HUB, Seen, body, client_on, emulator, publish_to, refuse_questions_about_partitions, scope, start, until,
    within,
};

fn events(seen: &Seen) -> Vec<String> {
    seen.all().into_iter().filter(|seen| seen.len() == 1).collect()
}

fn count(seen: &Seen, text: &str) -> usize {
    seen.all().iter().filter(|seen| *seen == text).count()
}

#[tokio::test]
async fn several_receive_failures_in_a_row_repeat_no_event() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let seen = Seen::default();
        let receive = watching(&client_on(&emulator, MemoryCheckpointStore::new()), &seen);
        let running = start(receive.starting_position(StartingPosition::Earliest));
        seen.until_contains("b").await;
        for failures in 1..=3 {
            // Not retried by the receiver: the partition is closed, and opened again before any new event.
            emulator.detach_links(HUB, "amqp:not-allowed", "a test");
            until("it is opened again", || count(&seen, "open 0") > failures).await;
        }
        publish_to(&emulator, "0", &["c"]);
        seen.until_contains("c").await;
        running.stop().await;
        assert_eq!(events(&seen), ["a", "b", "c"]);
    })
    .await;
}

/// A token for the consumer group alone may not ask for the newest event, so each attach begins at what is
/// newest then.
#[tokio::test]
async fn a_failed_event_comes_again_although_the_newest_event_is_not_known() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["old"]);
        refuse_questions_about_partitions(&emulator);
        let seen = Seen::default();
        let log = seen.clone();
        let opened = seen.clone();
        let has_failed = AtomicBool::new(false);
        let receive = client_on(&emulator, MemoryCheckpointStore::new())
            .receive(move |_, event| {
                log.push(body(&event));
                let fails = !has_failed.swap(true, Ordering::Relaxed);
                async move { if fails { Err("the first call fails".into()) } else { Ok(()) } }
            })
            .on_partition_initialize(move |_| {
                opened.push("open");
                async { Ok(()) }
            });
        let running = start(receive);
        seen.until_contains("open").await;
        publish_to(&emulator, "0", &["a", "b"]);
        seen.until_contains("b").await;
        running.stop().await;
        assert_eq!(events(&seen), ["a", "a", "b"]);
    })
    .await;
}

/// A run that gives up a checkpoint for the newest event, while the store fails in the middle of that.
fn giving_up(
    receive: Receive<eventhubs::receive::Events>,
    store: &Arc<FaultyStore>,
    seen: &Seen,
) -> Receive<eventhubs::receive::Events> {
    let (store, errors) = (Arc::clone(store), seen.clone());
    receive
        .starting_position(StartingPosition::Earliest)
        .on_invalid_position(InvalidPosition::Latest)
        .on_error(move |_, error| {
            let kind = format!("{:?}", error.kind());
            // Away as soon as the position is refused, and back when that was noticed.
            store.set(if kind == "InvalidPosition" && count(&errors, &kind) == 0 {
                Fault::Away
            } else {
                Fault::Nothing
            });
            errors.push(kind);
            async {}
        })
}

#[tokio::test]
async fn a_store_failure_while_a_position_is_given_up_changes_no_policy() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let (store, seen) = (Arc::new(FaultyStore::default()), Seen::default());
        let ahead = Checkpoint::new("0".parse().unwrap(), Some("999999".into()), Some(999_999.into()));
        store.update_checkpoint(&scope(), &ahead, &Expected::Absent).await.unwrap();
        let receive = watching(&client_on(&emulator, Arc::clone(&store)), &seen);
        let running = start(giving_up(receive, &store, &seen));
        seen.until_contains("open 0").await;
        publish_to(&emulator, "0", &["c"]);
        seen.until_contains("c").await;
        running.stop().await;
        assert_eq!(events(&seen), ["c"], "{:?}", seen.all());
    })
    .await;
}

/// The sequence number of a checkpoint stays good after a fail-over; where it does not, the oldest event is
/// read.
#[tokio::test]
async fn after_a_fail_over_only_an_unknown_number_leads_to_the_oldest_event() {
    within(async {
        for (number, expected) in [(0, &["b"][..]), (5000, &["a", "b"])] {
            let emulator = emulator(1).await;
            publish_to(&emulator, "0", &["a", "b"]);
            emulator.fail_over(HUB).unwrap();
            let (store, seen) = (Arc::new(MemoryCheckpointStore::new()), Seen::default());
            let before = Checkpoint::new("0".parse().unwrap(), Some("0".into()), Some(number.into()));
            store.update_checkpoint(&scope(), &before, &Expected::Absent).await.unwrap();
            let receive = watching(&client_on(&emulator, store), &seen);
            let running = start(receive.starting_position(StartingPosition::from_sequence_number(1)));
            seen.until_contains("b").await;
            running.stop().await;
            assert_eq!(seen.all()[0], "InvalidPosition", "it is reported");
            assert_eq!(events(&seen), expected, "{:?}", seen.all());
        }
    })
    .await;
}
