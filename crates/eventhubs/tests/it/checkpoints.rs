use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use eventhubs::{
    CheckpointStore, ConsumerScope, ErrorKind, MemoryCheckpointStore, PartitionId, ReceivedEvent,
    StartingPosition,
};
use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, Expected, OwnershipList, Result,
};
use tokio::sync::Mutex;

use crate::support::{Seen, body, client_on, emulator, publish_to, start, within};

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
        let running = start(client.receive(move |_, event| {
            log.push(body(&event));
            async { Ok(()) }
        }));
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

/// Panics at the first few looks for a checkpoint.
#[derive(Debug, Default)]
struct Panicking {
    store: MemoryCheckpointStore,
    looks: AtomicUsize,
}

#[async_trait]
impl CheckpointStore for Panicking {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.store.list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        self.store.claim_ownership(scope, claim).await
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        self.store.list_checkpoints(scope).await
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        assert!(self.looks.fetch_add(1, Ordering::Relaxed) >= 3, "a defect of the store");
        self.store.checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.store.update_checkpoint(scope, checkpoint, expected).await
    }
}

#[tokio::test]
async fn a_store_that_panics_is_reported_and_asked_again() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a"]);
        let client = client_on(&emulator, Panicking::default());
        let seen = Seen::default();
        let (event, error) = (seen.clone(), seen.clone());
        let running = start(
            client
                .receive(move |_, received| {
                    event.push(body(&received));
                    async { Ok(()) }
                })
                .starting_position(StartingPosition::Earliest)
                .on_error(move |context, what| {
                    assert_eq!(what.kind(), ErrorKind::Handler, "{what:?}");
                    error.push(format!("error {}", context.unwrap().partition_id()));
                    async {}
                }),
        );
        seen.until_contains("a").await;
        running.stop().await;
        assert_eq!(seen.all(), ["error 0", "error 0", "error 0", "a"]);
    })
    .await;
}
