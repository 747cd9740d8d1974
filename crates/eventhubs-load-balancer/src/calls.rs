//! Calls to the store, bounded in time and in number.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{
    CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, OwnershipList, Result,
};
use eventhubs_types::ConsumerScope;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::Operation;

/// The most claims that one balancer has in flight at a time.
pub const MAX_IN_FLIGHT: usize = 16;

/// The store, called within limits.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) scope: ConsumerScope,
    pub(crate) list_limit: Duration,
    pub(crate) claim_limit: Duration,
}

/// A listing in the order of the partition ids, and when it was asked for and answered.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) list: OwnershipList,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

/// A claim, and what it is for.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) operation: Operation,
    pub(crate) claim: Claim,
}

/// What became of an attempt that was begun at this time.
#[derive(Debug)]
pub(crate) struct Attempted {
    pub(crate) attempt: Attempt,
    pub(crate) begun: Instant,
    /// `None` if the deadline had passed before the claim was sent.
    pub(crate) outcome: Option<ClaimOutcome>,
}

impl Calls {
    pub(crate) async fn list(&self, deadline: Instant) -> Result<Listing> {
        let asked = Instant::now();
        let limit = deadline.min(asked + self.list_limit);
        let list = timeout_at(limit, self.store.list_ownership(&self.scope)).await;
        let mut list = list.unwrap_or_else(|_| Err(timeout(limit - asked)))?;
        let answered = Instant::now();
        list.records.sort_by(|one, other| one.partition.cmp(&other.partition));
        Ok(Listing { list, asked, answered })
    }

    /// Sends the claims in their order, a few at a time, and gives each outcome as it comes.
    pub(crate) fn attempt_all(
        &self,
        attempts: Vec<Attempt>,
        deadline: Instant,
    ) -> impl Stream<Item = Attempted> {
        stream::iter(attempts)
            .map(move |attempt| self.attempt(attempt, deadline))
            .buffer_unordered(MAX_IN_FLIGHT)
    }

    async fn attempt(&self, attempt: Attempt, deadline: Instant) -> Attempted {
        let begun = Instant::now();
        // A call is polled once before its limit counts, so it would reach the store.
        if begun >= deadline {
            return Attempted { attempt, begun, outcome: None };
        }
        let limit = deadline.min(begun + self.claim_limit);
        let outcome = timeout_at(limit, self.store.claim_ownership(&self.scope, &attempt.claim)).await;
        let outcome = outcome.unwrap_or_else(|_| ClaimOutcome::Failed(timeout(limit - begun)));
        Attempted { attempt, begun, outcome: Some(outcome) }
    }
}

fn timeout(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}"))
}
