//! Where the events of a partition come from: a receiver of the event hub, or a test.

use std::time::Duration;

use eventhubs_amqp::{LastEnqueuedEventProperties, PartitionReceiver, ReceivedEvent};

use crate::exit::Exit;

/// A link to a partition.
#[derive(Debug)]
pub(crate) struct Source(PartitionReceiver);

impl Source {
    pub(crate) fn new(receiver: PartitionReceiver) -> Self {
        Self(receiver)
    }

    /// As [`PartitionReceiver::receive_batch`].
    pub(crate) async fn receive_batch(
        &mut self,
        most: usize,
        wait: Option<Duration>,
    ) -> eventhubs_amqp::Result<Vec<ReceivedEvent>> {
        self.0.receive_batch(most, wait).await
    }

    pub(crate) fn last_enqueued_event_properties(&self) -> Option<LastEnqueuedEventProperties> {
        self.0.last_enqueued_event_properties()
    }

    /// What was received before a theft belongs to the thief.
    pub(crate) fn check_owned(&self) -> Result<(), Exit> {
        if self.0.ownership_lost() { Err(Exit::Stolen) } else { Ok(()) }
    }

    pub(crate) async fn close(self) -> eventhubs_amqp::Result<()> {
        self.0.close().await
    }
}
