//! Asks the service for the newest events of the partitions that are read, while somebody reads the status.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PartitionContext;
use crate::board::LOOKUP_PAUSE;
use crate::instance::Instance;

/// How old an answer may be before the service is asked again.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Asks for as long as it is polled.
///
/// # Cancel safety
/// Can be dropped at any time.
pub(crate) async fn look_up(instance: &Instance) -> Infallible {
    loop {
        instance.board.was_read().await;
        for context in due(instance) {
            // A pump that makes sure of its link asks too, and both share the limit.
            while !instance.board.may_look_up() {
                sleep(LOOKUP_PAUSE).await;
            }
            look_up_one(instance, &context).await;
        }
    }
}

/// The partitions whose newest event is not known, or no more.
fn due(instance: &Instance) -> Vec<PartitionContext> {
    let now = Instant::now();
    let partitions = instance.board.partitions();
    let contexts = partitions.values().filter_map(|entry| entry.contexts.last());
    let is_due = |context: &&PartitionContext| {
        let newest = context.gauges().newest();
        newest.is_none_or(|newest| now.saturating_duration_since(newest.said) >= MAX_AGE)
    };
    contexts.filter(is_due).cloned().collect()
}

async fn look_up_one(instance: &Instance, context: &PartitionContext) {
    let failure = "the newest event could not be looked up";
    match instance.partition_properties(context.partition_id(), failure).await {
        Ok(properties) => {
            if let Some(number) = properties.last_enqueued_sequence_number {
                context.gauges().set_newest(number);
            }
        }
        // The lag stays unknown, which the status says; why, the pump finds out itself.
        Err(error) => {
            tracing::debug!(partition = %context.partition_id(), %error, "the newest event is not known");
        }
    }
}
