//! What an operator reads: the spans, which every line is in, and one line for each move of a partition.
//!
//! The names and fields are part of what users see. `docs/logs.md` lists them, and `cargo xtask tidy` keeps
//! that list equal to the sources.

use eventhubs_types::{ConsumerScope, OwnerId, PartitionId, StartingPosition};
use tracing::{Span, debug, info, info_span};

use crate::observe::Observation;

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

/// The line of what is observed, where it has one: each move of a partition is one on either side.
pub(crate) fn observed(observation: &Observation<'_>) {
    match *observation {
        Observation::Acquired { partition, origin } => {
            let from = origin.owner().map(tracing::field::display);
            info!(%partition, from, reason = %origin, "partition acquired");
        }
        Observation::Lost { partition, reason, to } => {
            let to = to.map(tracing::field::display);
            info!(%partition, ?reason, to, "partition lost");
        }
        Observation::HandedOver { partition, to, after } => {
            let to = to.map(tracing::field::display);
            info!(%partition, to, ?after, "partition handed over");
        }
        _ => {}
    }
}

pub(crate) fn asked(partition: &PartitionId, to: Option<&OwnerId>) {
    let to = to.map(tracing::field::display);
    debug!(%partition, to, "handing the partition over");
}

pub(crate) fn reading(position: &StartingPosition) {
    debug!(?position, "reading begins");
}
