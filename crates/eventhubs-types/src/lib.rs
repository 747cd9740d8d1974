//! The words that the `eventhubs` crates share: names, positions, values and events of Azure Event Hubs.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

mod causes;
mod credential;
mod event;
mod mistakes;
mod name;
mod position;
mod scope;
mod value;

pub use causes::write_with_causes;
pub use credential::{AccessToken, TokenCredential, TokenError};
pub use event::{EventBody, EventData};
pub use mistakes::{no_connection_string, says_unknown_host};
pub use name::{ConsumerGroup, EventHubName, InvalidName, Namespace, OwnerId, PartitionId};
pub use position::{Offset, SequenceNumber, StartingPosition};
pub use scope::ConsumerScope;
pub use value::Value;
