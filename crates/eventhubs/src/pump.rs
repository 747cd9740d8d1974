//! One task per partition: opens it, receives, calls back, and starts again after a failure. Its tests are in
//! `tests/it`: `callbacks`, `checkpoints`, `ownership`, `positions` and `handover`; those at the end pin what
//! an exit means.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::{PartitionReceiver, ReceivedEvent};
use eventhubs_types::{PartitionId, SequenceNumber, StartingPosition};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::checkpointer::Checkpointer;
use crate::exit::{Ended, Exit, Order};
use crate::hooks::{OnEvents, guarded};
use crate::opening::{Opened, Resume, not_opened, open, receiver};
use crate::pacing::Pacing;
use crate::reminder::{LONG_ANSWER, LONG_CALL, reminding};
use crate::run::Run;
use crate::watchdog::CallSlot;
use crate::{CloseReason, Error, ErrorKind, HandlerError, HandlerResult, PartitionContext};

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
    orders: watch::Receiver<Order>,
    /// `None` where nobody balances.
    theft_signal: Option<TheftSignal>,
    pacing: Pacing,
    resume: Resume,
    /// Where the watchdog sees what is called.
    calls: Arc<CallSlot>,
    /// Since when nothing can be read.
    failing_since: Option<Instant>,
    /// The highest sequence number that was delivered or checkpointed since the link opened. Only grows until
    /// the next attempt: whatever comes next is above it, or the event hub was re-created.
    reached: Option<SequenceNumber>,
    /// The sequence number of the checkpoint that reading started at, until the first event has come.
    unproven: Option<SequenceNumber>,
}

impl Pump {
    pub(crate) fn new(
        run: Arc<Run>,
        context: PartitionContext,
        orders: watch::Receiver<Order>,
        theft_signal: Option<TheftSignal>,
    ) -> Self {
        let pacing = run.instance.pacing();
        let calls = run.calls.register(context.partition_id());
        Self {
            run,
            context,
            orders,
            theft_signal,
            pacing,
            resume: Resume::default(),
            calls,
            failing_since: None,
            reached: None,
            unproven: None,
        }
    }

    /// Reads until the partition is not ours any more; then no checkpoint is written either.
    pub(crate) async fn run(mut self) -> Ended {
        let context = self.context.clone();
        let pending = write_pending(Arc::clone(&self.run), context.clone());
        // Next to each other, not one after the other: a callback may take long, and the checkpoint before it
        // must not wait for it.
        let ended = tokio::select! {
            ended = self.attempts() => ended,
            never = pending => match never {},
        };
        // The user may keep the context: from here on it writes nothing, also where the lease still runs.
        context.checkpointer().revoke();
        ended
    }

    async fn attempts(&mut self) -> Ended {
        loop {
            match self.attempt_guarded().await {
                Exit::Ordered(_) => return Ended::Stopped,
                Exit::Stolen => return Ended::Stolen,
                Exit::Recreated => self.resume = Resume { is_recreated: true, ..Resume::default() },
                Exit::OffsetAhead => self.resume.doubts_offset = true,
                Exit::ReceiveFailed(error) if self.run.ends_with(&error) => return Ended::Refused(error),
                Exit::ReceiveFailed(error) => {
                    // The numbers of an event hub that is not there may start again when it is.
                    if error.kind() == ErrorKind::NotFound {
                        self.resume.handled = None;
                    }
                    if self.pause_after(error).await.is_err() {
                        return Ended::Stopped;
                    }
                }
                Exit::HandlerFailed(error) => {
                    // What was handled since the checkpoint comes again, as documented for a failed callback.
                    self.resume.handled = None;
                    if self.pause_after(error).await.is_err() {
                        return Ended::Stopped;
                    }
                }
            }
        }
    }

    async fn pause_after(&mut self, error: Error) -> Result<(), Exit> {
        self.failing_since.get_or_insert_with(Instant::now);
        self.run.report(Some(&self.context), error).await;
        let pause = sleep(self.pacing.failed());
        self.unless_ordered(pause).await
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
        let mut receiver = match self.open().await {
            Ok(receiver) => receiver,
            Err(exit) => return exit,
        };
        let Err(exit) = self.work(&mut receiver).await;
        let exit = self.verdict(exit).await;
        self.close(receiver, &exit).await;
        exit
    }

    /// Attaches at the end of what was handled. Attaching twice is no waste: the first attach only cuts off
    /// the previous reader, which is what makes it look into the store and write its last checkpoint. That
    /// checkpoint is where the second one begins.
    async fn open(&mut self) -> Result<PartitionReceiver, Exit> {
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
        let cutting = receiver(&run, &context, StartingPosition::Earliest, 1);
        let cutting = self.unless_ordered(cutting).await?;
        let cutting = cutting.map_err(|error| failed_to_open(not_opened(&context, error)))?;
        // Counted from here, not from the claim: an attach that is slow must not eat up the time of the one
        // that it cuts off.
        let limit = run.instance.balancing.interval();
        let handed_over = timeout(limit, context.checkpointer().handed_over());
        if self.unless_ordered(handed_over).await?.is_err() {
            tracing::warn!(
                partition = %context.partition_id(),
                ?limit,
                "the owner before did not hand over in time; events after its last checkpoint are repeated"
            );
        }
        self.detach(cutting).await;
        Ok(())
    }

    async fn attach(&mut self) -> Result<PartitionReceiver, Exit> {
        let run = Arc::clone(&self.run);
        let context = self.context.clone();
        let resume = self.resume.clone();
        let opening = reminding(LONG_ANSWER, open(&run, &context, &resume), |since| {
            tracing::warn!(partition = %context.partition_id(), ?since, "the partition is still being opened");
        });
        let Opened { receiver, resume, after, is_at_checkpoint } =
            self.unless_ordered(opening).await?.map_err(failed_to_open)?;
        self.resume = resume;
        self.reached = after;
        self.unproven = after.filter(|_| is_at_checkpoint);
        self.run.opened();
        self.log_recovery();
        Ok(receiver)
    }

    fn log_recovery(&mut self) {
        if let Some(since) = self.failing_since.take() {
            let reached = self.reached.map(SequenceNumber::value);
            tracing::info!(after = ?since.elapsed(), after_sequence_number = reached, "reading again");
        }
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
            Some(ordered(orders, self.context.checkpointer()).await)
        });
        match told.await {
            Ok(Some(Order::HandOver)) => Exit::Ordered(Order::HandOver),
            _ => exit,
        }
    }

    /// Calls the hook and then the callback, until something ends that.
    async fn work(&mut self, receiver: &mut PartitionReceiver) -> Result<Infallible, Exit> {
        let run = Arc::clone(&self.run);
        if let Some(hook) = &run.hooks.initialize {
            // Its failure counts as one of the callback: to read on would hand events to a handler that is
            // not set up.
            self.call(INITIALIZE_HOOK, |context| hook(context)).await?;
        }
        self.read(receiver).await
    }

    async fn read(&mut self, receiver: &mut PartitionReceiver) -> Result<Infallible, Exit> {
        let run = Arc::clone(&self.run);
        let most = match run.on_events {
            OnEvents::Each { .. } => EVENTS_A_TURN,
            OnEvents::Batch(_) => run.options.max_batch_size,
        };
        loop {
            let events = self.receive(receiver, most).await?;
            match &run.on_events {
                OnEvents::Each { event, idle } => {
                    if let (Some(idle), true) = (idle, events.is_empty()) {
                        self.may_call().await?;
                        self.call(CALLBACK, |context| idle(context)).await?;
                    }
                    // In this order. A pause may take long, so the order and the theft are asked after it;
                    // between the last question and the call nothing awaits. `deliver` comes before the call,
                    // or the callback's own checkpoint would be refused.
                    for one in events {
                        self.may_call().await?;
                        still_owned(receiver)?;
                        let number = self.deliver(&one)?;
                        self.call(Call { number: Some(number), ..CALLBACK }, |context| event(context, one))
                            .await?;
                        // After the call, which the `?` leaves if it failed: a failed event is not handled.
                        self.resume.handled = Some(number);
                    }
                }
                OnEvents::Batch(batch) => {
                    self.may_call().await?;
                    still_owned(receiver)?;
                    let mut number = None;
                    for event in &events {
                        number = Some(self.deliver(event)?);
                    }
                    self.call(Call { number, ..CALLBACK }, |context| batch(context, events)).await?;
                    self.resume.handled = number.or(self.resume.handled);
                }
            }
            // Here, and not when the link opens: a callback that always fails would be called again without a
            // pause.
            self.pacing.succeeded();
        }
    }

    /// Notes that an event goes to the callback: before the call, which may write it as a checkpoint.
    fn deliver(&mut self, event: &ReceivedEvent) -> Result<SequenceNumber, Exit> {
        let number = event.sequence_number();
        if self.reached.is_some_and(|reached| number <= reached) {
            return Err(Exit::Recreated);
        }
        debug_assert!(
            self.reached.is_none_or(|reached| reached < number),
            "events of a partition come in order"
        );
        self.reached = Some(number);
        self.resume.delivered(number);
        self.context.checkpointer().delivered(event);
        Ok(number)
    }

    /// The next events. A passing trouble is reported and waited out; the receiver paces its own attempts.
    async fn receive(
        &mut self,
        receiver: &mut PartitionReceiver,
        most: usize,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        let wait = self.run.options.max_wait_time;
        loop {
            match self.unless_ordered(receiver.receive_batch(most, wait)).await? {
                Ok(events) => {
                    self.log_recovery();
                    if let Some(properties) = receiver.last_enqueued_event_properties() {
                        self.context.set_last_enqueued(properties);
                    }
                    self.check_first(&events).await?;
                    return Ok(events);
                }
                // Not reported: a steal is how partitions move. `verdict` finds out whether this one was
                // meant.
                Err(error) if error.kind() == eventhubs_amqp::ErrorKind::OwnershipLost => {
                    return Err(Exit::Stolen);
                }
                Err(error) => {
                    let transient = error.is_transient();
                    let error = self.receive_error(error);
                    if !transient {
                        return Err(Exit::ReceiveFailed(error));
                    }
                    self.failing_since.get_or_insert_with(Instant::now);
                    self.run.report(Some(&self.context), error).await;
                }
            }
        }
    }

    /// Whether the first event is the one that comes after the checkpoint. One that is further on is not
    /// proof of a wrong checkpoint: what is between may have expired. So the position is looked up again by
    /// the number, which tells.
    async fn check_first(&mut self, events: &[ReceivedEvent]) -> Result<(), Exit> {
        let Some(first) = events.first().map(ReceivedEvent::sequence_number) else { return Ok(()) };
        let Some(checkpoint) = self.unproven.take() else { return Ok(()) };
        let has_gap = first.value() > checkpoint.value().saturating_add(1);
        // Judged now: the next attempt may begin at another checkpoint.
        match (has_gap, mem::take(&mut self.resume.doubts_offset)) {
            (false, false) => {}
            (true, false) => return Err(Exit::OffsetAhead),
            (true, true) => tracing::warn!(
                partition = %self.context.partition_id(),
                checkpoint = checkpoint.value(),
                first = first.value(),
                "events after the checkpoint are gone: they expired, or compaction removed them"
            ),
            (false, true) => {
                let text = "the offset of the checkpoint is ahead of its sequence number, so reading continues after the number";
                let error =
                    Error::new(ErrorKind::InvalidPosition, text).on_partition(self.context.partition_id());
                self.run.report(Some(&self.context), error).await;
            }
        }
        Ok(())
    }

    /// What must happen in this order, so that nobody processes an event twice after a clean stop: the user's
    /// last checkpoint, the detach, and only then (by the processor) the release (docs/contract.md §8.7).
    async fn close(&mut self, receiver: PartitionReceiver, exit: &Exit) {
        let reason = exit.close_reason();
        // Before the hook, which may try to write a checkpoint: the partition is somebody else's.
        if reason == CloseReason::OwnershipLost {
            self.context.checkpointer().revoke();
        }
        let run = Arc::clone(&self.run);
        if let Some(hook) = &run.hooks.close {
            let closed = self.call(CLOSE_HOOK, |context| {
                let closing = hook(context, reason);
                Box::pin(async move {
                    closing.await;
                    Ok(())
                })
            });
            if let Err(Exit::HandlerFailed(error)) = closed.await {
                run.report(Some(&self.context), error).await;
            }
        }
        // After the hook, whose checkpoint may be the pending one. Other exits open the partition again, and
        // that writes what is pending.
        if matches!(exit, Exit::Ordered(_)) {
            self.write_last_checkpoint().await;
        }
        self.detach(receiver).await;
    }

    /// What is still pending is written before others may read, or its events come again: the store has as
    /// long to come back as a callback has to end.
    async fn write_last_checkpoint(&self) {
        let checkpointer = self.context.checkpointer();
        let end = Instant::now() + self.run.options.shutdown_timeout;
        let mut pacing = self.run.instance.pacing();
        while checkpointer.is_owned() {
            let Err(error) = checkpointer.flush().await else { return };
            let pause = pacing.failed();
            if !error.is_transient() || Instant::now() + pause >= end {
                return self.run.report(Some(&self.context), error).await;
            }
            sleep(pause).await;
        }
    }

    async fn detach(&self, receiver: PartitionReceiver) {
        if let Err(error) = receiver.close().await {
            tracing::debug!(partition = %self.context.partition_id(), %error, "the detach was not answered");
        }
    }

    /// Calls back. A panic is an error like any other, and after an order the callback has the shutdown time
    /// limit left.
    async fn call(
        &mut self,
        call: Call,
        callback: impl FnOnce(PartitionContext) -> BoxFuture<'static, HandlerResult>,
    ) -> Result<(), Exit> {
        let context = self.context.clone();
        let partition = self.context.partition_id();
        let limit = self.run.options.shutdown_timeout;
        let orders = &mut self.orders;
        let overdue = async {
            let order = ordered(orders, self.context.checkpointer()).await;
            sleep(limit).await;
            order
        };
        let overdue = reminding(LONG_CALL, overdue, |since| {
            let number = call.number.map(SequenceNumber::value);
            tracing::warn!(%partition, sequence_number = number, ?since, "the {} is still running", call.what);
        });
        let calls = Arc::clone(&self.calls);
        // The closure may block before it returns a future, so it is called where that is seen.
        let calling = guarded(|| callback(context));
        let result = tokio::select! {
            // A callback that ends at the same moment as its time has ended in time.
            biased;
            result = calls.watch(call.number, calling) => result.and_then(|result| result),
            order = overdue => {
                let text = format!("{call} was still running {limit:?} after its partition was told to stop");
                let error = Error::new(ErrorKind::Timeout, text).on_partition(partition);
                self.run.report(Some(&self.context), error).await;
                return Err(Exit::Ordered(order));
            }
        };
        result.map_err(|source| self.judge(call, source))
    }

    /// Tells a failure from the end of the ownership. A callback that writes `update_checkpoint(..).await?`
    /// fails when the partition is lost meanwhile; that is an order to stop and no failure to report.
    ///
    /// Only the own checkpointer knows whether this ownership is over: the callback may have used a context
    /// of an earlier one, or of another partition.
    fn judge(&self, call: Call, source: HandlerError) -> Exit {
        let says_lost =
            source.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OwnershipLost);
        if says_lost && !self.context.checkpointer().is_owned() {
            return Exit::Ordered(Order::OwnershipLost);
        }
        let tries = self.pacing.failures() + 1;
        let error = Error::handler(format!("{call} failed (try {tries})"), source);
        Exit::HandlerFailed(error.on_partition(self.context.partition_id()))
    }

    /// Waits out a pause, and obeys any order.
    async fn may_call(&mut self) -> Result<(), Exit> {
        if self.context.is_paused() {
            let context = self.context.clone();
            self.unless_ordered(context.resumed()).await?;
        }
        self.obey()
    }

    fn obey(&self) -> Result<(), Exit> {
        match *self.orders.borrow() {
            Order::Run if self.context.checkpointer().is_owned() => Ok(()),
            Order::Run => Err(Exit::Ordered(Order::OwnershipLost)),
            order => Err(Exit::Ordered(order)),
        }
    }

    async fn unless_ordered<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Exit> {
        tokio::select! {
            // An order first: events that are there already would keep a busy partition from ever stopping.
            biased;
            order = ordered(&mut self.orders, self.context.checkpointer()) => Err(Exit::Ordered(order)),
            value = future => Ok(value),
        }
    }

    fn receive_error(&self, source: eventhubs_amqp::Error) -> Error {
        Error::amqp("the partition could not be read", source).on_partition(self.context.partition_id())
    }
}

/// Writes the checkpoints that the store could not take, with growing pauses, for as long as it is polled.
/// Why one is pending is reported once, and so is an error that does not pass by itself.
async fn write_pending(run: Arc<Run>, context: PartitionContext) -> Infallible {
    let checkpointer = context.checkpointer();
    loop {
        if let Some(reason) = checkpointer.becomes_pending().await {
            run.report(Some(&context), reason).await;
        }
        let mut pacing = run.instance.pacing();
        while checkpointer.is_pending() {
            sleep(pacing.failed()).await;
            match checkpointer.flush().await {
                Err(error) if !error.is_transient() && error.kind() != ErrorKind::OwnershipLost => {
                    run.report(Some(&context), error).await;
                }
                _ => {}
            }
        }
    }
}

/// One call of the user's code, for messages.
#[derive(Debug, Clone, Copy)]
struct Call {
    what: &'static str,
    /// The event, or the last one of a batch.
    number: Option<SequenceNumber>,
}

const CALLBACK: Call = Call { what: "callback", number: None };
const INITIALIZE_HOOK: Call = Call { what: "hook on_partition_initialize", number: None };
const CLOSE_HOOK: Call = Call { what: "hook on_partition_close", number: None };

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.what)?;
        match self.number {
            Some(number) => write!(f, " at sequence number {number}"),
            None => Ok(()),
        }
    }
}

fn failed_to_open(error: Error) -> Exit {
    if error.kind() == ErrorKind::OwnershipLost { Exit::Stolen } else { Exit::ReceiveFailed(error) }
}

/// What was received before a theft belongs to the thief.
fn still_owned(receiver: &PartitionReceiver) -> Result<(), Exit> {
    if receiver.ownership_lost() {
        return Err(Exit::Stolen);
    }
    Ok(())
}

/// Waits for an order to stop. A processor that is gone counts as one, and so does a lease that has ended:
/// the pump stops in time also where the processor is late to say so.
async fn ordered(orders: &mut watch::Receiver<Order>, checkpointer: &Checkpointer) -> Order {
    let order = orders.wait_for(|order| *order != Order::Run);
    tokio::select! {
        biased;
        order = order => order.map_or(Order::Shutdown, |order| *order),
        () = checkpointer.lease_ended() => Order::OwnershipLost,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventhubs_checkpoint_store::MemoryCheckpointStore;
    use eventhubs_types::{ConsumerGroup, ConsumerScope};

    use super::*;

    fn checkpointer() -> Checkpointer {
        let scope =
            ConsumerScope::new("ns".parse().unwrap(), "hub".parse().unwrap(), ConsumerGroup::default());
        Checkpointer::new(Arc::new(MemoryCheckpointStore::new()), scope, "0".parse().unwrap(), None)
    }

    /// A processor that is gone, because its run was dropped, leaves no pump behind.
    #[tokio::test]
    async fn a_processor_that_is_gone_is_an_order_to_stop() {
        let (orders, mut received) = watch::channel(Order::Run);
        let checkpointer = checkpointer();
        assert!(ordered(&mut received, &checkpointer).now_or_never().is_none());
        orders.send_replace(Order::HandOver);
        assert_eq!(ordered(&mut received, &checkpointer).await, Order::HandOver);
        orders.send_replace(Order::Run);
        drop(orders);
        assert_eq!(ordered(&mut received, &checkpointer).await, Order::Shutdown);
    }

    #[test]
    fn only_a_lost_ownership_makes_a_failed_attach_a_theft() {
        let lost = Error::new(ErrorKind::OwnershipLost, "a higher owner level");
        assert!(matches!(failed_to_open(lost), Exit::Stolen));
        assert!(matches!(failed_to_open(Error::invalid("a test")), Exit::ReceiveFailed(_)));
    }

    #[test]
    fn a_call_names_its_event_where_it_has_one() {
        let call = Call { number: Some(7.into()), ..CALLBACK };
        assert_eq!(call.to_string(), "the callback at sequence number 7");
        assert_eq!(CLOSE_HOOK.to_string(), "the hook on_partition_close");
    }
}
