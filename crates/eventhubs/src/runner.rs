//! One call of `receive`: the first look at hub and store, then the [`Processor`] or the pump of one
//! partition, in a task that a stop can leave alone. What runs meanwhile is `processor.rs`.

use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::CheckpointStore;
use eventhubs_types::PartitionId;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{Instrument as _, Span};

use crate::board::Stage;
use crate::exit::{Ended, Order};
use crate::log;
use crate::lookups::look_up;
use crate::processor::{ABORT_LIMIT, Processor, STOP_MARGIN};
use crate::pump::Pump;
use crate::remaining::Remaining;
use crate::reminder::{LONG_ANSWER, reminding};
use crate::run::Run;
use crate::watchdog::Watchdog;
use crate::{Error, ErrorKind, ReceiveReport, Result};

/// Receives until told to stop.
pub(crate) async fn receive(run: Arc<Run>, stop: BoxFuture<'static, ()>) -> Result<ReceiveReport> {
    let _reading = run.instance.begin(run.options.partition.clone())?;
    let span = log::run_span(&run.instance.scope, &run.instance.owner);
    let _watchdog = Watchdog::start(Arc::clone(&run.calls), span.clone());
    let receiving = async {
        match run.options.partition.clone() {
            Some(partition) => read_one(Arc::clone(&run), partition, stop).await,
            None => read_share(Arc::clone(&run), stop).await,
        }
    };
    tokio::select! {
        received = receiving.instrument(span) => received?,
        never = look_up(&run.instance) => match never {},
    }
    Ok(run.report_so_far())
}

/// Reads what the balancer says.
async fn read_share(run: Arc<Run>, stop: BoxFuture<'static, ()>) -> Result<()> {
    let limit = run.options.offer_timeout + run.options.shutdown_timeout + STOP_MARGIN + ABORT_LIMIT * 2;
    let (tell, told) = oneshot::channel();
    let told = async {
        // Nobody is left to tell when the future of `receive` is dropped: that is no stop, but an abort.
        if told.await.is_err() {
            pending::<()>().await;
        }
    };
    let working = async move {
        let looking = reminding(LONG_ANSWER, first_look(&run, told.boxed()), |since| {
            let namespace = run.instance.hub.namespace();
            tracing::warn!(%namespace, ?since, "the event hub and the checkpoint store have not both answered yet");
        });
        match looking.await? {
            Some((partitions, told)) => {
                run.found(&partitions);
                let remaining = Remaining::new(&run, &partitions)?;
                Processor::new(run, partitions, remaining).run(told).await
            }
            None => Ok(()),
        }
    };
    let working = working.instrument(Span::current());
    let ended = in_own_task(working, stop, || _ = tell.send(()), limit).await;
    ended.unwrap_or_else(|| {
        tracing::error!(
            ?limit,
            "the error hook or the checkpoint store blocks its thread beyond the stop; the run is abandoned"
        );
        Ok(())
    })
}

/// Reads one partition, without load balancing.
async fn read_one(run: Arc<Run>, partition: PartitionId, stop: BoxFuture<'static, ()>) -> Result<()> {
    let context = run.context(&partition, None);
    let board = Arc::clone(&run.instance.board);
    board.set_stage(Some(&partition), Stage::Running);
    let limit = run.options.shutdown_timeout + STOP_MARGIN;
    run.reads([&partition]);
    let (orders, received) = watch::channel(Order::Run);
    let span = log::partition_span(&run.instance.scope, &run.instance.owner, &partition);
    let reading = Pump::new(run, context, received, None).run().instrument(span);
    let shut_down = || {
        board.set_stage(Some(&partition), Stage::Stopping);
        orders.send_replace(Order::Shutdown);
    };
    match in_own_task(reading, stop, shut_down, limit).await {
        Some(Ended::Stopped | Ended::Bounded) => Ok(()),
        Some(Ended::Refused(error)) => Err(error),
        Some(Ended::Stolen) => {
            let text = "another reader took the partition with an equal or higher owner level";
            Err(Error::new(ErrorKind::OwnershipLost, text).on_partition(&partition))
        }
        None => {
            tracing::error!(%partition, ?limit, "the partition did not stop in time, and is abandoned");
            Ok(())
        }
    }
}

/// Works in a task of its own, so that code of the user that blocks its thread cannot hold up a stop. `None`
/// if the work has not ended `limit` after the stop; it is then abandoned. Dropping the future aborts the
/// work.
async fn in_own_task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
    stop: BoxFuture<'static, ()>,
    tell: impl FnOnce(),
    limit: Duration,
) -> Option<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    let ended = tokio::select! {
        biased;
        ended = tasks.join_next() => ended,
        () = stop => {
            tell();
            timeout(limit, tasks.join_next()).await.unwrap_or(None)
        }
    };
    ended.transpose().unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Looks once at the event hub and the store, so that a mistake in the configuration shows at once. A passing
/// trouble is reported and waited out. `None` when told to stop meanwhile.
async fn first_look(
    run: &Run,
    mut stop: BoxFuture<'static, ()>,
) -> Result<Option<(Vec<PartitionId>, BoxFuture<'static, ()>)>> {
    let looking = async {
        let mut pacing = run.instance.pacing();
        loop {
            match look(run).await {
                Ok(partitions) => return Ok(partitions),
                Err(error) if error.is_transient() => run.report(None, error).await,
                Err(error) => return Err(error),
            }
            sleep(pacing.failed()).await;
        }
    };
    tokio::select! {
        biased;
        partitions = looking => Ok(Some((partitions?, stop))),
        () = &mut stop => Ok(None),
    }
}

async fn look(run: &Run) -> Result<Vec<PartitionId>> {
    let properties = run.instance.event_hub_properties().await?;
    let listed = run.instance.store.list_ownership(&run.instance.scope).await;
    listed.map_err(|source| Error::store("the checkpoint store could not be read", source))?;
    Ok(properties.partition_ids)
}
