use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::{PartitionReceiver, ReceivedEvent};
use eventhubs_types::{PartitionId, StartingPosition};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::checkpointer::Checkpointer;
use crate::hooks::{OnEvents, guarded};
use crate::opening::{Opened, open};
use crate::pacing::Pacing;
use crate::run::Run;
use crate::{CloseReason, Error, ErrorKind, HandlerResult, PartitionContext};

/// How many events are taken from the receiver at a time for a callback that gets one event a call.
const EVENTS_A_TURN: usize = 100;

/// How long a pump whose link was stolen waits to be told by whom: as long as a look into the store may take.
const VERDICT_LIMIT: Duration = Duration::from_secs(15);

/// Where a pump tells the processor that its link was stolen.
pub(crate) type Bell = mpsc::Sender<PartitionId>;

/// What the processor tells a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    Shutdown,
    OwnershipLost,
    /// Another instance has the partition and waits until it is closed here.
    HandOver,
}

/// How a pump ended by itself, or on order.
#[derive(Debug)]
pub(crate) enum Ended {
    /// As ordered.
    Stopped,
    /// Another reader took the partition at the broker.
    Stolen,
    /// Nothing can be read, by a mistake in what the user gave or since the client is closed.
    Refused(Error),
}

/// Why one attempt to read the partition ended.
#[derive(Debug)]
enum Exit {
    Ordered(Order),
    Stolen,
    HandlerFailed(Error),
    ReceiveFailed(Error),
}

impl Exit {
    fn close_reason(&self) -> CloseReason {
        match self {
            Self::Ordered(Order::OwnershipLost) | Self::Stolen => CloseReason::OwnershipLost,
            Self::Ordered(Order::HandOver) => CloseReason::HandedOver,
            Self::Ordered(_) => CloseReason::Shutdown,
            Self::HandlerFailed(_) => CloseReason::HandlerFailed,
            Self::ReceiveFailed(_) => CloseReason::ReceiveFailed,
        }
    }
}

/// Reads one partition for as long as it is owned: resume, receive, call back, start over after a failure.
#[derive(Debug)]
pub(crate) struct Pump {
    run: Arc<Run>,
    context: PartitionContext,
    orders: watch::Receiver<Order>,
    /// `None` where nobody balances.
    bell: Option<Bell>,
    pacing: Pacing,
    /// Where this ownership began, for a partition that has no checkpoint yet.
    began: Option<StartingPosition>,
}

impl Pump {
    pub(crate) fn new(
        run: Arc<Run>,
        context: PartitionContext,
        orders: watch::Receiver<Order>,
        bell: Option<Bell>,
    ) -> Self {
        let pacing = run.client.pacing();
        Self { run, context, orders, bell, pacing, began: None }
    }

    /// Reads until the partition is not ours any more; then no checkpoint is written either.
    pub(crate) async fn run(mut self) -> Ended {
        let ended = self.attempts().await;
        self.context.checkpointer().revoke();
        ended
    }

    async fn attempts(&mut self) -> Ended {
        loop {
            match self.attempt_guarded().await {
                Exit::Ordered(_) => return Ended::Stopped,
                Exit::Stolen => return Ended::Stolen,
                Exit::ReceiveFailed(error) if self.run.ends_with(&error) => return Ended::Refused(error),
                Exit::HandlerFailed(error) | Exit::ReceiveFailed(error) => {
                    self.run.report(Some(&self.context), error).await;
                    let pause = sleep(self.pacing.failed());
                    if self.unless_ordered(pause).await.is_err() {
                        return Ended::Stopped;
                    }
                }
            }
        }
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
        self.initialize().await;
        let Err(exit) = self.read(&mut receiver).await;
        let exit = self.verdict(exit).await;
        self.close(receiver, &exit).await;
        exit
    }

    /// A reader that the partition was taken from is cut off, and given the time to write its checkpoint.
    async fn open(&mut self) -> Result<PartitionReceiver, Exit> {
        let receiver = self.attach().await?;
        let context = self.context.clone();
        if context.checkpointer().is_settled() {
            return Ok(receiver);
        }
        self.unless_ordered(context.checkpointer().settled()).await?;
        self.detach(receiver).await;
        self.attach().await
    }

    async fn attach(&mut self) -> Result<PartitionReceiver, Exit> {
        let run = Arc::clone(&self.run);
        let context = self.context.clone();
        let began = self.began.clone();
        match self.unless_ordered(open(&run, &context, began)).await? {
            Ok(Opened { receiver, began }) => {
                self.began = Some(began);
                self.run.opened();
                Ok(receiver)
            }
            Err(error) if error.kind() == ErrorKind::OwnershipLost => Err(Exit::Stolen),
            Err(error) => Err(Exit::ReceiveFailed(error)),
        }
    }

    /// Who stole the link may be an instance that waits for this one: the processor looks into the store.
    async fn verdict(&mut self, exit: Exit) -> Exit {
        let (Exit::Stolen, Some(bell)) = (&exit, self.bell.clone()) else {
            return exit;
        };
        let partition = self.context.partition_id().clone();
        let orders = &mut self.orders;
        let told = timeout(VERDICT_LIMIT, async {
            bell.send(partition).await.ok()?;
            Some(ordered(orders, self.context.checkpointer()).await)
        });
        match told.await {
            Ok(Some(Order::HandOver)) => Exit::Ordered(Order::HandOver),
            _ => exit,
        }
    }

    async fn initialize(&mut self) {
        let run = Arc::clone(&self.run);
        let Some(hook) = &run.hooks.initialize else { return };
        if let Err(Exit::HandlerFailed(error)) = self.call(|context| hook(context)).await {
            run.report(Some(&self.context), error).await;
        }
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
                        self.call(|context| idle(context)).await?;
                    }
                    for one in events {
                        self.may_call().await?;
                        still_owned(receiver)?;
                        self.context.checkpointer().delivered(&one);
                        self.call(|context| event(context, one)).await?;
                    }
                }
                OnEvents::Batch(batch) => {
                    self.may_call().await?;
                    still_owned(receiver)?;
                    if let Some(last) = events.last() {
                        self.context.checkpointer().delivered(last);
                    }
                    self.call(|context| batch(context, events)).await?;
                }
            }
            self.pacing.succeeded();
        }
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
                    if let Some(properties) = receiver.last_enqueued_event_properties() {
                        self.context.set_last_enqueued(properties);
                    }
                    return Ok(events);
                }
                Err(error) if error.kind() == eventhubs_amqp::ErrorKind::OwnershipLost => {
                    return Err(Exit::Stolen);
                }
                Err(error) => {
                    let transient = error.is_transient();
                    let error = self.receive_error(error);
                    if !transient {
                        return Err(Exit::ReceiveFailed(error));
                    }
                    self.run.report(Some(&self.context), error).await;
                }
            }
        }
    }

    /// What must happen in this order, so that nobody processes an event twice after a clean stop: the user's last
    /// checkpoint, the detach, and only then (by the processor) the release (contract §8.7).
    async fn close(&mut self, receiver: PartitionReceiver, exit: &Exit) {
        let reason = exit.close_reason();
        if reason == CloseReason::OwnershipLost {
            self.context.checkpointer().revoke();
        }
        let run = Arc::clone(&self.run);
        if let Some(hook) = &run.hooks.close {
            let closed = self.call(|context| {
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
        self.detach(receiver).await;
    }

    async fn detach(&self, receiver: PartitionReceiver) {
        if let Err(error) = receiver.close().await {
            tracing::debug!(partition = %self.context.partition_id(), %error, "the detach was not answered");
        }
    }

    /// Calls back. A panic is an error like any other, and after an order the callback has the shutdown time limit left.
    async fn call(
        &mut self,
        callback: impl FnOnce(PartitionContext) -> BoxFuture<'static, HandlerResult>,
    ) -> Result<(), Exit> {
        let context = self.context.clone();
        let limit = self.run.options.shutdown_timeout;
        let orders = &mut self.orders;
        let overdue = async {
            let order = ordered(orders, self.context.checkpointer()).await;
            sleep(limit).await;
            order
        };
        let result = tokio::select! {
            biased;
            result = guarded(|| callback(context)) => result.and_then(|result| result),
            order = overdue => {
                let text = format!("the callback was still running {limit:?} after the partition was to stop");
                let error = Error::new(ErrorKind::Timeout, text).on_partition(self.context.partition_id());
                self.run.report(Some(&self.context), error).await;
                return Err(Exit::Ordered(order));
            }
        };
        result.map_err(|source| match source.downcast_ref::<Error>() {
            Some(error) if error.kind() == ErrorKind::OwnershipLost => Exit::Ordered(Order::OwnershipLost),
            _ => {
                let error = Error::handler("the callback failed", source);
                Exit::HandlerFailed(error.on_partition(self.context.partition_id()))
            }
        })
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
            biased;
            order = ordered(&mut self.orders, self.context.checkpointer()) => Err(Exit::Ordered(order)),
            value = future => Ok(value),
        }
    }

    fn receive_error(&self, source: eventhubs_amqp::Error) -> Error {
        Error::amqp("the partition could not be read", source).on_partition(self.context.partition_id())
    }
}

/// What was received before a theft belongs to the thief.
fn still_owned(receiver: &PartitionReceiver) -> Result<(), Exit> {
    if receiver.ownership_lost() {
        return Err(Exit::Stolen);
    }
    Ok(())
}

/// Waits for an order to stop. A processor that is gone counts as one, and so does a lease that has ended: the pump stops
/// in time also where the processor is late to say so.
async fn ordered(orders: &mut watch::Receiver<Order>, checkpointer: &Checkpointer) -> Order {
    let order = orders.wait_for(|order| *order != Order::Run);
    tokio::select! {
        biased;
        order = order => order.map_or(Order::Shutdown, |order| *order),
        () = checkpointer.lease_ended() => Order::OwnershipLost,
    }
}
