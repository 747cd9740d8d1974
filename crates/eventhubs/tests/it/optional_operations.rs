//! Promise: what a store can do beyond the required calls is used: several claims in one call, fences, hints.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventhubs::store::{
    Audience, BoxStream, Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, Expected, FenceToken, Fenced,
    Hint, OwnershipList, Result,
};
use eventhubs::{
    CheckpointStore, ConsumerClient, ConsumerScope, ErrorKind, MemoryCheckpointStore, PartitionId,
    StartingPosition,
};
use futures::StreamExt as _;
use futures::channel::mpsc;

use crate::support::{
    HUB, Seen, body, client_on, emulator, publish_to, recording, scope, start, until, within,
};

/// A store in memory that counts fences and the claims of each call, and whose hints come from the test.
#[derive(Debug, Default)]
struct Capable {
    store: MemoryCheckpointStore,
    fences: AtomicI64,
    calls: Mutex<Vec<usize>>,
    lists: AtomicI64,
    watchers: Mutex<Vec<mpsc::Sender<Hint>>>,
}

impl Capable {
    fn hint(&self, hint: &Hint) {
        for watcher in &*self.watchers.lock().unwrap() {
            watcher.clone().try_send(hint.clone()).unwrap();
        }
    }

    async fn write(&self, owner: Option<&str>, expected: Expected) -> Expected {
        let claim = Claim::new("0".parse().unwrap(), owner.map(|id| id.parse().unwrap()), expected);
        match self.store.claim_ownership(&scope(), &claim).await {
            ClaimOutcome::Won(record) => Expected::Version(record.version),
            outcome => panic!("{outcome:?}"),
        }
    }
}

#[async_trait]
impl CheckpointStore for Capable {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let listed = self.store.list_ownership(scope).await;
        self.lists.fetch_add(1, Ordering::Relaxed);
        listed
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        self.store.claim_ownership(scope, claim).await
    }

    fn max_claims(&self) -> usize {
        100
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        self.calls.lock().unwrap().push(claims.len());
        self.store.claim_all(scope, claims).await
    }

    async fn fence(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Fenced> {
        let token = FenceToken::new(self.fences.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(Fenced::new(self.store.checkpoint(scope, partition).await?, Some(token)))
    }

    fn watch(&self, _scope: &ConsumerScope) -> BoxStream<'static, Hint> {
        let (watcher, hints) = mpsc::channel(16);
        self.watchers.lock().unwrap().push(watcher);
        hints.boxed()
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
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

/// A run that notes each event's body with the fence of its transactional checkpoint, as in `a 1`.
fn noting_fences(client: &ConsumerClient, seen: &Seen) -> eventhubs::Receive<eventhubs::receive::Events> {
    let log = seen.clone();
    let receive = client.receive(move |context, event| {
        let log = log.clone();
        async move {
            let checkpoint = context.transactional_checkpoint(&event)?;
            assert_eq!(
                (&checkpoint.offset, checkpoint.sequence_number),
                (event.offset(), event.sequence_number())
            );
            log.push(format!("{} {}", body(&event), checkpoint.token.value()));
            context.update_checkpoint(&event).await?;
            Ok(())
        }
    });
    receive.starting_position(StartingPosition::Earliest)
}

#[tokio::test]
async fn each_ownership_takes_one_fence_however_often_it_is_reopened() {
    within(async {
        let (emulator, store, seen) = (emulator(1).await, Arc::new(Capable::default()), Seen::default());
        publish_to(&emulator, "0", &["a"]);
        let running = start(noting_fences(&client_on(&emulator, Arc::clone(&store)), &seen));
        seen.until_contains("a 1").await;
        emulator.detach_links(HUB, "amqp:not-allowed", "a test");
        publish_to(&emulator, "0", &["b"]);
        seen.until_contains("b 1").await;
        running.stop().await;
        publish_to(&emulator, "0", &["c"]);
        let running = start(noting_fences(&client_on(&emulator, Arc::clone(&store)), &seen));
        seen.until_contains("c 2").await;
        running.stop().await;
        assert_eq!(seen.all(), ["a 1", "b 1", "c 2"]);
    })
    .await;
}

#[tokio::test]
async fn a_store_without_fences_has_no_transactional_checkpoints() {
    within(async {
        let (emulator, seen) = (emulator(1).await, Seen::default());
        publish_to(&emulator, "0", &["a"]);
        let log = seen.clone();
        let client = client_on(&emulator, MemoryCheckpointStore::new());
        let receive = client.receive(move |context, event| {
            let error = context.transactional_checkpoint(&event).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            log.push(error.to_string());
            async { Err(error.into()) }
        });
        let ended = receive.starting_position(StartingPosition::Earliest).await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::InvalidArgument, "no other event would get one either");
        assert_eq!(seen.count(), 1);
        assert!(seen.all()[0].contains("store: it has no transactional checkpoints"), "{:?}", seen.all());
    })
    .await;
}

#[tokio::test]
async fn the_claims_of_a_round_go_to_the_store_in_one_call() {
    within(async {
        let (emulator, store, seen) = (emulator(8).await, Arc::new(Capable::default()), Seen::default());
        for partition in 0..8 {
            publish_to(&emulator, &partition.to_string(), &["event"]);
        }
        let client = client_on(&emulator, Arc::clone(&store));
        let running = start(client.receive(recording(&seen)).starting_position(StartingPosition::Earliest));
        seen.until_count(8).await;
        running.stop().await;
        let calls = store.calls.lock().unwrap().clone();
        assert!(calls.contains(&8), "the release of all, at the latest: {calls:?}");
    })
    .await;
}

/// The next round is minutes away, and a test that waits for it fails.
#[tokio::test]
async fn a_hint_of_the_store_brings_the_next_round_forward() {
    within(async {
        let (emulator, store, seen) = (emulator(1).await, Arc::new(Capable::default()), Seen::default());
        publish_to(&emulator, "0", &["a"]);
        let held = store.write(Some("another SDK"), Expected::Absent).await;
        let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
            .checkpoint_store(Arc::clone(&store))
            .load_balancing_interval(Duration::from_secs(1_000))
            .partition_ownership_expiration_interval(Duration::from_secs(6_000))
            .build()
            .unwrap();
        let running = start(client.receive(recording(&seen)).starting_position(StartingPosition::Earliest));
        until("the first round has found nothing", || store.lists.load(Ordering::Relaxed) >= 2).await;
        store.write(None, held).await;
        let hint = Hint::new("0".parse().unwrap(), Audience::Everyone);
        store.hint(&hint);
        seen.until_contains("a").await;
        running.stop().await;
    })
    .await;
}
