//! The names of metrics, spans and attributes: those of the semantic conventions 1.44 where these have one.

pub(crate) const SCOPE: &str = "eventhubs";
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

// Metrics.
pub(crate) const CONSUMED: &str = "messaging.client.consumed.messages";
pub(crate) const PROCESS_DURATION: &str = "messaging.process.duration";
pub(crate) const OPERATION_DURATION: &str = "messaging.client.operation.duration";
pub(crate) const CONSUMER_LAG: &str = "messaging.eventhubs.consumer.lag";
pub(crate) const LAG: &str = "eventhubs.processor.lag";
pub(crate) const DELAY: &str = "eventhubs.processor.delay";
pub(crate) const CHECKPOINT_AGE: &str = "eventhubs.processor.checkpoint.age";
pub(crate) const CHECKPOINT_PENDING: &str = "eventhubs.processor.checkpoint.pending";
pub(crate) const PARTITIONS: &str = "eventhubs.processor.partitions";
pub(crate) const IN_FLIGHT: &str = "eventhubs.processor.in_flight";
pub(crate) const CLAIMS: &str = "eventhubs.processor.claims";
pub(crate) const ROUND_DURATION: &str = "eventhubs.processor.round.duration";
pub(crate) const STORE_DURATION: &str = "eventhubs.processor.store.operation.duration";
pub(crate) const MOVES: &str = "eventhubs.processor.moves";
pub(crate) const OUTCOMES: &str = "eventhubs.processor.outcomes";
pub(crate) const EXPIRED: &str = "eventhubs.processor.expired";
pub(crate) const RECOVERIES: &str = "eventhubs.connection.recoveries";

// Attributes.
pub(crate) const SYSTEM: &str = "messaging.system";
pub(crate) const SYSTEM_VALUE: &str = "eventhubs";
pub(crate) const DESTINATION: &str = "messaging.destination.name";
pub(crate) const GROUP: &str = "messaging.consumer.group.name";
pub(crate) const SERVER: &str = "server.address";
pub(crate) const PARTITION: &str = "messaging.destination.partition.id";
pub(crate) const OPERATION_NAME: &str = "messaging.operation.name";
pub(crate) const OPERATION_TYPE: &str = "messaging.operation.type";
pub(crate) const CLIENT_ID: &str = "messaging.client.id";
pub(crate) const BATCH_COUNT: &str = "messaging.batch.message_count";
pub(crate) const ENQUEUED_TIME: &str = "messaging.eventhubs.message.enqueued_time";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const OTHER: &str = "_OTHER";
pub(crate) const ATTEMPT: &str = "eventhubs.attempt";
pub(crate) const LINKS_DROPPED: &str = "eventhubs.links_dropped";
pub(crate) const STATE: &str = "state";
pub(crate) const OPERATION: &str = "operation";
pub(crate) const OUTCOME: &str = "outcome";
pub(crate) const REASON: &str = "reason";
