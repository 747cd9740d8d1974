//! The metrics that are read from the status of the clients when they are exported.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use eventhubs::status::PartitionStatus;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::clients::Clients;
use crate::{labels, names};

/// Registers the instruments. They last as long as the meter provider.
pub(crate) fn register(meter: &Meter, clients: &Arc<Clients>) {
    let build = meter.u64_observable_counter(names::CONSUMED).with_unit("{message}");
    let build = build.with_description("Events that were handed to the callback.");
    build.with_callback(per_partition(clients, |partition| Some(partition.delivered))).build();

    let build = meter.u64_observable_gauge(names::LAG).with_unit("{message}");
    let build =
        build.with_description("Events after the last one that is done; absent while it is not known.");
    build.with_callback(per_partition(clients, |partition| Some(partition.lag?.events))).build();

    let build = meter.f64_observable_gauge(names::DELAY).with_unit("s");
    let build = build.with_description("Age of the last event that is done, 0 at the end of the partition.");
    let delay = |partition: &PartitionStatus| Some(partition.lag?.time?.as_secs_f64());
    build.with_callback(per_partition(clients, delay)).build();

    let build = meter.f64_observable_gauge(names::CHECKPOINT_AGE).with_unit("s");
    let build = build.with_description("Time since the checkpoint was written or read.");
    let age = |partition: &PartitionStatus| Some(partition.checkpoint_age?.as_secs_f64());
    build.with_callback(per_partition(clients, age)).build();

    let build = meter.u64_observable_gauge(names::CHECKPOINT_PENDING).with_unit("{message}");
    let build =
        build.with_description("Events that are done and after the checkpoint: a crash repeats them.");
    build.with_callback(per_partition(clients, PartitionStatus::after_checkpoint)).build();

    let build = meter.u64_observable_gauge(names::IN_FLIGHT).with_unit("{message}");
    let build = build.with_description("Events that were received for the callback and are not done.");
    let in_flight = |partition: &PartitionStatus| partition.is_owned().then_some(partition.in_flight);
    build.with_callback(per_partition(clients, in_flight)).build();

    let clients = Arc::clone(clients);
    let build = meter.u64_observable_gauge(names::PARTITIONS).with_unit("{partition}");
    let build = build.with_description("Partitions that this instance reads, by what they are at.");
    build
        .with_callback(move |observer| {
            let statuses = clients.statuses();
            let counts = statuses
                .iter()
                .flat_map(|status| status.states().map(|(state, count)| ((&status.scope, state), count)));
            for ((scope, state), count) in sums(counts) {
                let state = KeyValue::new(names::STATE, state);
                observer.observe(count, &labels::with(labels::of_scope(scope), [state]));
            }
        })
        .build();
}

/// Observes a value of each partition that has one.
fn per_partition<T: AddAssign + Default + 'static>(
    clients: &Arc<Clients>,
    value: impl Fn(&PartitionStatus) -> Option<T> + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    let clients = Arc::clone(clients);
    move |observer| {
        let statuses = clients.statuses();
        let partitions = statuses
            .iter()
            .flat_map(|status| status.partitions.iter().map(|partition| (&status.scope, partition)));
        let values = partitions
            .filter_map(|(scope, partition)| Some(((scope, &partition.partition), value(partition)?)));
        for ((scope, partition), value) in sums(values) {
            observer.observe(value, &labels::of_partition(scope, partition));
        }
    }
}

/// Adds up what has the same attributes: several clients in one process may be of one consumer group, and of two
/// values an instrument keeps the last. What only an owner has, no two of them have.
fn sums<K: Ord, T: AddAssign + Default>(values: impl IntoIterator<Item = (K, T)>) -> BTreeMap<K, T> {
    let mut sums = BTreeMap::new();
    for (key, value) in values {
        *sums.entry(key).or_default() += value;
    }
    sums
}
