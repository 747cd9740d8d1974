//! One call of the user's code: guarded against its panic, within its deadline, and with a time limit after an order to
//! stop. What a failure means is not decided here but in `failing.rs`.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending, poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::SequenceNumber;
use futures::FutureExt as _;
use tokio::time::{Instant, sleep};

use crate::exit::Order;
use crate::hooks::{OnEvents, Slot, guarded_now};
use crate::instance::Instance;
use crate::observe::{self, CallObserver, CallOutcome, CallScope, Observation, ObservedPartition};
use crate::pump::orders::Orders;
use crate::reminder::{LONG_CALL, reminding};
use crate::run::Run;
use crate::status::Stall;
use crate::watchdog::CallSlot;
use crate::{Error, ErrorKind, HandlerError, HandlerResult, PartitionContext};

/// Calls the user's code for one partition, one call at a time.
pub(crate) struct Caller {
    run: Arc<Run>,
    orders: Orders,
    /// Where the watchdog sees what is called.
    watched: Arc<CallSlot>,
    /// What the observers have for the calls.
    observer: Option<Box<dyn CallObserver>>,
    /// The memory of the callback's future, which is the same size each time.
    future: Slot,
    /// Whether the last call was not ready at once.
    has_waited: bool,
}

/// Why a call has no good end.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The callback returned an error, panicked or exceeded its deadline.
    Failed(HandlerError),
    /// It was dropped, some time after an order to stop.
    Ordered(Order),
}

/// One call of the user's code, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    what: &'static str,
    /// The event, or the last one of a batch.
    number: Option<SequenceNumber>,
}

impl Call {
    pub(crate) const IDLE: Self = Self { what: "callback", number: None };
    pub(crate) const INITIALIZE_HOOK: Self = Self { what: "hook on_partition_initialize", number: None };
    pub(crate) const CLOSE_HOOK: Self = Self { what: "hook on_partition_close", number: None };

    /// A call of the callback with an event, or with a batch that ends with it.
    pub(crate) fn at(number: SequenceNumber) -> Self {
        Self { number: Some(number), ..Self::IDLE }
    }

    fn has_deadline(self) -> bool {
        self.what == Self::IDLE.what
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {}", self.what)?;
        match self.number {
            Some(number) => write!(f, " at sequence number {number}"),
            None => Ok(()),
        }
    }
}

impl Caller {
    pub(crate) fn new(run: Arc<Run>, orders: Orders) -> Self {
        let watched = run.calls.register(orders.context().partition_id());
        orders.context().gauges().register(&watched);
        let Instance { observers, scope, owner, .. } = &*run.instance;
        let partition = orders.context().partition_id();
        let is_batch = matches!(run.on_events, OnEvents::Batch(_));
        let observer = observers.calls(&ObservedPartition { scope, owner, partition, is_batch });
        Self { run, orders, watched, observer, future: empty(), has_waited: true }
    }

    /// Whether time may have passed in the last call, other than what the thread took.
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// What the observers put around a call with these events, of which the first has failed so often.
    pub(crate) fn scope(
        &self,
        events: &[ReceivedEvent],
        failures: impl FnOnce() -> u32,
    ) -> Option<Box<dyn CallScope>> {
        let observer = self.observer.as_ref()?;
        let attempt = failures().saturating_add(1);
        // A panic here ends the attempt, as any outside of the callback; one in the scope is a failure of the call.
        observer.begin(&observe::Call { events, attempt })
    }

    /// Calls back: `begin` makes the future of the call in the slot. After an order the call has the shutdown time
    /// limit left.
    pub(crate) async fn call(
        &mut self,
        call: Call,
        mut scope: Option<Box<dyn CallScope>>,
        begin: impl FnOnce(&mut Slot, PartitionContext),
    ) -> Result<(), Interrupted> {
        let mut begin = Some(begin);
        let first = poll_fn(|cx| {
            let begin = begin.take();
            Poll::Ready(begin.map_or(Poll::Pending, |begin| self.begin(cx, call, &mut scope, begin)))
        });
        match first.await {
            Poll::Ready(result) => ended_at_once(scope, result),
            Poll::Pending => self.wait(call, scope).await,
        }
    }

    /// Begins a call: makes its future, and polls it once.
    ///
    /// Most callbacks are ready at once, and need none of the timers that a wait needs. No other future is around the
    /// first poll either: their layers would cost more than a short callback.
    pub(crate) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        call: Call,
        scope: &mut Option<Box<dyn CallScope>>,
        begin: impl FnOnce(&mut Slot, PartitionContext),
    ) -> Poll<HandlerResult> {
        let Self { orders, watched, future, has_waited, .. } = self;
        watched.set_event(call.number);
        let mut begin = Some(begin);
        let first = poll_call(watched, scope, || {
            // The closure may block or panic before it has made a future, so it is called where that is seen.
            if let Some(begin) = begin.take() {
                begin(future, orders.context().clone());
            }
            future.poll(cx)
        });
        *has_waited = first.is_pending();
        first
    }

    /// Waits for the end of a call that has begun and was not ready at once.
    pub(crate) async fn wait(
        &mut self,
        call: Call,
        mut scope: Option<Box<dyn CallScope>>,
    ) -> Result<(), Interrupted> {
        let Self { run, orders, watched, future, .. } = self;
        let ended = {
            let _waits = watched.waits();
            let rest = poll_fn(|cx| poll_call(watched, &mut scope, || future.poll(cx)));
            // Boxed, since its timers would make the task of each partition larger, and that of each concurrent call.
            until_ended(run, orders, call, rest).boxed().await
        };
        if let Some(scope) = scope {
            scope.end(ended.outcome());
        }
        if let Ended::By(result) = ended {
            return result.map_err(Interrupted::Failed);
        }
        // What was abandoned is dropped now, and not with the next call.
        self.future = empty();
        match ended {
            Ended::Order(order) => {
                self.run.report(Some(self.orders.context()), self.overdue(call)).await;
                Err(Interrupted::Ordered(order))
            }
            _ => Err(Interrupted::Failed(self.exceeded(call))),
        }
    }

    fn exceeded(&self, call: Call) -> HandlerError {
        let limit = self.run.options.deadline.unwrap_or_default();
        Error::new(ErrorKind::Timeout, format!("{call} did not end within its deadline of {limit:?}")).into()
    }

    fn overdue(&self, call: Call) -> Error {
        let limit = self.run.options.shutdown_timeout;
        let text = format!("{call} was still running {limit:?} after its partition was told to stop");
        Error::new(ErrorKind::Timeout, text).on_partition(self.orders.context().partition_id())
    }
}

/// The end of a call that was ready at once.
pub(crate) fn ended_at_once(
    scope: Option<Box<dyn CallScope>>,
    result: HandlerResult,
) -> Result<(), Interrupted> {
    if let Some(scope) = scope {
        scope.end(outcome_of(&result));
    }
    result.map_err(Interrupted::Failed)
}

fn outcome_of(result: &HandlerResult) -> CallOutcome<'_> {
    match result {
        Ok(()) => CallOutcome::Handled,
        Err(error) => CallOutcome::Failed(error),
    }
}

/// How a call ended.
enum Ended {
    By(HandlerResult),
    Deadline,
    Order(Order),
}

impl Ended {
    fn outcome(&self) -> CallOutcome<'_> {
        match self {
            Self::By(result) => outcome_of(result),
            Self::Deadline => CallOutcome::DeadlineExceeded,
            Self::Order(_) => CallOutcome::Cancelled,
        }
    }
}

/// Polls the user's code where the watchdog sees that it holds its thread, within what the observers put around the call.
/// Its panic is its own error.
fn poll_call(
    watched: &CallSlot,
    scope: &mut Option<Box<dyn CallScope>>,
    mut poll: impl FnMut() -> Poll<HandlerResult>,
) -> Poll<HandlerResult> {
    let _held = watched.hold();
    guarded_now(|| {
        let Some(scope) = scope else { return poll() };
        let mut polled = Poll::Pending;
        scope.poll(&mut || polled = poll());
        polled
    })
    .unwrap_or_else(|panic| Poll::Ready(Err(panic)))
}

/// Says when a call counts as stalled, and when it has ended after all. Dropped with the end of the call.
async fn stalls(run: &Run, context: PartitionContext, call: Call) -> Infallible {
    let after = run.options.stall_after;
    sleep(after).await;
    let partition = context.partition_id();
    tracing::warn!(
        %partition, sequence_number = call.number.map(SequenceNumber::value), ?after,
        "the partition is stalled: the {} does not end", call.what
    );
    let stall = Stall::Call { sequence_number: call.number };
    run.observe(&Observation::Stalled { partition, stall });
    let _ended = Stalled { run, context: &context, since: Instant::now() };
    pending().await
}

/// A call that counts as stalled, until it is dropped.
struct Stalled<'a> {
    run: &'a Run,
    context: &'a PartitionContext,
    since: Instant,
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        let (partition, after) = (self.context.partition_id(), self.since.elapsed());
        self.run.observe(&Observation::StallEnded { partition, after });
    }
}

/// Waits for a call that was not ready at once.
async fn until_ended(
    run: &Run,
    orders: &mut Orders,
    call: Call,
    calling: impl Future<Output = HandlerResult>,
) -> Ended {
    let limit = run.options.shutdown_timeout;
    let context = orders.context().clone();
    let partition = context.partition_id().clone();
    let overdue = async {
        let order = orders.next().await;
        sleep(limit).await;
        order
    };
    let overdue = reminding(LONG_CALL, overdue, |since| {
        let number = call.number.map(SequenceNumber::value);
        tracing::warn!(%partition, sequence_number = number, ?since, "the {} is still running", call.what);
    });
    let deadline = async {
        match run.options.deadline.filter(|_| call.has_deadline()) {
            Some(deadline) => sleep(deadline).await,
            None => pending().await,
        }
    };
    tokio::select! {
        // A callback that ends at the same moment as its time has ended in time.
        biased;
        result = calling => Ended::By(result),
        order = overdue => Ended::Order(order),
        () = deadline => Ended::Deadline,
        never = stalls(run, context, call) => match never {},
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("has_waited", &self.has_waited).finish_non_exhaustive()
    }
}

fn empty() -> Slot {
    Slot::new(ready(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_its_event_where_it_has_one() {
        assert_eq!(Call::at(7.into()).to_string(), "the callback at sequence number 7");
        assert_eq!(Call::CLOSE_HOOK.to_string(), "the hook on_partition_close");
    }
}
