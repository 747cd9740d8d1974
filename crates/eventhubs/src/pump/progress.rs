//! How far one partition is: what was delivered, what is handled, where the next attempt to read it begins, and what is
//! to be reported.

use std::mem;
use std::sync::Arc;

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::SequenceNumber;

use crate::exit::Exit;
use crate::opening::Resume;
use crate::policy::until::Standing;
use crate::pump::checkpoint_writer::CheckpointWriter;
use crate::report::{Fate, PartitionReport};
use crate::run::Run;
use crate::{CloseReason, PartitionContext};

/// How far one partition is.
#[derive(Debug)]
pub(crate) struct Progress {
    run: Arc<Run>,
    context: PartitionContext,
    writer: Arc<CheckpointWriter>,
    pub(crate) resume: Resume,
    /// The highest sequence number that was delivered or checkpointed since the link opened. Only grows until the next
    /// attempt: whatever comes next is above it, or the event hub was re-created.
    reached: Option<SequenceNumber>,
    report: PartitionReport,
}

impl Progress {
    pub(crate) fn new(run: Arc<Run>, context: PartitionContext, writer: Arc<CheckpointWriter>) -> Self {
        let report = PartitionReport::default();
        run.instance.board.enter(&context);
        Self { run, context, writer, resume: Resume::default(), reached: None, report }
    }

    /// Reading begins after this event.
    pub(crate) fn opened(&mut self, resume: Resume, after: Option<SequenceNumber>) {
        self.resume = resume;
        self.reached = after;
        self.context.gauges().opened();
    }

    /// Where reading is, for whoever has to know whether anything is left.
    pub(crate) fn standing(&self) -> Standing<'_> {
        Standing { reached: self.reached, began: self.resume.began.as_ref() }
    }

    pub(crate) fn reached(&self) -> Option<SequenceNumber> {
        self.reached
    }

    /// Notes that an event goes to the callback: before the call, which may write it as a checkpoint.
    ///
    /// # Errors
    /// When its number is not above those before it.
    pub(crate) fn deliver(&mut self, event: &ReceivedEvent) -> Result<SequenceNumber, Exit> {
        let number = event.sequence_number();
        if self.reached.is_some_and(|reached| number <= reached) {
            return Err(Exit::Recreated);
        }
        self.reached = Some(number);
        self.resume.delivered(number);
        self.context.checkpointer().delivered(event);
        self.context.gauges().delivered();
        Ok(number)
    }

    /// These events are handled or given up, as are all before them.
    pub(crate) fn handled(&mut self, events: &[ReceivedEvent]) {
        let [first, ..] = events else { return };
        let [.., last] = events else { return };
        let number = last.sequence_number();
        self.resume.handled = Some(number);
        self.report.first.get_or_insert(first.sequence_number());
        self.report.last = Some(number);
        self.context.gauges().reached(last);
        self.writer.handled(last, events.len());
    }

    /// Counts events of which it was decided what becomes of them; those before them may still be under way.
    pub(crate) fn count(&mut self, fate: Fate, events: usize) {
        self.report.count(fate, events);
        self.context.gauges().done(events);
    }

    /// Counts a call of the callback that failed.
    pub(crate) fn failed(&mut self) {
        self.report.failed += 1;
        self.context.gauges().failed();
    }

    /// The partition is closed, for now or for good.
    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.report.closed = Some(reason);
    }
}

/// Here, so that what was done is reported and counted also where the pump is aborted.
impl Drop for Progress {
    fn drop(&mut self) {
        let checkpoint = self.context.checkpointer().recorded();
        let report = PartitionReport { checkpoint, ..mem::take(&mut self.report) };
        self.run.add(self.context.partition_id(), &report);
        self.run.instance.board.leave(&self.context);
    }
}
