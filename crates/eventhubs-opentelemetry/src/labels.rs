//! The attributes that name an event hub, a consumer group and a partition.

use std::sync::Arc;

use eventhubs::{ConsumerScope, PartitionId};
use opentelemetry::{KeyValue, Value};

use crate::names;

/// What every metric and every span has.
pub(crate) fn of_scope(scope: &ConsumerScope) -> Vec<KeyValue> {
    vec![
        KeyValue::new(names::SYSTEM, names::SYSTEM_VALUE),
        KeyValue::new(names::DESTINATION, shared(scope.event_hub.as_str())),
        KeyValue::new(names::GROUP, shared(scope.consumer_group.as_str())),
        KeyValue::new(names::SERVER, shared(scope.namespace.as_str())),
    ]
}

pub(crate) fn of_partition(scope: &ConsumerScope, partition: &PartitionId) -> Vec<KeyValue> {
    let partition = KeyValue::new(names::PARTITION, shared(partition.as_str()));
    with(of_scope(scope), [partition])
}

pub(crate) fn with(mut attributes: Vec<KeyValue>, more: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
    attributes.extend(more);
    attributes
}

/// A text that is cheap to clone: the attributes of a partition are, for each call.
pub(crate) fn shared(text: &str) -> Value {
    Value::from(Arc::<str>::from(text))
}
