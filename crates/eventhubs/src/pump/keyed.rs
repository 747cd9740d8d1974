//! Calls back for several events of one partition at once. Which events may start, and up to where all are done, is
//! decided in `policy/window.rs`; what a failure means, in `failing.rs`.

use std::collections::VecDeque;
use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, slice};

use eventhubs_amqp::ReceivedEvent;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};

use crate::exit::{Exit, Order};
use crate::hooks::{OnEvents, Slot};
use crate::policy::window::Window;
use crate::pump::calling::{Call, Caller, Interrupted, ended_at_once};
use crate::pump::failing::{Failing, Next, act};
use crate::pump::orders::Orders;
use crate::pump::progress::Progress;
use crate::report::Fate;
use crate::run::Run;
use crate::source::Source;
use crate::{Error, ErrorKind, HeldBy, PartitionContext};

/// How long calls that are dropped at the end of their time may take to end.
const DROP_LIMIT: Duration = Duration::from_secs(1);

/// How long a call may hold the thread of the pump: a few times what a task costs.
const QUICK: Duration = Duration::from_micros(20);

/// How many calls get a task of their own after one that was not quick.
const CALLS_ELSEWHERE: u32 = 100;

/// The events of one partition that are under way.
pub(crate) struct Keyed {
    run: Arc<Run>,
    orders: Orders,
    failing: Failing,
    window: Window<ReceivedEvent>,
    /// The bytes of the messages in the window.
    bytes: usize,
    /// One for each call that may begin now.
    callers: Vec<Caller>,
    tasks: JoinSet<Finished>,
    /// Calls that were ready at once: no more than there are callers.
    ended: VecDeque<Finished>,
    turns: Turns,
}

/// A call that has ended, or what follows a failure.
pub(crate) struct Finished {
    place: u64,
    outcome: Outcome,
}

enum Outcome {
    Called(Caller, Result<(), Interrupted>),
    /// What was decided about a failure is done.
    Acted(Result<Next, Exit>),
}

impl Keyed {
    pub(crate) fn new(run: Arc<Run>, orders: Orders) -> Self {
        let callers = callers(&run, &orders);
        let failing = Failing::new(Arc::clone(&run), orders.context().clone());
        Self {
            run,
            orders,
            failing,
            window: Window::default(),
            bytes: 0,
            callers,
            tasks: JoinSet::new(),
            ended: VecDeque::new(),
            turns: Turns::default(),
        }
    }

    /// Whether nothing is under way, and nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// Whether no call is under way, nor what follows a failure.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.tasks.is_empty() && self.ended.is_empty()
    }

    /// Reading continues elsewhere.
    pub(crate) fn sought(&mut self) {
        self.failing.forget();
    }

    /// How many more events there may be now: bounds the memory, and what comes again after a crash.
    pub(crate) fn room(&self) -> usize {
        let has_bytes = self.window.is_empty() || self.bytes < self.run.options.prefetch_bytes;
        if has_bytes { self.run.options.concurrency.max_ahead.saturating_sub(self.window.len()) } else { 0 }
    }

    /// Takes the next event of the partition.
    pub(crate) fn push(&mut self, event: ReceivedEvent) {
        self.bytes += size(&event);
        let key = self.run.options.concurrency.key(&event);
        self.window.push(event, key);
    }

    /// Begins all calls that may begin now.
    pub(crate) fn start(&mut self, source: &mut Source) -> Result<(), Exit> {
        self.start_if(|orders| orders.obey().and_then(|()| source.check_owned()))?;
        self.note_hold();
        Ok(())
    }

    /// Begins all calls that may begin now. The question is asked for each, as between any two calls.
    fn start_if(&mut self, may_call: impl Fn(&Orders) -> Result<(), Exit>) -> Result<(), Exit> {
        while let Some(caller) = self.callers.pop() {
            if let Err(exit) = may_call(&self.orders) {
                self.callers.push(caller);
                return Err(exit);
            }
            if let Err(caller) = self.start_one(caller) {
                self.callers.push(caller);
                break;
            }
        }
        Ok(())
    }

    /// Begins the next call, unless nothing may begin: then the caller is given back.
    fn start_one(&mut self, caller: Caller) -> Result<(), Caller> {
        let Some(place) = self.window.start() else { return Err(caller) };
        let Some(event) = self.window.get(place).cloned() else { return Err(caller) };
        let failures = self.failing.failures(event.sequence_number());
        if self.turns.may_begin_here() {
            self.start_here(place, caller, event, failures);
        } else {
            self.start_elsewhere(place, caller, event, failures);
        }
        Ok(())
    }

    /// Begins a call in the task of the pump; it gets its own if it is not ready at once.
    fn start_here(&mut self, place: u64, mut caller: Caller, event: ReceivedEvent, failures: u32) {
        let run = Arc::clone(&self.run);
        let call = Call::at(event.sequence_number());
        let mut scope = caller.scope(slice::from_ref(&event), || failures);
        let since = Instant::now();
        // Nobody waits with this waker: what is not ready is polled again at once, by its own task.
        let mut cx = Context::from_waker(Waker::noop());
        let begin = |slot: &mut Slot, context| call_back(&run, slot, context, event);
        let first = caller.begin(&mut cx, call, &mut scope, begin);
        self.turns.took(since.elapsed());
        match first {
            Poll::Ready(result) => {
                let outcome = Outcome::Called(caller, ended_at_once(scope, result));
                self.ended.push_back(Finished { place, outcome });
            }
            Poll::Pending => self.spawn(async move {
                let result = caller.wait(call, scope).await;
                Finished { place, outcome: Outcome::Called(caller, result) }
            }),
        }
    }

    /// Begins a call in a task of its own.
    fn start_elsewhere(&mut self, place: u64, mut caller: Caller, event: ReceivedEvent, failures: u32) {
        let run = Arc::clone(&self.run);
        self.spawn(async move {
            let call = Call::at(event.sequence_number());
            let scope = caller.scope(slice::from_ref(&event), || failures);
            let begin = |slot: &mut Slot, context| call_back(&run, slot, context, event);
            let result = caller.call(call, scope, begin).await;
            Finished { place, outcome: Outcome::Called(caller, result) }
        });
    }

    fn spawn(&mut self, finishing: impl Future<Output = Finished> + Send + 'static) {
        self.tasks.spawn(finishing.instrument(Span::current()));
    }

    /// Waits for the end of a call, or of what follows a failure; forever if there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Finished, Exit> {
        if let Some(ended) = self.ended.pop_front() {
            return Ok(ended);
        }
        match self.tasks.join_next().await {
            Some(ended) => ended.map_err(|error| Exit::HandlerFailed(self.broken(error))),
            None => pending().await,
        }
    }

    /// Returns one that has ended by now, if any.
    pub(crate) fn try_next(&mut self) -> Option<Result<Finished, Exit>> {
        if let Some(ended) = self.ended.pop_front() {
            return Some(Ok(ended));
        }
        let ended = self.tasks.try_join_next()?;
        Some(ended.map_err(|error| Exit::HandlerFailed(self.broken(error))))
    }

    /// Does what follows from the end of a task.
    pub(crate) fn finish(&mut self, finished: Finished, progress: &mut Progress) -> Result<(), Exit> {
        let Finished { place, outcome } = finished;
        match outcome {
            Outcome::Called(caller, result) => {
                self.callers.push(caller);
                match result {
                    Ok(()) => self.done(place, Fate::Handled, progress),
                    Err(failed) => return self.failed(place, failed, progress),
                }
            }
            Outcome::Acted(next) => match next? {
                Next::Again => self.window.again(place),
                Next::Pass(fate) => self.done(place, fate, progress),
            },
        }
        Ok(())
    }

    fn done(&mut self, place: u64, fate: Fate, progress: &mut Progress) {
        progress.count(fate, 1);
        if let Some(event) = self.window.get(place) {
            self.failing.settle(event.sequence_number());
        }
        let bytes = &mut self.bytes;
        self.window.done(place, |event| {
            *bytes = bytes.saturating_sub(size(&event));
            progress.handled(slice::from_ref(&event));
        });
    }

    /// Decides about a call that failed. What follows runs next to the calls of other keys, and takes the place of
    /// none.
    fn failed(&mut self, place: u64, failed: Interrupted, progress: &mut Progress) -> Result<(), Exit> {
        let Some(event) = self.window.get(place).cloned() else { return Ok(()) };
        let number = event.sequence_number();
        let call = Call::at(number);
        let source = self.failing.source(failed)?;
        let judged = self.failing.judge(number, call, source);
        progress.failed();
        let (run, mut orders) = (Arc::clone(&self.run), self.orders.clone());
        let acting = async move {
            let next = act(&run, &mut orders, judged, slice::from_ref(&event)).await;
            Finished { place, outcome: Outcome::Acted(next) }
        };
        self.spawn(acting);
        Ok(())
    }

    /// Says that nothing more can start, where that is so because one event fails again and again.
    fn note_hold(&self) {
        if self.room() > 0 {
            return;
        }
        let Some(first) = self.window.first() else { return };
        if let Some(HeldBy { sequence_number, attempts }) = self.failing.hold(first.sequence_number()) {
            tracing::warn!(
                partition = %self.orders.context().partition_id(), sequence_number = sequence_number.value(), attempts,
                "an event that fails holds its partition: no more events may be ahead of it (limit its attempts)"
            );
        }
    }

    /// Ends the calls before the partition is closed: after an order to stop, or to hand over, all events up to the
    /// highest that was started are handled, so that none of them comes again; otherwise only what is under way.
    pub(crate) async fn drain(&mut self, exit: &Exit, source: &mut Source, progress: &mut Progress) {
        let deadline = Instant::now() + self.run.options.shutdown_timeout;
        let is_clean =
            matches!(exit, Exit::Ordered(Order::Shutdown | Order::HandOver) | Exit::ReceiveFailed(_));
        if is_clean {
            self.window.close();
        } else {
            self.window.abandon();
        }
        // The next owner has cut off the link already, and waits.
        let is_handed_over = matches!(exit, Exit::Ordered(Order::HandOver));
        loop {
            let may_start = is_handed_over || (is_clean && source.check_owned().is_ok());
            if may_start && self.orders.context().is_owned() {
                // Nothing is asked again: the order to end is there already, so that this cannot fail.
                let _ = self.start_if(|_| Ok(()));
            }
            if self.is_at_rest() {
                break;
            }
            let Ok(finished) = timeout_at(deadline + DROP_LIMIT, self.next()).await else {
                self.drop_calls().await;
                break;
            };
            if finished.and_then(|finished| self.finish(finished, progress)).is_err() {
                // A call that was cut off, or an event that fails: nothing beyond it can be passed any more.
                self.window.abandon();
            }
        }
        self.window = Window::default();
        self.bytes = 0;
    }

    /// The time of the calls is over; one that blocks its thread cannot be ended, and nobody waits for it.
    async fn drop_calls(&mut self) {
        let calls = self.tasks.len();
        self.tasks.abort_all();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(Instant::now() + DROP_LIMIT, ended).await.is_err() {
            self.tasks.detach_all();
        }
        self.callers = callers(&self.run, &self.orders);
        let limit = self.run.options.shutdown_timeout;
        let text =
            format!("{calls} calls were still running {limit:?} after their partition was told to stop");
        let error = Error::new(ErrorKind::Timeout, text).on_partition(self.orders.context().partition_id());
        self.run.report(Some(self.orders.context()), error).await;
    }

    fn broken(&self, error: JoinError) -> Error {
        let error = Error::handler("a call ended unexpectedly", error.into());
        error.on_partition(self.orders.context().partition_id())
    }
}

/// Makes the future of a call.
fn call_back(run: &Run, slot: &mut Slot, context: PartitionContext, event: ReceivedEvent) {
    match &run.on_events {
        OnEvents::Each { event: callback, .. } => callback(slot, context, event),
        // There is no concurrency for batches, by their types.
        OnEvents::Batch(_) => slot.set(ready(Ok(()))),
    }
}

/// Whether calls begin in the task of the pump. That costs a third of a task for each, but several calls that compute do
/// not share the cores then: as soon as one holds its thread for a time, the next ones get tasks.
#[derive(Debug, Default)]
struct Turns {
    /// How many calls get a task before the next one is tried here.
    elsewhere: u32,
}

impl Turns {
    fn may_begin_here(&mut self) -> bool {
        let may_begin = self.elsewhere == 0;
        self.elsewhere = self.elsewhere.saturating_sub(1);
        may_begin
    }

    /// A call that began here held the thread for this time.
    fn took(&mut self, time: Duration) {
        if time > QUICK {
            self.elsewhere = CALLS_ELSEWHERE;
        }
    }
}

/// One for each call that there may be at once.
fn callers(run: &Arc<Run>, orders: &Orders) -> Vec<Caller> {
    let caller = |_| Caller::new(Arc::clone(run), orders.clone());
    (0..run.options.concurrency.calls).map(caller).collect()
}

/// How many bytes an event keeps in memory, about.
fn size(event: &ReceivedEvent) -> usize {
    event.raw_message().map_or(0, |message| message.bytes().len())
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("under_way", &self.tasks.len())
            .field("window", &self.window.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_after_one_that_holds_the_thread_get_tasks() {
        let mut turns = Turns::default();
        for _ in 0..3 {
            assert!(turns.may_begin_here());
            turns.took(QUICK);
        }
        assert!(turns.may_begin_here());
        turns.took(QUICK * 2);
        let here = (0..=CALLS_ELSEWHERE).filter(|_| turns.may_begin_here()).count();
        assert_eq!(here, 1, "the last one is tried here again");
    }
}
