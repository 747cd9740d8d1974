//! Code of the user that blocks its thread: a stop ends all the same, and says who was left behind.

use std::sync::Arc;
use std::time::Duration;

use eventhubs::{CheckpointStore, MemoryCheckpointStore, StartingPosition};
use eventhubs_test_harness::until_async;

use crate::faulty_store::{Fault, FaultyStore, Gate};
use crate::log::Log;
use crate::support::{Seen, client_on, emulator, publish_to, record, scope, start, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_ends_though_a_callback_blocks_its_thread() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        let store = Arc::new(MemoryCheckpointStore::new());
        let seen = Seen::default();
        let log = seen.clone();
        let (gate, errors) = (Gate::default(), Seen::default());
        let _open = gate.open_at_end();
        let (block, told) = (gate.clone(), errors.clone());
        let running = start(
            client_on(&emulator, Arc::clone(&store))
                .receive(move |_, _| {
                    log.push("blocks");
                    block.wait();
                    async { Ok(()) }
                })
                .on_error(move |_, error| {
                    told.push(error.to_string());
                    async {}
                })
                .starting_position(StartingPosition::Earliest)
                .shutdown_timeout(Duration::ZERO),
        );
        seen.until_count(1).await;
        until_owned(&store, 2).await;
        running.stop().await;
        assert!(record(&store, "0").await.unwrap().owner.is_some(), "the callback is still at it");
        assert_eq!(record(&store, "1").await.unwrap().owner, None);
        assert!(errors.all()[0].contains("blocks its thread, and is abandoned"), "{:?}", errors.all());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_callback_that_blocks_its_thread_is_named() {
    within(async {
        let log = Log::record();
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let gate = Gate::default();
        let _open = gate.open_at_end();
        let block = gate.clone();
        let receive = client_on(&emulator, MemoryCheckpointStore::new()).receive(move |_, event| {
            let block = block.clone();
            async move {
                if event.sequence_number().value() == 1 {
                    block.wait();
                }
                Ok(())
            }
        });
        let receive = receive.starting_position(StartingPosition::Earliest).into_future();
        let told = log.until(&["WARN", "blocks its thread", "partition=0", "sequence_number=1", "since=5s"]);
        // In this thread, whose subscriber the test set.
        tokio::select! {
            ended = receive => panic!("{ended:?}"),
            told = told => println!("{told}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_ends_though_the_error_hook_blocks_in_the_first_look() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        store.set(Fault::Away);
        let (gate, seen) = (Gate::default(), Seen::default());
        let _open = gate.open_at_end();
        let (block, log) = (gate.clone(), seen.clone());
        let receive = client_on(&emulator, store).receive(|_, _| async { Ok(()) });
        let receive = receive.shutdown_timeout(Duration::ZERO).offer_timeout(Duration::ZERO);
        let running = start(receive.on_error(move |_, _| {
            log.push("blocks");
            block.wait();
            async {}
        }));
        seen.until_count(1).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_ends_though_the_store_blocks_in_a_round() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let receive = client_on(&emulator, Arc::clone(&store)).receive(|_, _| async { Ok(()) });
        let receive = receive.shutdown_timeout(Duration::ZERO).offer_timeout(Duration::ZERO);
        let running = start(receive);
        until_owned(&store, 1).await;
        let gate = Gate::default();
        let _open = gate.open_at_end();
        store.block_lists_at(gate.clone());
        until("a listing blocks", || gate.is_waited_at()).await;
        running.stop().await;
    })
    .await;
}

async fn until_owned(store: &impl CheckpointStore, count: usize) {
    let owned = async || {
        let list = store.list_ownership(&scope()).await.unwrap();
        list.records.iter().filter(|record| record.owner.is_some()).count() == count
    };
    until_async(format!("{count} partitions are owned"), owned).await;
}
