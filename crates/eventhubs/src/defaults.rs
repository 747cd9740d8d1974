//! The values of options that are not set.

use std::time::Duration;

use eventhubs_amqp::PartitionReceiverBuilder;
use eventhubs_load_balancer::defaults;

/// How often an instance looks at who owns what: 10 seconds. See
/// [`load_balancing_interval`](crate::ConsumerClientBuilder::load_balancing_interval).
pub const LOAD_BALANCING_INTERVAL: Duration = defaults::DEFAULT_INTERVAL;

/// How long an ownership lasts without a renewal: 60 seconds. See
/// [`partition_ownership_expiration_interval`](crate::ConsumerClientBuilder::partition_ownership_expiration_interval).
pub const PARTITION_OWNERSHIP_EXPIRATION_INTERVAL: Duration = defaults::DEFAULT_EXPIRY;

/// How many events the service may send ahead, per partition: 300. See
/// [`prefetch`](crate::Receive::prefetch).
pub const PREFETCH: u32 = PartitionReceiverBuilder::DEFAULT_PREFETCH;

/// How many bytes of events may wait in memory, per partition: 8 MiB. See
/// [`prefetch_bytes`](crate::Receive::prefetch_bytes).
pub const PREFETCH_BYTES: usize = PartitionReceiverBuilder::DEFAULT_PREFETCH_BYTES;

/// How many events one call of a batch callback gets at most: 300. See
/// [`max_batch_size`](crate::Receive::max_batch_size).
pub const MAX_BATCH_SIZE: usize = 300;

/// How often a checkpoint is written by itself where several events of a partition are handled at once: every 10
/// seconds. See [`checkpoint`](crate::Receive::checkpoint).
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// How long a run that stops offers its partitions to other instances: 12 seconds. See
/// [`offer_timeout`](crate::Receive::offer_timeout).
pub const OFFER_TIMEOUT: Duration = defaults::DEFAULT_OFFER_TIMEOUT;

/// How long a callback may still run after its partition was told to stop: 10 seconds. See
/// [`shutdown_timeout`](crate::Receive::shutdown_timeout).
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// After which time a call of the callback or of a hook counts as stalled: 5 minutes. See
/// [`stall_after`](crate::Receive::stall_after).
pub const STALL_AFTER: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::STOP_MARGIN;

    #[test]
    fn a_stop_with_the_defaults_fits_into_the_30_seconds_of_a_container() {
        assert!(OFFER_TIMEOUT + SHUTDOWN_TIMEOUT + STOP_MARGIN < Duration::from_secs(28));
    }
}
