//! A store in memory that fails as a test tells it to.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use eventhubs::{CheckpointStore, ConsumerScope, MemoryCheckpointStore, PartitionId};
use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, Claim, ClaimOutcome, Error, ErrorKind, Expected, OwnershipList, Result,
};

/// What a call meets before it reaches the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    Nothing,
    Away,
    Hangs,
}

#[derive(Debug, Default)]
pub(crate) struct FaultyStore {
    store: MemoryCheckpointStore,
    fault: Mutex<Fault>,
    panics: Mutex<usize>,
    lists_block_at: Mutex<Option<Gate>>,
    writes: AtomicUsize,
}

/// What blocks the thread that waits for it until the test opens it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

pub(crate) struct OpensAtEnd(Gate);

impl Drop for OpensAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[derive(Debug, Default)]
struct GateState {
    is_open: bool,
    is_waited_at: bool,
}

impl Gate {
    pub(crate) fn wait(&self) {
        let (state, opened) = &*self.0;
        let mut state = state.lock().unwrap();
        state.is_waited_at = true;
        drop(opened.wait_while(state, |state| !state.is_open).unwrap());
    }

    pub(crate) fn is_waited_at(&self) -> bool {
        self.0.0.lock().unwrap().is_waited_at
    }

    /// Opens when it is dropped: a test that fails must not hang with its runtime.
    pub(crate) fn open_at_end(&self) -> OpensAtEnd {
        OpensAtEnd(self.clone())
    }

    fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }
}

impl FaultyStore {
    /// A store that panics at the first looks for a checkpoint.
    pub(crate) fn panicking(looks: usize) -> Self {
        Self { panics: Mutex::new(looks), ..Self::default() }
    }

    /// How many checkpoints were written.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// From now on listings block their thread until the gate is open.
    pub(crate) fn block_lists_at(&self, gate: Gate) {
        *self.lists_block_at.lock().unwrap() = Some(gate);
    }

    async fn meet(&self) -> Result<()> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::Nothing => Ok(()),
            Fault::Away => Err(Error::new(ErrorKind::Unavailable, "the test says so")),
            Fault::Hangs => pending().await,
        }
    }

    fn panic_if_told(&self) {
        let mut left = self.panics.lock().unwrap();
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            drop(left);
            panic!("a defect of the store");
        }
    }
}

#[async_trait]
impl CheckpointStore for FaultyStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        self.meet().await?;
        let gate = self.lists_block_at.lock().unwrap().clone();
        gate.iter().for_each(Gate::wait);
        self.store.list_ownership(scope).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        match self.meet().await {
            Ok(()) => self.store.claim_ownership(scope, claim).await,
            Err(error) => ClaimOutcome::Failed(error),
        }
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        self.panic_if_told();
        self.meet().await?;
        self.store.checkpoint(scope, partition).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        self.meet().await?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.update_checkpoint(scope, checkpoint, expected).await
    }
}
