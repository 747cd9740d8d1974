//! Dead letters: events that cannot be handled, and what keeps them.
//!
//! `docs/dead-letters.md` in the repository describes what a letter looks like in a file, an event hub and a table.

#[cfg(feature = "producer")]
mod hub;

use eventhubs_amqp::ReceivedEvent;
pub use eventhubs_dead_letters::{
    BoxError, DeadLetter, DeadLetterSink, Error, ErrorKind, FileDeadLetters, Letters, async_trait,
};
use eventhubs_types::{EventData, OwnerId};
#[cfg(feature = "producer")]
pub use hub::HubDeadLetters;

use crate::PartitionContext;

/// Makes the letter of an event that was handed to a callback, as for a sink that is called within a transaction of the
/// application. The reason, the number of attempts and the time of the first are still to be
/// [said](DeadLetter::because).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use eventhubs::{ConsumerGroup, ConsumerScope, EventData, MemoryCheckpointStore, PartitionContext, ReceivedEvent};
/// # let scope = ConsumerScope::new("n".parse()?, "orders".parse()?, ConsumerGroup::default());
/// # let context = PartitionContext::for_tests(Arc::new(MemoryCheckpointStore::new()), scope, "0".parse()?);
/// # let event = ReceivedEvent::from_parts(EventData::new("tea"), "4096", 7, None);
/// let letter = eventhubs::dead_letters::letter(&context, &event, &"instance-1".parse()?)
///     .because("OutOfStock", "there is no tea");
/// assert_eq!((letter.sequence_number().value(), letter.partition().as_str()), (7, "0"));
/// # Ok(())
/// # }
/// ```
pub fn letter(context: &PartitionContext, event: &ReceivedEvent, owner: &OwnerId) -> DeadLetter {
    let (scope, partition) = (context.checkpointer().scope().clone(), context.partition_id().clone());
    let (number, offset) = (event.sequence_number(), event.offset().clone());
    DeadLetter::new(scope, partition, number, offset, data(event), owner.clone())
        .with_enqueued_time(event.enqueued_time())
        .with_message(event.raw_message().map(|message| message.bytes().clone()))
        .with_undecodable_parts(event.undecodable_parts().to_vec())
}

/// What the sender wrote, as far as it could be decoded.
fn data(event: &ReceivedEvent) -> EventData {
    let mut data = EventData::with_body(event.body().clone());
    data.properties.clone_from(event.properties());
    data.partition_key = event.partition_key().map(str::to_owned);
    data.message_id = event.message_id().map(str::to_owned);
    data.correlation_id = event.correlation_id().map(str::to_owned);
    data.content_type = event.content_type().map(str::to_owned);
    data
}

/// The replay in the guide, which runs.
#[cfg(all(doctest, feature = "producer"))]
#[doc = include_str!("../../../docs/dead-letters.md")]
struct Guide;
