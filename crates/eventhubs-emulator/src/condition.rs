use std::borrow::Cow;

use fe2o3_amqp_types::definitions::{self, ErrorCondition};
use fe2o3_amqp_types::primitives::Symbol;

pub(crate) const LINK_STOLEN: &str = "amqp:link:stolen";
pub(crate) const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
pub(crate) const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
pub(crate) const NOT_FOUND: &str = "amqp:not-found";
pub(crate) const NOT_ALLOWED: &str = "amqp:not-allowed";
pub(crate) const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
pub(crate) const DECODE_ERROR: &str = "amqp:decode-error";
pub(crate) const CONNECTION_FORCED: &str = "amqp:connection:forced";
pub(crate) const INTERNAL_ERROR: &str = "amqp:internal-error";
pub(crate) const UNAUTHORIZED: &str = "amqp:unauthorized-access";
pub(crate) const RESOURCE_LIMIT: &str = "amqp:resource-limit-exceeded";
pub(crate) const SERVER_BUSY: &str = "com.microsoft:server-busy";
pub(crate) const ARGUMENT_ERROR: &str = "com.microsoft:argument-error";
pub(crate) const INVALID_OFFSET: &str = "com.microsoft:georeplication:invalid-offset";
pub(crate) const ARGUMENT_OUT_OF_RANGE: &str = "com.microsoft:argument-out-of-range";

/// Why the broker refuses or ends a link, a session or a connection (docs/contract.md §5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) symbol: Cow<'static, str>,
    pub(crate) description: String,
}

impl Condition {
    pub(crate) fn new(symbol: impl Into<Cow<'static, str>>, description: impl Into<String>) -> Self {
        Self { symbol: symbol.into(), description: description.into() }
    }

    /// The text of the service for a hub, group or namespace that does not exist.
    pub(crate) fn entity_not_found(address: &str) -> Self {
        Self::new(NOT_FOUND, format!("The messaging entity '{address}' could not be found."))
    }
}

impl From<Condition> for definitions::Error {
    fn from(condition: Condition) -> Self {
        let symbol = Symbol::from(condition.symbol.into_owned());
        Self::new(ErrorCondition::Custom(symbol), condition.description, None)
    }
}
