//! What a round reports: acquired, lost, asked for, and what failed.

use std::collections::BTreeMap;
use std::fmt;

use eventhubs_checkpoint_store::{Error, RejectedRecord};
use eventhubs_types::{OwnerId, PartitionId};

/// What a round changed, and what went wrong in it.
///
/// Apply `lost` before `acquired`: a partition may be lost and won back in the same round, and then has to
/// start again from its checkpoint.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Round {
    /// Partitions to stop reading.
    pub lost: Vec<(PartitionId, LossReason)>,
    /// Partitions to start reading.
    pub acquired: Vec<PartitionId>,
    /// Partitions that another instance took and waits for: let their readers end what they are at and write
    /// their checkpoints, then call [`Balancer::hand_over`](crate::Balancer::hand_over). It waits for a
    /// limited time.
    pub asked: Vec<PartitionId>,
    /// Where each of the acquired partitions came from.
    pub origins: BTreeMap<PartitionId, Origin>,
    /// Who has what was lost to another owner, or is asked for.
    pub takers: BTreeMap<PartitionId, OwnerId>,
    /// A partition that this instance may own and another live one does, with that owner; the first of them, as of
    /// the listing at the beginning of the round. What is offered by its owner does not count.
    pub held_elsewhere: Option<(PartitionId, OwnerId)>,
    /// Calls of the store that failed. The next round tries again, so nothing has to be done but to tell.
    pub failures: Vec<Failure>,
    /// Ownership records that could not be read. They are taken for missing.
    pub rejected: Vec<RejectedRecord>,
    /// Another live process owns partitions under the id of this one, and this one began later: stop reading,
    /// release nothing, and end. Two writes of the other one have to be seen first, so it takes a few rounds.
    pub is_owner_taken: bool,
}

impl Round {
    pub(crate) fn fail(&mut self, operation: Operation, error: Error) {
        self.failures.push(Failure { operation, error });
    }
}

/// Where a partition that was acquired came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody owned it.
    Unowned,
    /// This one had it last, and released it.
    Released(OwnerId),
    /// Its owner had not renewed it in time.
    Expired(OwnerId),
    /// Its owner offered it, because it stops.
    Offered(OwnerId),
    /// Its owner had more than its share.
    Stolen(OwnerId),
    /// Its record names this instance already.
    Own,
}

impl Origin {
    /// The owner before; `None` where there was none, or this instance itself.
    pub fn owner(&self) -> Option<&OwnerId> {
        match self {
            Self::Released(owner) | Self::Expired(owner) | Self::Offered(owner) | Self::Stolen(owner) => {
                Some(owner)
            }
            Self::Unowned | Self::Own => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unowned => f.write_str("nobody owned it"),
            Self::Released(owner) => write!(f, "{owner} had released it"),
            Self::Expired(owner) => write!(f, "the lease of {owner} had expired"),
            Self::Offered(owner) => write!(f, "{owner} offered it"),
            Self::Stolen(owner) => write!(f, "{owner} had more than its share"),
            Self::Own => f.write_str("it was its own before"),
        }
    }
}

/// Why a partition is no longer owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// Another owner wrote its record.
    Taken,
    /// The lease could not be renewed in time, so that another instance may take the partition at any moment.
    Expired,
    /// The event hub has no such partition any more.
    Gone,
}

/// One thing that failed in a round.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What was tried.
    pub operation: Operation,
    /// Why it failed.
    pub error: Error,
}

impl Failure {
    /// What was tried, and why it failed.
    pub fn new(operation: Operation, error: Error) -> Self {
        Self { operation, error }
    }
}

/// What was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// To list the ownership records.
    ListOwnership,
    /// To renew the ownership of a partition. It is kept until its lease runs out.
    Renew(PartitionId),
    /// To take a partition. Whether it was taken shows in the next round.
    Claim(PartitionId),
    /// To release a partition. Others may have to wait for its expiry.
    Release(PartitionId),
    /// To tell the new owner of a partition that its reader here has ended. It continues without this
    /// message, a little later.
    HandOver(PartitionId),
    /// To send all claims before the round had to end.
    Round,
}

/// How many claims had an outcome, by operation (`renew`, `claim`, `steal`, `release`, `hand_over`) and outcome (`won`,
/// `lost`, `failed`).
pub type ClaimCounts = BTreeMap<(&'static str, &'static str), u64>;

impl Operation {
    /// The name in snake case; `is_steal` tells a claim of what another owner has.
    pub(crate) fn name(&self, is_steal: bool) -> &'static str {
        match self {
            Self::ListOwnership => "list_ownership",
            Self::Renew(_) => "renew",
            Self::Claim(_) if is_steal => "steal",
            Self::Claim(_) => "claim",
            Self::Release(_) => "release",
            Self::HandOver(_) => "hand_over",
            Self::Round => "round",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListOwnership => f.write_str("list ownership"),
            Self::Renew(partition) => write!(f, "renew partition {partition}"),
            Self::Claim(partition) => write!(f, "claim partition {partition}"),
            Self::Release(partition) => write!(f, "release partition {partition}"),
            Self::HandOver(partition) => write!(f, "hand over partition {partition}"),
            Self::Round => f.write_str("send all claims of a round"),
        }
    }
}
