//! The scope of ownership records and checkpoints.

use std::fmt;

use crate::{ConsumerGroup, EventHubName, Namespace};

/// What a checkpoint or an ownership record belongs to: one consumer group of one event hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ConsumerScope {
    /// The host name of the namespace, without a port.
    pub namespace: Namespace,
    /// The event hub.
    pub event_hub: EventHubName,
    /// The consumer group.
    pub consumer_group: ConsumerGroup,
}

impl ConsumerScope {
    /// Names one consumer group of one event hub.
    pub fn new(namespace: Namespace, event_hub: EventHubName, consumer_group: ConsumerGroup) -> Self {
        Self { namespace, event_hub, consumer_group }
    }

    /// Returns the scope in lower case. The service does not tell names apart by their case, so this is the
    /// spelling under which stores keep a scope.
    ///
    /// ```
    /// # use eventhubs_types::ConsumerScope;
    /// # fn main() -> Result<(), eventhubs_types::InvalidName> {
    /// let scope = ConsumerScope::new("Contoso.servicebus.windows.net".parse()?, "Orders".parse()?, "$Default".parse()?);
    /// assert_eq!(scope.to_lowercase().to_string(), "contoso.servicebus.windows.net/orders/$default");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn to_lowercase(&self) -> Self {
        Self {
            namespace: self.namespace.to_lowercase(),
            event_hub: self.event_hub.to_lowercase(),
            consumer_group: self.consumer_group.to_lowercase(),
        }
    }
}

impl fmt::Display for ConsumerScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.event_hub, self.consumer_group)
    }
}
