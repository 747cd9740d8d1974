//! How far one partition is: what was delivered, what is handled, and where the next attempt to read it begins.

use std::sync::Arc;

use eventhubs_amqp::ReceivedEvent;
use eventhubs_types::SequenceNumber;

use crate::PartitionContext;
use crate::exit::Exit;
use crate::opening::Resume;
use crate::pump::checkpoint_writer::CheckpointWriter;

/// How far one partition is.
#[derive(Debug)]
pub(crate) struct Progress {
    context: PartitionContext,
    writer: Arc<CheckpointWriter>,
    pub(crate) resume: Resume,
    /// The highest sequence number that was delivered or checkpointed since the link opened. Only grows until the next
    /// attempt: whatever comes next is above it, or the event hub was re-created.
    reached: Option<SequenceNumber>,
}

impl Progress {
    pub(crate) fn new(context: PartitionContext, writer: Arc<CheckpointWriter>) -> Self {
        Self { context, writer, resume: Resume::default(), reached: None }
    }

    /// Reading begins after this event.
    pub(crate) fn opened(&mut self, resume: Resume, after: Option<SequenceNumber>) {
        self.resume = resume;
        self.reached = after;
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
        Ok(number)
    }

    /// The last `count` events up to this one are handled or given up, as are all before them.
    pub(crate) fn handled(&mut self, event: &ReceivedEvent, count: usize) {
        self.resume.handled = Some(event.sequence_number());
        self.writer.handled(event, count);
    }
}
