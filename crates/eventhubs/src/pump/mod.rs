//! One task per partition: opens it, receives, calls back, and starts again after a failure. How events are handed to
//! the callback is in `sequential.rs` and `keyed.rs`. Its tests are in `tests/it`: `callbacks`, `checkpoints`,
//! `failures`, `concurrency`, `ownership`, `positions` and `handover`.

mod bounded;
mod calling;
mod checkpoint_writer;
mod failing;
mod keyed;
mod last_checkpoint;
mod orders;
mod progress;
mod receiving;
mod sequential;
mod stalls;

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_types::{PartitionId, SequenceNumber, StartingPosition};
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::exit::{Ended, Exit, Order};
use crate::gauges::Phase;
use crate::hooks::{OnEvents, guarded};
use crate::observe::{Observation, error_type};
use crate::opening::{Opened, Resume, not_opened, open, receiver};
use crate::pacing::Pacing;
use crate::policy::quiet::Quiet;
use crate::pump::bounded::Bounded;
use crate::pump::calling::Call;
use crate::pump::checkpoint_writer::CheckpointWriter;
use crate::pump::keyed::{Finished, Keyed};
use crate::pump::last_checkpoint::{write_at_bound, write_last, write_pending};
use crate::pump::orders::Orders;
use crate::pump::progress::Progress;
use crate::pump::sequential::Sequential;
use crate::reminder::{LONG_ANSWER, reminding};
use crate::run::Run;
use crate::source::Source;
use crate::{CloseReason, Error, ErrorKind, PartitionContext};

/// How many events are taken from the receiver at a time for a callback that gets one event a call.
const EVENTS_A_TURN: usize = 100;

/// How long a pump whose link was stolen waits to be told by whom: as long as a look into the store may take.
const VERDICT_LIMIT: Duration = Duration::from_secs(15);

/// Where a pump tells the processor that its link was stolen.
pub(crate) type TheftSignal = mpsc::Sender<PartitionId>;

/// Reads one partition for as long as it is owned: resume, receive, call back, start over after a failure.
#[derive(Debug)]
pub(crate) struct Pump {
    run: Arc<Run>,
    context: PartitionContext,
    orders: Orders,
    /// `None` where nobody balances.
    theft_signal: Option<TheftSignal>,
    pacing: Pacing,
    progress: Progress,
    writer: Arc<CheckpointWriter>,
    quiet: Quiet,
    /// Whether the link counts as stalled.
    is_stalled: bool,
    /// Calls the hooks as well.
    sequential: Sequential,
    /// Where several events of the partition are handled at once, from the first attempt on.
    keyed: Option<Keyed>,
    /// Since when nothing can be read, and why at first.
    failing: Option<(Instant, Cow<'static, str>)>,
    /// The sequence number of the checkpoint that reading started at, until the first event has come.
    unproven: Option<SequenceNumber>,
    /// Where a bounded run ends.
    bounded: Option<Bounded>,
}

impl Pump {
    pub(crate) fn new(
        run: Arc<Run>,
        context: PartitionContext,
        orders: watch::Receiver<Order>,
        theft_signal: Option<TheftSignal>,
    ) -> Box<Self> {
        let pacing = run.instance.pacing();
        let orders = Orders::new(context.clone(), orders);
        let writer = Arc::new(CheckpointWriter::new(run.options.checkpoints()));
        Box::new(Self {
            theft_signal,
            pacing,
            progress: Progress::new(Arc::clone(&run), context.clone(), Arc::clone(&writer)),
            writer,
            quiet: Quiet::default(),
            is_stalled: false,
            sequential: Sequential::new(Arc::clone(&run), orders.clone()),
            keyed: None,
            failing: None,
            unproven: None,
            bounded: Bounded::new(&run, context.partition_id()),
            run,
            context,
            orders,
        })
    }

    /// Reads until the partition is not ours any more; then no checkpoint is written either.
    ///
    /// What is large and rare is boxed in the futures below this one, since they last as long as the partition is owned.
    pub(crate) async fn run(mut self: Box<Self>) -> Ended {
        let (run, context, writer) = (Arc::clone(&self.run), self.context.clone(), Arc::clone(&self.writer));
        // Next to each other, not one after the other: a callback may take long, and the checkpoint before it
        // must not wait for it.
        let ended = tokio::select! {
            ended = self.attempts() => ended,
            never = write_pending(&run, &context) => match never {},
            never = writer.run(&run, &context) => match never {},
        };
        // The user may keep the context: from here on it writes nothing, also where the lease still runs.
        context.checkpointer().revoke();
        ended
    }

    async fn attempts(&mut self) -> Ended {
        loop {
            self.take_sought();
            match self.attempt_guarded().await {
                Exit::Ordered(_) => return Ended::Stopped,
                Exit::Bounded => return Ended::Bounded,
                Exit::Sought => {}
                Exit::Stolen => return Ended::Stolen,
                Exit::Recreated => {
                    self.progress.resume = Resume { is_recreated: true, ..Resume::default() };
                    self.bounded.iter_mut().for_each(Bounded::recreated);
                }
                Exit::OffsetAhead => self.progress.resume.doubts_offset = true,
                Exit::HandlerGaveUp(error) => return Ended::Refused(error),
                Exit::ReceiveFailed(error) if self.run.ends_with(&error) => return Ended::Refused(error),
                Exit::ReceiveFailed(error) => {
                    // The numbers of an event hub that is not there may start again when it is.
                    if error.kind() == ErrorKind::NotFound {
                        self.progress.resume.handled = None;
                    }
                    if self.pause_after(error).await.is_err() {
                        return Ended::Stopped;
                    }
                }
                Exit::HandlerFailed(error) => {
                    // What was handled since the checkpoint comes again, as documented for a failed callback.
                    self.progress.resume.handled = None;
                    if self.pause_after(error).await.is_err() {
                        return Ended::Stopped;
                    }
                }
            }
        }
    }

    async fn pause_after(&mut self, error: Error) -> Result<(), Exit> {
        self.fails(&error);
        self.run.report(Some(&self.context), error).await;
        let pause = self.pacing.failed();
        self.context.gauges().set_phase(Phase::BackingOff { until: Instant::now() + pause });
        let paused = self.orders.unless_ordered(sleep(pause)).await;
        self.context.gauges().set_phase(Phase::Opening);
        match paused {
            // What fails here may not fail there.
            Err(Exit::Sought) => Ok(()),
            paused => paused,
        }
    }

    fn fails(&mut self, error: &Error) {
        if self.failing.is_none() {
            self.failing = Some((Instant::now(), error_type(error)));
        }
    }

    /// From here on the next attempt begins where the user wants to read. Returns whether there is such a position.
    fn take_sought(&mut self) -> bool {
        let Some(position) = self.context.take_sought() else { return false };
        self.progress.resume.sought = Some(position);
        self.sequential.sought();
        self.keyed.iter_mut().for_each(Keyed::sought);
        true
    }

    /// The store and the credential are the user's too, and may panic.
    async fn attempt_guarded(&mut self) -> Exit {
        guarded(|| self.attempt().boxed()).await.unwrap_or_else(|panic| {
            let error = Error::handler("the partition could not be read", panic);
            Exit::ReceiveFailed(error.on_partition(self.context.partition_id()))
        })
    }

    /// One attempt, from the checkpoint to the close hook.
    async fn attempt(&mut self) -> Exit {
        let mut source = match self.open().await {
            Ok(source) => Some(source),
            Err(exit) => return exit,
        };
        let Err(exit) = self.work(&mut source).await;
        let exit = self.verdict(exit).await;
        // Only the verdict tells a theft, after which nothing more may begin, from a hand-over, before which all ends.
        if let (Some(keyed), Some(source)) = (&mut self.keyed, &mut source) {
            keyed.drain(&exit, source, &mut self.progress).await;
        }
        self.close(source, &exit).await;
        exit
    }

    /// Attaches at the end of what was handled. Attaching twice is no waste: the first attach only cuts off
    /// the previous reader, which is what makes it look into the store and write its last checkpoint. That
    /// checkpoint is where the second one begins.
    async fn open(&mut self) -> Result<Source, Exit> {
        if !self.context.checkpointer().is_settled() {
            self.cut_off().await?;
        }
        self.attach().await
    }

    /// Attaches to cut off the reader before, and waits until that one has written its last checkpoint.
    ///
    /// Where reading begins is looked up only after that: whatever was read earlier may be older than that
    /// checkpoint. The link stays open meanwhile, or the other one would take the partition back.
    async fn cut_off(&mut self) -> Result<(), Exit> {
        let run = Arc::clone(&self.run);
        let context = self.context.clone();
        let cutting = receiver(&run, &context, StartingPosition::Earliest, 1).boxed();
        let cutting = self.orders.unless_ordered(cutting).await?;
        let cutting = cutting.map_err(|error| failed_to_open(not_opened(&context, error)))?;
        // Counted from here, not from the claim: an attach that is slow must not eat up the time of the one
        // that it cuts off.
        let limit = run.instance.balancing.interval();
        let handed_over = timeout(limit, context.checkpointer().handed_over());
        if self.orders.unless_ordered(handed_over).await?.is_err() {
            tracing::warn!(
                partition = %context.partition_id(),
                ?limit,
                "the owner before did not hand over in time; events after its last checkpoint are repeated"
            );
        }
        self.detach(cutting).await;
        Ok(())
    }

    async fn attach(&mut self) -> Result<Source, Exit> {
        let run = Arc::clone(&self.run);
        let context = self.context.clone();
        let resume = self.progress.resume.clone();
        let opening = reminding(LONG_ANSWER, open(&run, &context, &resume).boxed(), |since| {
            tracing::warn!(partition = %context.partition_id(), ?since, "the partition is still being opened");
        });
        let Opened { receiver, resume, after, is_at_checkpoint } =
            self.orders.unless_ordered(opening).await?.map_err(failed_to_open)?;
        self.progress.opened(resume, after);
        self.unproven = after.filter(|_| is_at_checkpoint);
        self.quiet.over();
        self.look_for_end().await?;
        self.run.opened();
        self.context.gauges().set_phase(Phase::Reading);
        self.log_recovery();
        Ok(receiver)
    }

    /// Asks where a bounded run ends: before anything is read, so that a mistake ends the run.
    async fn look_for_end(&mut self) -> Result<(), Exit> {
        let Some(bounded) = &mut self.bounded else { return Ok(()) };
        let looking = bounded.opened(self.progress.standing());
        self.orders.unless_ordered(looking).await?.map_err(failed_to_open)
    }

    fn log_recovery(&mut self) {
        let Some((since, error_type)) = self.failing.take() else { return };
        let (after, partition) = (since.elapsed(), self.context.partition_id());
        let reached = self.progress.reached().map(SequenceNumber::value);
        tracing::info!(?after, after_sequence_number = reached, "reading again");
        self.context.gauges().set_phase(Phase::Reading);
        self.run.observe(&Observation::Recovered { partition, after, error_type: &error_type });
    }

    /// Who stole the link may be an instance that waits for this one: the processor looks into the store.
    async fn verdict(&mut self, exit: Exit) -> Exit {
        let (Exit::Stolen, Some(theft_signal)) = (&exit, self.theft_signal.clone()) else {
            return exit;
        };
        let partition = self.context.partition_id().clone();
        let orders = &mut self.orders;
        let told = timeout(VERDICT_LIMIT, async {
            theft_signal.send(partition).await.ok()?;
            Some(orders.next().await)
        });
        match told.await {
            Ok(Some(Order::HandOver)) => Exit::Ordered(Order::HandOver),
            _ => exit,
        }
    }

    /// Calls the hook and then the callback, until something ends that.
    async fn work(&mut self, source: &mut Option<Source>) -> Result<Infallible, Exit> {
        self.initialize().await?;
        // A hook that says where to begin would say so again if it were called for that.
        while self.take_sought() {
            if let Some(source) = source.take() {
                self.detach(source).await;
            }
            *source = Some(self.attach().await?);
        }
        let Some(source) = source else { return Err(Exit::Sought) };
        if !self.run.options.concurrency.is_used() {
            return self.read(source).await;
        }
        // A new one after a panic of the function that gives the keys, which drops the calls under way.
        let keyed = self.keyed.take();
        let mut keyed = keyed.unwrap_or_else(|| Keyed::new(Arc::clone(&self.run), self.orders.clone()));
        let Err(exit) = self.read_keyed(source, &mut keyed).boxed().await;
        self.keyed = Some(keyed);
        Err(exit)
    }

    async fn initialize(&mut self) -> Result<(), Exit> {
        let run = Arc::clone(&self.run);
        if let Some(hook) = &run.hooks.initialize {
            // Its failure restarts the partition: to read on would hand events to a handler that is not set up.
            let tries = self.pacing.failures() + 1;
            self.sequential
                .hook(Call::INITIALIZE_HOOK, tries, |slot, context| slot.set(hook(context)))
                .await?;
        }
        Ok(())
    }

    /// Hands over events in the order of the partition.
    async fn read(&mut self, source: &mut Source) -> Result<Infallible, Exit> {
        let run = Arc::clone(&self.run);
        loop {
            let events = match run.on_events {
                OnEvents::Each { .. } => self.receive_checked(source, EVENTS_A_TURN).await?,
                OnEvents::Batch(_) => self.receive_full(source).await?,
            };
            if events.is_empty() && self.has_ended() {
                // The last call may have said where to read on.
                self.orders.obey()?;
                return Err(Exit::Bounded);
            }
            match &run.on_events {
                OnEvents::Each { .. } if events.is_empty() => self.idle(&run).await?,
                OnEvents::Each { event, .. } => {
                    self.sequential.each(event, events, source, &mut self.progress).await?;
                }
                OnEvents::Batch(batch) => {
                    self.sequential.batch(batch, events, source, &mut self.progress).await?;
                }
            }
            // Here, and not when the link opens: a callback that always fails would be called again without a
            // pause.
            self.pacing.succeeded();
        }
    }

    /// Tells the callback that nothing came for a time.
    async fn idle(&mut self, run: &Run) -> Result<(), Exit> {
        let OnEvents::Each { idle: Some(idle), .. } = &run.on_events else { return Ok(()) };
        let tries = self.pacing.failures() + 1;
        self.sequential.idle(idle, tries).await
    }

    /// Hands over several events at once.
    async fn read_keyed(&mut self, source: &mut Source, keyed: &mut Keyed) -> Result<Infallible, Exit> {
        let run = Arc::clone(&self.run);
        loop {
            let context = self.context.clone();
            let (is_paused, is_sought) = (context.is_paused(), context.is_sought());
            if keyed.is_empty() && self.has_ended() && !is_sought {
                return Err(Exit::Bounded);
            }
            // A call takes as long as it takes: nobody waits for the partition.
            if is_sought && keyed.is_at_rest() {
                return Err(Exit::Sought);
            }
            if !is_paused && !is_sought {
                keyed.start(source)?;
            }
            let is_reading = !is_sought && !self.has_ended();
            let most = if is_reading { keyed.room().min(EVENTS_A_TURN) } else { 0 };
            let mut orders = self.orders.clone();
            tokio::select! {
                biased;
                order = orders.next() => return Err(Exit::Ordered(order)),
                finished = keyed.next() => self.finish_keyed(finished, keyed)?,
                () = context.sought(), if !is_sought => {}
                () = context.resumed(), if is_paused => {}
                // Dropped when a call ends first: then no event is taken.
                events = self.receive_within(source, most, run.options.max_wait_time), if most > 0 => {
                    let events = match events {
                        Err(Exit::Sought) => continue,
                        events => self.checked(events?).await?,
                    };
                    if events.is_empty() && !self.has_ended() {
                        self.idle(&run).await?;
                    }
                    for event in events {
                        self.progress.deliver(&event)?;
                        keyed.push(event);
                    }
                    self.pacing.succeeded();
                }
            }
        }
    }

    /// Does what follows from calls that have ended: this one, and all others that have by now.
    fn finish_keyed(&mut self, finished: Result<Finished, Exit>, keyed: &mut Keyed) -> Result<(), Exit> {
        let mut next = Some(finished);
        while let Some(finished) = next {
            match keyed.finish(finished?, &mut self.progress) {
                // The pause before another attempt; the other calls are still under way.
                Err(Exit::Sought) => {}
                finished => finished?,
            }
            next = keyed.try_next();
        }
        Ok(())
    }

    /// What must happen in this order, so that nobody processes an event twice after a clean stop: the user's
    /// last checkpoint, the detach, and only then (by the processor) the release (docs/contract.md §8.7).
    async fn close(&mut self, source: Option<Source>, exit: &Exit) {
        let reason = exit.close_reason();
        self.progress.closed(reason);
        self.context.gauges().set_phase(match exit {
            Exit::Ordered(_) | Exit::Stolen | Exit::Bounded => Phase::Closing,
            _ => Phase::Opening,
        });
        // Before the hook, which may try to write a checkpoint: the partition is somebody else's.
        if reason == CloseReason::OwnershipLost {
            self.context.checkpointer().revoke();
        }
        let run = Arc::clone(&self.run);
        if let Some(hook) = &run.hooks.close {
            let closed = self.sequential.hook(Call::CLOSE_HOOK, 1, |slot, context| {
                let closing = hook(context, reason);
                slot.set(closing.map(Ok));
            });
            if let Err(Exit::HandlerFailed(error) | Exit::HandlerGaveUp(error)) = closed.await {
                run.report(Some(&self.context), error).await;
            }
        }
        // After the hook, whose checkpoint is the newer one.
        self.writer.write(&run, &self.context).await;
        // Other exits open the partition again, and that writes what is pending.
        match exit {
            Exit::Ordered(_) => write_last(&run, &self.context).await,
            Exit::Bounded => write_at_bound(&run, &mut self.orders).await,
            _ => {}
        }
        if let Some(source) = source {
            self.detach(source).await;
        }
    }

    async fn detach(&self, source: Source) {
        if let Err(error) = source.close().await {
            tracing::debug!(partition = %self.context.partition_id(), %error, "the detach was not answered");
        }
    }

    fn receive_error(&self, source: eventhubs_amqp::Error) -> Error {
        Error::amqp("the partition could not be read", source).on_partition(self.context.partition_id())
    }
}

fn failed_to_open(error: Error) -> Exit {
    if error.kind() == ErrorKind::OwnershipLost { Exit::Stolen } else { Exit::ReceiveFailed(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_ownership_makes_a_failed_attach_a_theft() {
        let lost = Error::new(ErrorKind::OwnershipLost, "a higher owner level");
        assert!(matches!(failed_to_open(lost), Exit::Stolen));
        assert!(matches!(failed_to_open(Error::invalid("a test")), Exit::ReceiveFailed(_)));
    }
}
