//! How a pump receives: the number of events that a call waits for, within the time that it may wait, with a look at links
//! that are quiet and at the bound of a run.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::ReceivedEvent;
use futures::FutureExt as _;
use tokio::time::Instant;

use crate::exit::Exit;
use crate::gauges::Phase;
use crate::observe::Observation;
use crate::policy::quiet::Finding;
use crate::pump::Pump;
use crate::pump::bounded::Bounded;
use crate::source::Source;
use crate::{Error, ErrorKind};

impl Pump {
    /// The next batch: the number of events that a call waits for, or what came within the time for that.
    pub(super) async fn receive_full(&mut self, source: &mut Source) -> Result<Vec<ReceivedEvent>, Exit> {
        let run = Arc::clone(&self.run);
        let (least, most) = (run.options.min_batch_size, run.options.max_batch_size);
        let mut events = self.receive_checked(source, most).await?;
        let end = Instant::now().checked_add(run.options.max_wait_time.unwrap_or_default());
        while !events.is_empty() && events.len() < least && !self.has_ended() {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            // What ends the attempt here drops events that nobody has seen: the next attempt reads them again.
            let more = self.receive_within(source, most - events.len(), left).await?;
            events.extend(self.checked(more).await?);
        }
        Ok(events)
    }

    /// The next events, of which the first is the one that comes after the checkpoint; none after the idle time.
    pub(super) async fn receive_checked(
        &mut self,
        source: &mut Source,
        most: usize,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        let events = self.receive_within(source, most, self.run.options.max_wait_time).await?;
        self.checked(events).await
    }

    /// Leaves the events that come before the end of a bounded run. All of them are checked: what comes first may come
    /// after the end.
    pub(super) async fn checked(
        &mut self,
        mut events: Vec<ReceivedEvent>,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        self.check_first(&events).await?;
        if let Some(bounded) = &mut self.bounded {
            bounded.cut(&mut events);
        }
        Ok(events)
    }

    /// The next events; none after this time, or when the end of a bounded run is reached.
    ///
    /// # Cancel safety
    /// No event is taken before the future is ready.
    pub(super) async fn receive_within(
        &mut self,
        source: &mut Source,
        most: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        // `None` also where the clock cannot count that far.
        let end = wait.and_then(|wait| Instant::now().checked_add(wait));
        while !self.has_ended() {
            let look = self.bounded.as_ref().map(Bounded::next_look);
            let until = end.into_iter().chain(look).min();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let events = self.receive_watched(source, most, left).await?;
            if !events.is_empty() || end.is_some_and(|end| end <= Instant::now()) {
                return Ok(events);
            }
            self.look_again().await?;
        }
        Ok(Vec::new())
    }

    /// As [`receive`](Self::receive), but not for longer than until a quiet link is to be looked at.
    async fn receive_watched(
        &mut self,
        source: &mut Source,
        most: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        let rest = match self.quiet.finding() {
            Finding::Wait(rest) => rest,
            Finding::Ask => return self.ask_for_newest(source, most).boxed().await,
            Finding::Stalled(newest) => return Err(self.link_stalled(newest)),
        };
        let wait = wait.map_or(rest, |wait| wait.min(rest));
        let events = self.receive(source, most, Some(wait)).await?;
        if events.is_empty() {
            self.quiet.waited(wait);
        } else {
            self.quiet.over();
            self.link_recovered();
        }
        Ok(events)
    }

    /// Asks whether a bounded run has anything left to read here.
    async fn look_again(&mut self) -> Result<(), Exit> {
        let Some(bounded) = &mut self.bounded else { return Ok(()) };
        let looking = bounded.look(self.progress.standing());
        if let Err(error) = self.orders.unless_ordered(looking).await? {
            self.run.report(Some(&self.context), error).await;
        }
        Ok(())
    }

    /// Whether everything that a bounded run reads here was received.
    pub(super) fn has_ended(&self) -> bool {
        self.bounded.as_ref().is_some_and(Bounded::is_reached)
    }

    /// The next events. A passing trouble is reported and waited out; the receiver paces its own attempts.
    ///
    /// # Cancel safety
    /// No event is taken before the future is ready.
    pub(super) async fn receive(
        &mut self,
        source: &mut Source,
        most: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<ReceivedEvent>, Exit> {
        loop {
            let gauges = self.context.gauges();
            gauges.set_waiting(true);
            let received = self.orders.unless_ordered(source.receive_batch(most, wait)).await?;
            gauges.set_waiting(false);
            match received {
                Ok(events) => {
                    self.log_recovery();
                    if let Some(properties) = source.last_enqueued_event_properties() {
                        self.context.set_last_enqueued(properties);
                    }
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
                    self.fails(&error);
                    self.context.gauges().set_phase(Phase::Opening);
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
        match (has_gap, mem::take(&mut self.progress.resume.doubts_offset)) {
            (false, false) => {}
            (true, false) => return Err(Exit::OffsetAhead),
            (true, true) => {
                let partition = self.context.partition_id();
                tracing::warn!(
                    %partition, checkpoint = checkpoint.value(), first = first.value(),
                    "events after the checkpoint are gone: they expired, or compaction removed them"
                );
                self.run.observe(&Observation::Expired { partition, checkpoint, first });
            }
            (false, true) => {
                let text = "the offset of the checkpoint is ahead of its sequence number, so reading continues after the number";
                let error =
                    Error::new(ErrorKind::InvalidPosition, text).on_partition(self.context.partition_id());
                self.run.report(Some(&self.context), error).await;
            }
        }
        Ok(())
    }
}
