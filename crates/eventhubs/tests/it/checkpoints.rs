//! Checkpoints: forward only, only of events that were delivered, only while owned, and not lost to an outage
//! of the store.

use std::sync::Arc;

use eventhubs::{
    CheckpointStore, ConsumerClient, ErrorKind, MemoryCheckpointStore, ReceivedEvent, SequenceNumber,
    StartingPosition,
};
use eventhubs_emulator::Emulator;
use tokio::sync::Mutex;

use crate::faulty_store::{Fault, FaultyStore};
use crate::support::{
    Seen, body, checkpointing, client_on, emulator, publish_to, recording, scope, start, within,
};

#[tokio::test]
async fn a_checkpoint_in_the_close_hook_is_where_the_next_run_goes_on() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let seen = Seen::default();
        for expected in [["a", "b"].as_slice(), ["a", "b", "c"].as_slice()] {
            let (log, last) = (seen.clone(), Arc::new(Mutex::new(None::<ReceivedEvent>)));
            let kept = Arc::clone(&last);
            let running = start(
                client
                    .receive(move |_, event| {
                        let kept = Arc::clone(&kept);
                        log.push(body(&event));
                        async move {
                            *kept.lock().await = Some(event);
                            Ok(())
                        }
                    })
                    .starting_position(StartingPosition::Earliest)
                    .on_partition_close(move |context, _| {
                        let last = Arc::clone(&last);
                        async move {
                            let last = last.lock().await;
                            context.update_checkpoint(last.as_ref().unwrap()).await.unwrap();
                        }
                    }),
            );
            seen.until_count(expected.len()).await;
            running.stop().await;
            assert_eq!(seen.all(), expected);
            publish_to(&emulator, "0", &["c"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_never_moves_backward() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let store = Arc::new(MemoryCheckpointStore::new());
        let client = client_on(&emulator, Arc::clone(&store));
        let seen = Seen::default();
        let (log, first) = (seen.clone(), Arc::new(Mutex::new(None)));
        let running = start(
            client
                .receive(move |context, event| {
                    let (log, first) = (log.clone(), Arc::clone(&first));
                    async move {
                        let mut first = first.lock().await;
                        let first = first.get_or_insert_with(|| event.clone());
                        context.update_checkpoint(&event).await?;
                        context.update_checkpoint(first).await?;
                        log.push(body(&event));
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_contains("c").await;
        running.stop().await;

        let again = Seen::default();
        let log = again.clone();
        let running = start(client.receive(recording(&log)));
        publish_to(&emulator, "0", &["d"]);
        again.until_contains("d").await;
        running.stop().await;
        assert_eq!(again.all(), ["d"], "the last checkpoint was that of `c`");
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_is_refused_once_the_partition_is_lost_or_closed() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let kept = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&kept);
        let seen = Seen::default();
        let log = seen.clone();
        let running = start(
            client
                .receive(move |context, event| {
                    let (keep, log) = (Arc::clone(&keep), log.clone());
                    async move {
                        *keep.lock().await = Some((context, event));
                        log.push("kept");
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_count(1).await;
        let (context, event) = kept.lock().await.take().unwrap();
        context.update_checkpoint(&event).await.unwrap();
        running.stop().await;
        let error = context.update_checkpoint(&event).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnershipLost);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_panics_is_reported_and_asked_again() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let client = client_on(&emulator, FaultyStore::panicking(3));
        let seen = Seen::default();
        let error = seen.clone();
        let running =
            start(client.receive(recording(&seen)).starting_position(StartingPosition::Earliest).on_error(
                move |context, what| {
                    assert_eq!(what.kind(), ErrorKind::Store, "{what:?}");
                    error.push(format!("error {}", context.unwrap().partition_id()));
                    async {}
                },
            ));
        seen.until_contains("a").await;
        running.stop().await;
        assert_eq!(seen.all(), ["error 0", "error 0", "error 0", "a"]);
    })
    .await;
}

#[tokio::test]
async fn an_outage_of_the_store_neither_stops_reading_nor_repeats_events() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let seen = Seen::default();
        let (log, errors) = (seen.clone(), Seen::default());
        let told = errors.clone();
        let running = start(
            client_on(&emulator, Arc::clone(&store))
                // What README's program does.
                .receive(move |context, event| {
                    let log = log.clone();
                    async move {
                        log.push(body(&event));
                        context.update_checkpoint(&event).await?;
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest)
                .on_error(move |context, error| {
                    if context.is_some() {
                        told.push(format!("{:?}", error.kind()));
                    }
                    async {}
                }),
        );
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a").await;
        store.set(Fault::Away);
        publish_to(&emulator, "0", &["b", "c", "d"]);
        seen.until_contains("d").await;
        store.set(Fault::Nothing);
        until_checkpoint(&store, 3).await;
        running.stop().await;
        assert_eq!(seen.all(), ["a", "b", "c", "d"]);
        assert_eq!(errors.all(), ["Store"], "an outage is told once");
    })
    .await;
}

#[tokio::test]
async fn a_store_that_hangs_holds_up_one_callback_and_no_more() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let seen = Seen::default();
        let running = start(checkpointing(&client_on(&emulator, Arc::clone(&store)), &seen));
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a Written").await;
        store.set(Fault::Hangs);
        publish_to(&emulator, "0", &["b", "c"]);
        seen.until_contains("c Pending").await;
        store.set(Fault::Nothing);
        until_checkpoint(&store, 2).await;
        running.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_pending_checkpoint_is_written_before_the_partition_is_given_back() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let seen = Seen::default();
        let (log, back) = (seen.clone(), Arc::clone(&store));
        let running = start(
            client_on(&emulator, Arc::clone(&store))
                .receive(move |context, event| {
                    let (log, store) = (log.clone(), Arc::clone(&back));
                    async move {
                        store.set(Fault::Away);
                        let status = context.update_checkpoint(&event).await?;
                        store.set(Fault::Nothing);
                        log.push(format!("{status:?}"));
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("Pending").await;
        running.stop().await;
        assert_eq!(checkpoint(&store).await, Some(0));
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_partition_is_no_checkpoint() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a"]);
        publish_to(&emulator, "1", &["b", "c", "d"]);
        let store = Arc::new(MemoryCheckpointStore::new());
        let (seen, first) = (Seen::default(), Arc::new(Mutex::new(None::<ReceivedEvent>)));
        let log = seen.clone();
        let running = start(
            client_on(&emulator, store)
                .receive(move |context, event| {
                    let (log, first) = (log.clone(), Arc::clone(&first));
                    async move {
                        let first = first.lock().await.get_or_insert_with(|| event.clone()).clone();
                        if first.partition_id() != event.partition_id() {
                            // Its number is low enough for every partition.
                            let refused = context.update_checkpoint(&first).await.unwrap_err();
                            log.push(format!("{:?}", refused.kind()));
                        }
                        Ok(())
                    }
                })
                .starting_position(StartingPosition::Earliest),
        );
        seen.until_contains("InvalidArgument").await;
        running.stop().await;
    })
    .await;
}

async fn checkpoint(store: &impl CheckpointStore) -> Option<i64> {
    let checkpoint = store.checkpoint(&scope(), &"0".parse().unwrap()).await.unwrap();
    checkpoint.and_then(|checkpoint| checkpoint.sequence_number).map(SequenceNumber::value)
}

async fn until_checkpoint(store: &impl CheckpointStore, number: i64) {
    while checkpoint(store).await != Some(number) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stop_during_an_outage_waits_for_the_store_and_writes_the_checkpoint() {
    within(async {
        let emulator = emulator(1).await;
        let store = Arc::new(FaultyStore::default());
        let seen = Seen::default();
        let closed = seen.clone();
        let receive = checkpointing(&client_on(&emulator, Arc::clone(&store)), &seen);
        let running = start(receive.on_partition_close(move |_, _| {
            closed.push("closing");
            async {}
        }));
        publish_to(&emulator, "0", &["a"]);
        seen.until_contains("a Written").await;
        store.set(Fault::Away);
        publish_to(&emulator, "0", &["b"]);
        seen.until_contains("b Pending").await;
        let (stopped, ()) = tokio::join!(tokio::spawn(running.stop()), async {
            seen.until_contains("closing").await;
            store.set(Fault::Nothing);
        });
        stopped.unwrap();
        assert_eq!(checkpoint(&store).await, Some(1));
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_event_hub_is_no_checkpoint() {
    within(async {
        let emulator = emulator(1).await;
        emulator.create_event_hub("other", 1, [""; 0]).unwrap();
        emulator.publish_to("other", "0", ["first"]).unwrap();
        publish_to(&emulator, "0", &["a", "b"]);
        let foreign = first_event(&emulator, "other").await;
        let seen = Seen::default();
        let log = seen.clone();
        let receive = client_on(&emulator, MemoryCheckpointStore::new()).receive(move |context, event| {
            let (log, foreign) = (log.clone(), foreign.clone());
            async move {
                let refused = context.update_checkpoint(&foreign).await.unwrap_err();
                log.push(format!("{} {:?}", body(&event), refused.kind()));
                Ok(())
            }
        });
        let running = start(receive.starting_position(StartingPosition::Earliest));
        seen.until_contains("b InvalidArgument").await;
        running.stop().await;
    })
    .await;
}

async fn first_event(emulator: &Emulator, event_hub: &str) -> ReceivedEvent {
    let (found, mut first) = tokio::sync::mpsc::channel(1);
    let client = ConsumerClient::builder(emulator.connection_string(event_hub), "$Default");
    let receive = client.build().unwrap().receive(move |_, event| {
        let found = found.clone();
        async move {
            found.send(event).await?;
            Ok(())
        }
    });
    let running = start(receive.starting_position(StartingPosition::Earliest));
    let event = first.recv().await.unwrap();
    running.stop().await;
    event
}
