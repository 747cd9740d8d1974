//! The log tells who has what, why, and since when.

use std::sync::Arc;
use std::time::Duration;

use eventhubs::{ConsumerClient, MemoryCheckpointStore, OwnerId, StartingPosition};
use eventhubs_emulator::Emulator;

use crate::faulty_store::{Fault, FaultyStore};
use crate::log::Log;
use crate::support::{
    HUB, Seen, client, client_on, emulator, publish_to, recording, restarting, start, within,
};

fn named(emulator: &Emulator, store: &Arc<MemoryCheckpointStore>, owner: &str) -> ConsumerClient {
    ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
        .checkpoint_store(Arc::clone(store))
        .owner_id(OwnerId::new(owner).unwrap())
        .load_balancing_interval(Duration::from_millis(200))
        .build()
        .unwrap()
}

#[tokio::test]
async fn each_move_of_a_partition_names_both_owners_and_the_reason() {
    within(async {
        let log = Log::record();
        let emulator = emulator(2).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let reading = |client: &ConsumerClient| start(client.receive(|_, _| async { Ok(()) }));
        let first = reading(&named(&emulator, &store, "first"));
        let acquired = log.until(&["partition acquired", "nobody owned it"]).await;
        for part in ["INFO", "event_hub=orders", "consumer_group=$Default", "owner=first"] {
            assert!(acquired.contains(part), "{part}: {acquired}");
        }

        let second = reading(&named(&emulator, &store, "second"));
        log.until(&["INFO", "partition handed over", "owner=first", "to=second", "after="]).await;
        log.until(&["partition acquired", "owner=second", "from=first", "first had more than its share"])
            .await;
        second.stop().await;
        log.until(&["owner=second", "stopping: other instances may take the partitions first"]).await;
        log.until(&["partition acquired", "owner=first", "second offered it"]).await;
        first.stop().await;
        let third = reading(&named(&emulator, &store, "third"));
        log.until(&["partition acquired", "owner=third", "from=first", "first had released it"]).await;
        third.stop().await;
    })
    .await;
}

/// Whoever looks for what happened to a partition finds its way from owner to owner, whether its offer was taken in time or
/// not.
#[tokio::test]
async fn a_rolling_deploy_can_be_followed_from_owner_to_owner() {
    within(async {
        let log = Log::record();
        let emulator = emulator(8).await;
        let store = Arc::new(MemoryCheckpointStore::new());
        let reading = |name: &str| {
            let client = named(&emulator, &store, name);
            start(client.receive(|_, _| async { Ok(()) }).offer_timeout(Duration::from_millis(500)))
        };
        let mut running = Vec::new();
        for name in ["a-1", "b-1"] {
            running.push(reading(name));
            log.until(&["partition acquired", &format!("owner={name}")]).await;
        }
        for name in ["a-2", "b-2"] {
            running.remove(0).stop().await;
            running.push(reading(name));
            log.until(&["partition acquired", &format!("owner={name}")]).await;
        }
        for instance in running {
            instance.stop().await;
        }
        let from_nobody = log.lines(&["partition acquired", "nobody owned it"]);
        assert_eq!(from_nobody.len(), 8, "each partition once, at the start: {from_nobody:#?}");
    })
    .await;
}

#[tokio::test]
async fn lines_of_callbacks_and_hooks_carry_their_partition() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let receive = client(&emulator).receive(|_, _| async {
            tracing::info!("line of the callback");
            Err("refused".into())
        });
        let receive = receive.on_partition_initialize(|_| async {
            tracing::info!("line of the initialize hook");
            Ok(())
        });
        let receive = receive.on_partition_close(|_, _| async { tracing::info!("line of the close hook") });
        let receive = receive.on_error(|_, _| async { tracing::info!("line of the error hook") });
        let running = start(receive.starting_position(StartingPosition::Earliest).on_failure(restarting()));
        for line in ["callback", "initialize hook", "close hook", "error hook"] {
            let line = log.until(&["partition{", &format!("line of the {line}")]).await;
            for part in ["event_hub=orders", "consumer_group=$Default", "owner=", "partition=0"] {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_callback_is_logged_with_the_event_and_the_reason() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let receive = client.receive(|_, _| async { Err("the database says no".into()) });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        for part in ["(attempt 1)", "(attempt 2)"] {
            log.until(&["WARN", "the callback at sequence number 0 failed", part, "the database says no"])
                .await;
        }
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn recovery_is_a_line_too() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let seen = Seen::default();
        let receive = client_on(&emulator, Arc::clone(&store)).receive(recording(&seen));
        let running = start(receive.starting_position(StartingPosition::Earliest));
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a").await;

        store.set(Fault::Away);
        log.until(&["WARN", "the store cannot be reached"]).await;
        store.set(Fault::Nothing);
        log.until(&["INFO", "the checkpoint store answers again"]).await;

        emulator.detach_links(HUB, "amqp:not-allowed", "a test");
        log.until(&["WARN", "partition=0", "amqp:not-allowed"]).await;
        log.until(&["INFO", "partition=0", "reading again"]).await;
        running.stop().await;
    })
    .await;
}
