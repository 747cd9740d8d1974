//! Where the events of a partition come from: a receiver of the event hub, or the script of a test.

use std::time::Duration;

use eventhubs_amqp::{LastEnqueuedEventProperties, PartitionReceiver, ReceivedEvent};

use crate::exit::Exit;
#[cfg(feature = "testkit")]
use crate::testing::ScriptedReceiver;

/// A link to a partition.
#[derive(Debug)]
pub(crate) enum Source {
    Receiver(Box<PartitionReceiver>),
    #[cfg(feature = "testkit")]
    Script(ScriptedReceiver),
}

impl Source {
    /// As [`PartitionReceiver::receive_batch`].
    pub(crate) async fn receive_batch(
        &mut self,
        most: usize,
        wait: Option<Duration>,
    ) -> eventhubs_amqp::Result<Vec<ReceivedEvent>> {
        match self {
            Self::Receiver(receiver) => receiver.receive_batch(most, wait).await,
            #[cfg(feature = "testkit")]
            Self::Script(script) => Ok(script.receive_batch(most, wait).await),
        }
    }

    pub(crate) fn last_enqueued_event_properties(&self) -> Option<LastEnqueuedEventProperties> {
        match self {
            Self::Receiver(receiver) => receiver.last_enqueued_event_properties(),
            #[cfg(feature = "testkit")]
            Self::Script(_) => None,
        }
    }

    /// What was received before a theft belongs to the thief.
    pub(crate) fn check_owned(&self) -> Result<(), Exit> {
        let is_stolen = match self {
            Self::Receiver(receiver) => receiver.ownership_lost(),
            #[cfg(feature = "testkit")]
            Self::Script(_) => false,
        };
        if is_stolen { Err(Exit::Stolen) } else { Ok(()) }
    }

    pub(crate) async fn close(self) -> eventhubs_amqp::Result<()> {
        match self {
            Self::Receiver(receiver) => receiver.close().await,
            #[cfg(feature = "testkit")]
            Self::Script(_) => Ok(()),
        }
    }
}
