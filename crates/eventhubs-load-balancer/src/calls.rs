//! Calls to the store, bounded in time and in number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{
    CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, OwnershipList, Result,
};
use eventhubs_types::ConsumerScope;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::Operation;

/// The most calls with claims that one balancer has in flight at a time.
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

    /// Sends the claims in their order, as many in one call as the store takes and a few calls at a time, and
    /// gives each outcome as it comes.
    pub(crate) fn attempt_all(
        &self,
        attempts: Vec<Attempt>,
        deadline: Instant,
    ) -> impl Stream<Item = Attempted> {
        stream::iter(calls_of(attempts, self.store.max_claims()))
            .map(move |attempts| self.attempt(attempts, deadline))
            .buffer_unordered(MAX_IN_FLIGHT)
            .flat_map(stream::iter)
    }

    async fn attempt(&self, attempts: Vec<Attempt>, deadline: Instant) -> Vec<Attempted> {
        let begun = Instant::now();
        // A call is polled once before its limit counts, so it would reach the store.
        if begun >= deadline {
            let unsent = |attempt| Attempted { attempt, begun, outcome: None };
            return attempts.into_iter().map(unsent).collect();
        }
        let limit = deadline.min(begun + self.claim_limit);
        let claims: Vec<_> = attempts.iter().map(|attempt| attempt.claim.clone()).collect();
        let outcomes = timeout_at(limit, self.store.claim_all(&self.scope, &claims)).await;
        let mut outcomes = outcomes.ok().map(Vec::into_iter);
        let mut outcome = || match &mut outcomes {
            Some(outcomes) => outcomes.next().unwrap_or_else(|| ClaimOutcome::Failed(unanswered())),
            None => ClaimOutcome::Failed(timeout(limit - begun)),
        };
        attempts.into_iter().map(|attempt| Attempted { attempt, begun, outcome: Some(outcome()) }).collect()
    }
}

/// Splits the attempts into calls of at most `max` claims on different partitions, as a store may take for granted.
fn calls_of(attempts: Vec<Attempt>, max: usize) -> Vec<Vec<Attempt>> {
    let mut calls: Vec<Vec<Attempt>> = Vec::new();
    let mut partitions = BTreeSet::new();
    for attempt in attempts {
        let is_new = partitions.insert(attempt.claim.partition.clone());
        if let Some(call) = calls.last_mut().filter(|call| is_new && call.len() < max) {
            call.push(attempt);
        } else {
            partitions = BTreeSet::from([attempt.claim.partition.clone()]);
            calls.push(vec![attempt]);
        }
    }
    calls
}

/// A store answers each claim. One that does not may have applied the claim all the same.
fn unanswered() -> Error {
    Error::new(ErrorKind::Protocol, "the store gave fewer outcomes than there were claims")
}

fn timeout(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}"))
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::Expected;

    use super::*;

    fn attempt(partition: &str) -> Attempt {
        let partition: eventhubs_types::PartitionId = partition.parse().unwrap();
        let claim = Claim::new(partition.clone(), None, Expected::Absent);
        Attempt { operation: Operation::Claim(partition), claim }
    }

    fn calls(partitions: &[&str], max: usize) -> Vec<Vec<String>> {
        let calls = calls_of(partitions.iter().map(|partition| attempt(partition)).collect(), max);
        let partitions =
            |call: Vec<Attempt>| call.iter().map(|attempt| attempt.claim.partition.to_string()).collect();
        calls.into_iter().map(partitions).collect()
    }

    #[test]
    fn a_call_has_at_most_as_many_claims_as_the_store_takes() {
        assert_eq!(calls(&["a", "b", "c"], 2), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(calls(&["a", "b"], 1), [["a"], ["b"]]);
        assert_eq!(calls(&["a", "b"], 0), [["a"], ["b"]], "a store that takes none would stop all rounds");
        assert!(calls(&[], 2).is_empty());
    }

    /// An answer to another owner and a steal may be of the same partition: the second must see the first.
    #[test]
    fn a_partition_is_at_most_once_in_a_call() {
        assert_eq!(calls(&["a", "b", "a", "b", "c"], 9), [vec!["a", "b"], vec!["a", "b", "c"]]);
    }
}
