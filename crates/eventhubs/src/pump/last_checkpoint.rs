//! Checkpoints that the store could not take: written while the partition is read, and before it is closed. What the
//! checkpoint policy writes is in `checkpoint_writer.rs`.

use std::convert::Infallible;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{Instant, sleep};

use crate::pump::orders::Orders;
use crate::run::Run;
use crate::{ErrorKind, PartitionContext};

/// How often a pump at its bound looks whether a pending checkpoint is written.
const PENDING_PAUSE: Duration = Duration::from_millis(200);

/// Writes the checkpoints that the store could not take, with growing pauses, for as long as it is polled.
/// Why one is pending is reported once, and so is an error that does not pass by itself.
pub(crate) async fn write_pending(run: &Run, context: &PartitionContext) -> Infallible {
    let checkpointer = context.checkpointer();
    loop {
        if let Some(reason) = checkpointer.becomes_pending().await {
            run.report(Some(context), reason).boxed().await;
        }
        let mut pacing = run.instance.pacing();
        while checkpointer.is_pending() {
            sleep(pacing.failed()).await;
            match checkpointer.flush().boxed().await {
                Err(error) if !error.is_transient() && error.kind() != ErrorKind::OwnershipLost => {
                    run.report(Some(context), error).boxed().await;
                }
                _ => {}
            }
        }
    }
}

/// Writes what is pending before others may read, or its events come again: the store has as long to come back as a
/// callback has to end.
pub(crate) async fn write_last(run: &Run, context: &PartitionContext) {
    let checkpointer = context.checkpointer();
    let end = Instant::now() + run.options.shutdown_timeout;
    let mut pacing = run.instance.pacing();
    while checkpointer.is_owned() {
        let Err(error) = checkpointer.flush().await else { return };
        let pause = pacing.failed();
        if !error.is_transient() || Instant::now() + pause >= end {
            return run.report(Some(context), error).await;
        }
        sleep(pause).await;
    }
}

/// As [`write_last`], at the bound of a run: nobody waits for the partition, so the store has as long as it needs, unless
/// an order comes.
pub(crate) async fn write_at_bound(run: &Run, orders: &mut Orders) {
    let context = orders.context().clone();
    let written = async {
        // `write_pending` tries again and again.
        while context.checkpointer().is_pending() {
            sleep(PENDING_PAUSE).await;
        }
    };
    // Whatever ended the wait, the rest is as with any close.
    let _ = orders.unless_ordered(written).await;
    write_last(run, &context).await;
}
