//! Puts a store of one's own around another: it counts the checkpoints. A whole store implements the same four methods.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventhubs::store::{
    Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, Expected, OwnershipList, Result, async_trait,
};
use eventhubs::{
    CheckpointStore, ConsumerClient, ConsumerScope, MemoryCheckpointStore, PartitionId, StartingPosition,
};
use tokio::sync::Semaphore;

#[derive(Debug, Default)]
struct CountingStore {
    inner: MemoryCheckpointStore,
    checkpoints: AtomicUsize,
}

#[async_trait]
impl CheckpointStore for CountingStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.inner.list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        self.inner.claim_ownership(scope, claim).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        new: &Checkpoint,
        old: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.inner.update_checkpoint(scope, new, old).await
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.inner.checkpoint(scope, partition).await
    }
}

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 3).await?;
    let (store, handled) = (Arc::new(CountingStore::default()), Arc::new(Semaphore::new(0)));
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default");
    let count = Arc::clone(&handled);
    let receive = client.checkpoint_store(Arc::clone(&store)).build()?.receive(move |context, event| {
        let count = Arc::clone(&count);
        async move {
            context.update_checkpoint(&event).await?;
            count.add_permits(1);
            Ok(())
        }
    });
    let stop = async move { handled.acquire_many(3).await.map(drop) };
    receive.starting_position(StartingPosition::Earliest).with_graceful_shutdown(stop).await?;
    println!("{} checkpoints were written", store.checkpoints.load(Ordering::Relaxed));
    Ok(())
}
