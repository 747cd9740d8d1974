//! What an operator reads: the spans, which every line is in, and one line for each move of a partition.
//!
//! The names and fields are part of what users see. `docs/logs.md` lists them, and `cargo xtask tidy` keeps
//! that list equal to the sources.

use eventhubs_load_balancer::{LossReason, Origin};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId, StartingPosition};
use tracing::{Span, info, info_span};

/// Around everything that happens in one call of `receive`.
pub(crate) fn run_span(scope: &ConsumerScope, owner: &OwnerId) -> Span {
    info_span!(
        "receive",
        event_hub = %scope.event_hub,
        consumer_group = %scope.consumer_group,
        %owner,
    )
}

/// Around everything that happens for one partition, the callbacks included.
pub(crate) fn partition_span(scope: &ConsumerScope, owner: &OwnerId, partition: &PartitionId) -> Span {
    info_span!(
        parent: None,
        "partition",
        event_hub = %scope.event_hub,
        consumer_group = %scope.consumer_group,
        %owner,
        %partition,
    )
}

pub(crate) fn acquired(partition: &PartitionId, origin: Option<&Origin>) {
    let reason = origin.unwrap_or(&Origin::Own);
    let from = reason.owner().map(tracing::field::display);
    info!(%partition, from, %reason, "partition acquired");
}

pub(crate) fn lost(partition: &PartitionId, reason: LossReason, to: Option<&OwnerId>) {
    let to = to.map(tracing::field::display);
    info!(%partition, ?reason, to, "partition lost");
}

pub(crate) fn asked(partition: &PartitionId, to: Option<&OwnerId>) {
    let to = to.map(tracing::field::display);
    info!(%partition, to, "handing the partition over");
}

pub(crate) fn reading(position: &StartingPosition) {
    info!(?position, "reading begins");
}
