//! Hands events to the callback one call after the other, in the order of the partition: one event a call, or a batch.
//! A call that failed is repeated, or its events are given up, before the next one.

use std::sync::Arc;

use eventhubs_amqp::ReceivedEvent;
use futures::FutureExt as _;

use crate::exit::Exit;
use crate::hooks::{BatchCallback, EachCallback, OnIdle, Slot};
use crate::policy::bisection::Bisection;
use crate::policy::failure::{BatchFailed, Cause};
use crate::pump::calling::{Call, Caller, Interrupted};
use crate::pump::failing::{Failing, Next, act};
use crate::pump::orders::Orders;
use crate::pump::progress::Progress;
use crate::report::Fate;
use crate::run::Run;
use crate::source::Source;
use crate::{Error, HandlerError, PartitionContext};

/// Calls back for one partition, one call at a time.
#[derive(Debug)]
pub(crate) struct Sequential {
    run: Arc<Run>,
    orders: Orders,
    caller: Caller,
    failing: Failing,
}

impl Sequential {
    pub(crate) fn new(run: Arc<Run>, orders: Orders) -> Self {
        let caller = Caller::new(Arc::clone(&run), orders.clone());
        let failing = Failing::new(Arc::clone(&run), orders.context().clone());
        Self { run, orders, caller, failing }
    }

    /// Calls a hook, whose failure ends the attempt to read the partition. `tries` counts from 1.
    pub(crate) async fn hook(
        &mut self,
        call: Call,
        tries: u32,
        begin: impl FnOnce(&mut Slot, PartitionContext),
    ) -> Result<(), Exit> {
        match self.caller.call(call, None, begin).await {
            Ok(()) => Ok(()),
            Err(Interrupted::Ordered(order)) => Err(Exit::Ordered(order)),
            Err(Interrupted::Failed(source)) => {
                let partition = self.orders.context().partition_id();
                let text = format!("{call} failed (attempt {tries})");
                if Cause::of(&source) == Cause::Mistake {
                    return Err(Exit::HandlerGaveUp(Error::mistaken(text, source).on_partition(partition)));
                }
                Err(Exit::HandlerFailed(Error::handler(text, source).on_partition(partition)))
            }
        }
    }

    /// Reading continues elsewhere.
    pub(crate) fn sought(&mut self) {
        self.failing.forget();
    }

    /// Calls the callback for idle partitions.
    pub(crate) async fn idle(&mut self, idle: &OnIdle, tries: u32) -> Result<(), Exit> {
        self.orders.may_call().await?;
        self.hook(Call::IDLE, tries, |slot, context| slot.set(idle(context))).await
    }

    /// Calls back with each event.
    pub(crate) async fn each(
        &mut self,
        callback: &EachCallback,
        events: Vec<ReceivedEvent>,
        source: &mut Source,
        progress: &mut Progress,
    ) -> Result<(), Exit> {
        self.orders.may_call().await?;
        for event in events {
            let number = progress.deliver(&event)?;
            let call = Call::at(number);
            let fate = loop {
                // In this order. A pause may take long, so the order and the theft are asked after it; between the last
                // question and the call nothing awaits.
                if self.caller.has_waited() || self.orders.context().is_paused() {
                    self.orders.may_call().await?;
                } else {
                    self.orders.obey_still()?;
                }
                source.check_owned()?;
                let scope = self.caller.scope(std::slice::from_ref(&event), || self.failing.failures(number));
                let called =
                    self.caller.call(call, scope, |slot, context| callback(slot, context, event.clone()));
                let Err(failed) = called.await else {
                    break Fate::Handled;
                };
                let judged = self.failing.judge(number, call, self.failing.source(failed)?);
                self.failing.hold(number);
                progress.failed();
                let acting = act(&self.run, &mut self.orders, judged, std::slice::from_ref(&event)).boxed();
                if let Next::Pass(fate) = acting.await? {
                    break fate;
                }
            };
            self.failing.settle(number);
            progress.count(fate, 1);
            progress.handled(std::slice::from_ref(&event));
        }
        Ok(())
    }

    /// Calls back with the events as one batch, or with parts of it after a failure.
    pub(crate) async fn batch(
        &mut self,
        callback: &BatchCallback,
        events: Vec<ReceivedEvent>,
        source: &mut Source,
        progress: &mut Progress,
    ) -> Result<(), Exit> {
        for event in &events {
            progress.deliver(event)?;
        }
        if events.is_empty() {
            self.orders.may_call().await?;
            return self.hook(Call::IDLE, 1, |slot, context| callback(slot, context, Vec::new())).await;
        }
        let mut parts = Bisection::new(events.len());
        while let Some(range) = parts.next() {
            let part = &events[range.clone()];
            self.orders.may_call().await?;
            source.check_owned()?;
            let call = part.last().map_or(Call::IDLE, |last| Call::at(last.sequence_number()));
            let scope = self.caller.scope(part, || self.failing.failures(part[0].sequence_number()));
            let called =
                self.caller.call(call, scope, |slot, context| callback(slot, context, part.to_vec()));
            match called.await {
                Ok(()) => {
                    self.failing.settle(part[0].sequence_number());
                    parts.done(pass(part, Fate::Handled, progress));
                }
                Err(failed) => {
                    let source = self.failing.source(failed)?;
                    progress.failed();
                    self.part_failed(call, source, part, range.end, &mut parts, progress).await?;
                }
            }
        }
        Ok(())
    }

    /// What becomes of a part of a batch whose call failed.
    async fn part_failed(
        &mut self,
        call: Call,
        source: HandlerError,
        part: &[ReceivedEvent],
        end: usize,
        parts: &mut Bisection,
        progress: &mut Progress,
    ) -> Result<(), Exit> {
        let named = BatchFailed::index_in(&source).map(|index| index.min(part.len() - 1));
        let may_halve = named.is_none() && part.len() > 1 && Cause::of(&source).may_be_one_event();
        if may_halve && self.run.options.failure.bisects() {
            // No attempt of any event: it is not known which one failed.
            let error =
                Error::handler(format!("{call} failed, and is repeated with half of the batch"), source);
            let error = error.on_partition(self.orders.context().partition_id());
            self.run.report(Some(self.orders.context()), error).await;
            parts.halve(end);
            return Ok(());
        }
        // What is before the named event is done, whatever becomes of that event, and may be written before the pause.
        // Without a name it is the whole part that fails.
        let (done, rest) = part.split_at(named.unwrap_or(0));
        parts.done(pass(done, Fate::Handled, progress));
        let failing = if named.is_some() { &rest[..1] } else { rest };
        let number = failing[0].sequence_number();
        let judged = self.failing.judge(number, call, source);
        self.failing.hold(number);
        if let Next::Pass(fate) = act(&self.run, &mut self.orders, judged, failing).boxed().await? {
            self.failing.settle(number);
            parts.done(pass(failing, fate, progress));
            parts.clear();
        }
        Ok(())
    }
}

/// Notes what became of these events, and returns how many they are.
fn pass(events: &[ReceivedEvent], fate: Fate, progress: &mut Progress) -> usize {
    progress.count(fate, events.len());
    progress.handled(events);
    events.len()
}
