//! Where a partition is read from, and the receiver there.

use eventhubs_amqp::{ErrorKind, PartitionReceiver};
use eventhubs_types::StartingPosition;

use crate::run::Run;
use crate::{Error, PartitionContext, Result};

/// The service says so when it has failed over to a region that never knew the offset (contract §8.9).
const FAILED_OVER: &str = "com.microsoft:georeplication:invalid-offset";

/// What to do when the service does not know the position of a checkpoint: the event hub was created anew, an emulator
/// lost its data, or the service failed over to another region (contract §8.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum InvalidPosition {
    /// Report it and try again later, in case it is the checkpoint that is right. After a failover, where it cannot be,
    /// as [`StartingPosition`](Self::StartingPosition), but for [`StartingPosition::Latest`]: that would skip what came
    /// since the checkpoint, so it is the oldest event then.
    #[default]
    Fail,
    /// Report it, and read from the oldest event.
    Earliest,
    /// Report it, and read what comes from now on.
    Latest,
    /// Report it, and read from where a partition without a checkpoint is read.
    StartingPosition,
}

impl InvalidPosition {
    /// Where to read instead of an invalid position.
    fn instead(self, failed_over: bool, starting: &StartingPosition) -> Option<StartingPosition> {
        match (self, starting) {
            (Self::Fail, _) if !failed_over => None,
            (Self::Earliest, _) | (Self::Fail, StartingPosition::Latest) => Some(StartingPosition::Earliest),
            (Self::Latest, _) => Some(StartingPosition::Latest),
            (Self::Fail | Self::StartingPosition, _) => Some(starting.clone()),
        }
    }
}

/// A partition that can be read.
pub(crate) struct Opened {
    pub(crate) receiver: PartitionReceiver,
    /// Where this ownership began, for a partition that has no checkpoint yet.
    pub(crate) began: StartingPosition,
}

/// Opens a partition behind its checkpoint, or where this ownership `began`, or where the user said.
pub(crate) async fn open(
    run: &Run,
    context: &PartitionContext,
    began: Option<StartingPosition>,
) -> Result<Opened> {
    let starting = run.options.starting_position(context.partition_id());
    // A checkpoint beats all else (contract §8.8).
    let position = match (context.checkpointer().resume_position().await?, &began) {
        (Some(reached), _) => reached,
        (None, Some(began)) => began.clone(),
        (None, None) => pinned(run, context, starting.clone()).await?,
    };
    let error = match receiver(run, context, position.clone()).await {
        Ok(receiver) => return Ok(Opened { receiver, began: began.unwrap_or(position) }),
        Err(error) => error,
    };
    let failed_over = error.condition() == Some(FAILED_OVER);
    let instead = match error.kind() {
        ErrorKind::InvalidPosition => run.options.invalid_position.instead(failed_over, starting),
        _ => None,
    };
    let error = Error::amqp("the partition could not be opened", error).on_partition(context.partition_id());
    let Some(instead) = instead else { return Err(error) };
    run.report(Some(context), error).await;
    let began = pinned(run, context, instead).await?;
    let receiver = receiver(run, context, began.clone()).await.map_err(|source| {
        Error::amqp("the partition could not be opened", source).on_partition(context.partition_id())
    })?;
    // only now: what failed just before must find the checkpoint again, or it would begin as if there were none
    context.checkpointer().forget().await;
    Ok(Opened { receiver, began })
}

/// `Latest` is pinned to the number of the newest event, so that a second attempt skips nothing that came meanwhile.
async fn pinned(
    run: &Run,
    context: &PartitionContext,
    position: StartingPosition,
) -> Result<StartingPosition> {
    if position != StartingPosition::Latest {
        return Ok(position);
    }
    let partition = context.partition_id();
    let properties = run.client.hub().partition_properties(partition).await.map_err(|source| {
        Error::amqp("the newest event could not be looked up", source).on_partition(partition)
    })?;
    Ok(if properties.is_empty && properties.last_enqueued_sequence_number.value() < 0 {
        StartingPosition::Earliest
    } else {
        StartingPosition::after_sequence_number(properties.last_enqueued_sequence_number)
    })
}

async fn receiver(
    run: &Run,
    context: &PartitionContext,
    position: StartingPosition,
) -> eventhubs_amqp::Result<PartitionReceiver> {
    let options = &run.options;
    let hub = run.client.hub();
    let mut receiver = hub
        .partition_receiver(context.consumer_group().clone(), context.partition_id().clone())
        .starting_position(position)
        .prefetch(options.prefetch)
        .prefetch_bytes(options.prefetch_bytes)
        .track_last_enqueued_event_properties(options.track_last_enqueued)
        .identifier(run.client.owner_id().as_str());
    if let Some(level) = options.owner_level() {
        receiver = receiver.owner_level(level);
    }
    receiver.open().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract §8.9; nothing is skipped unless somebody asked for it.
    #[test]
    fn the_policy_says_where_to_read_instead_of_an_invalid_position() {
        use InvalidPosition as Policy;
        use StartingPosition::{Earliest, Latest};
        let set = StartingPosition::from_sequence_number(7);
        for (policy, failed_over, starting, expected) in [
            (Policy::Fail, false, &set, None),
            (Policy::Fail, false, &Latest, None),
            (Policy::Fail, true, &set, Some(&set)),
            (Policy::Fail, true, &Earliest, Some(&Earliest)),
            (Policy::Fail, true, &Latest, Some(&Earliest)),
            (Policy::StartingPosition, false, &set, Some(&set)),
            (Policy::StartingPosition, true, &Latest, Some(&Latest)),
            (Policy::Earliest, true, &set, Some(&Earliest)),
            (Policy::Latest, true, &set, Some(&Latest)),
        ] {
            let instead = policy.instead(failed_over, starting);
            assert_eq!(instead.as_ref(), expected, "{policy:?} {failed_over} {starting:?}");
        }
    }
}
