//! The options of one run, and what is wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use eventhubs_amqp::PartitionReceiverBuilder;
use eventhubs_types::{PartitionId, StartingPosition};

use crate::defaults;
use crate::invalid_position::InvalidPosition;
use crate::policy::checkpoints::CheckpointPolicy;
use crate::policy::concurrency::Concurrency;
use crate::policy::failure::FailurePolicy;
use crate::policy::until::Until;

/// The options of one call of `receive`.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) partition: Option<PartitionId>,
    pub(crate) starting_position: StartingPosition,
    pub(crate) starting_positions: BTreeMap<PartitionId, StartingPosition>,
    pub(crate) owner_level: Option<i64>,
    pub(crate) prefetch: u32,
    pub(crate) prefetch_bytes: usize,
    pub(crate) invalid_position: InvalidPosition,
    pub(crate) track_last_enqueued: bool,
    pub(crate) max_wait_time: Option<Duration>,
    pub(crate) max_batch_size: usize,
    pub(crate) min_batch_size: usize,
    pub(crate) offer_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) failure: FailurePolicy,
    pub(crate) deadline: Option<Duration>,
    pub(crate) stall_after: Duration,
    pub(crate) checkpoints: Option<CheckpointPolicy>,
    pub(crate) concurrency: Concurrency,
    pub(crate) until: Option<Until>,
}

impl Options {
    /// A partition without a position of its own takes the common one (docs/contract.md §7.7).
    pub(crate) fn starting_position(&self, partition: &PartitionId) -> &StartingPosition {
        self.starting_positions.get(partition).unwrap_or(&self.starting_position)
    }

    /// A fleet always reads exclusively; a single reader only if it asks to (docs/contract.md §12, traps 8
    /// and 9).
    pub(crate) fn owner_level(&self) -> Option<i64> {
        self.owner_level.or_else(|| self.partition.is_none().then_some(0))
    }

    /// When checkpoints are written by themselves. Who handles several events of a partition at once cannot know what
    /// may be written, so that the policy has to.
    pub(crate) fn checkpoints(&self) -> Option<CheckpointPolicy> {
        let is_needed = self.concurrency.is_used();
        self.checkpoints.or_else(|| is_needed.then(|| CheckpointPolicy::every(defaults::CHECKPOINT_INTERVAL)))
    }

    /// What cannot be used as it is, if anything, with the name of the option.
    pub(crate) fn mistake(&self) -> Option<String> {
        if let Some(option) = self.zero() {
            return Some(format!("{option} must be more than zero"));
        }
        if self.prefetch > PartitionReceiverBuilder::MAX_PREFETCH {
            return Some(format!("prefetch must be at most {}", PartitionReceiverBuilder::MAX_PREFETCH));
        }
        if self.min_batch_size > self.max_batch_size {
            return Some(format!(
                "min_batch_size must be at most max_batch_size, which is {}",
                self.max_batch_size
            ));
        }
        if self.min_batch_size > 1 && self.max_wait_time.is_none() {
            return Some("min_batch_size needs a max_wait_time, or a call could wait forever".to_owned());
        }
        if let Some(mistake) = self.concurrency.mistake() {
            return Some(mistake.to_owned());
        }
        self.until.as_ref().and_then(|until| until.mistake(self.partition.as_ref()))
    }

    /// The first option that must not be zero and is.
    fn zero(&self) -> Option<&'static str> {
        match self {
            Self { prefetch: 0, .. } => Some("prefetch"),
            Self { max_batch_size: 0, .. } => Some("max_batch_size"),
            Self { min_batch_size: 0, .. } => Some("min_batch_size"),
            Self { max_wait_time: Some(Duration::ZERO), .. } => Some("max_wait_time"),
            Self { deadline: Some(Duration::ZERO), .. } => Some("deadline"),
            Self { stall_after: Duration::ZERO, .. } => Some("stall_after"),
            _ => self.failure.mistake().or_else(|| self.checkpoints.and_then(|policy| policy.mistake())),
        }
    }
}
