//! The metrics that are recorded as things happen.

use std::borrow::Cow;

use eventhubs::observe::{Consequence, LossReason, Observation, Origin, error_type};
use eventhubs::{ConsumerScope, PartitionId};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use crate::{labels, names};

/// The limits of durations, as the semantic conventions give them, in seconds.
const LIMITS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The instruments that are recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) process: Histogram<f64>,
    pub(crate) consumer_lag: Histogram<f64>,
    operation: Histogram<f64>,
    round: Histogram<f64>,
    store: Histogram<f64>,
    claims: Counter<u64>,
    moves: Counter<u64>,
    outcomes: Counter<u64>,
    expired: Counter<u64>,
    recoveries: Counter<u64>,
}

impl Recorded {
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, description: &'static str| {
            let build = meter.f64_histogram(name).with_unit("s").with_description(description);
            build.with_boundaries(LIMITS.to_vec()).build()
        };
        let count = |name: &'static str, unit: &'static str, description: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        Self {
            process: seconds(names::PROCESS_DURATION, "Duration of a call of the callback."),
            consumer_lag: seconds(names::CONSUMER_LAG, "Age of the last event of a call as the call begins."),
            operation: seconds(
                names::OPERATION_DURATION,
                "Duration of checkpoints and of questions to the service.",
            ),
            round: seconds(names::ROUND_DURATION, "Duration of a load-balancing round."),
            store: seconds(names::STORE_DURATION, "Duration of a call of the checkpoint store."),
            claims: count(names::CLAIMS, "{claim}", "Claims of partitions, by what became of them."),
            moves: count(names::MOVES, "{move}", "Partitions that this instance got or gave, by the reason."),
            outcomes: count(
                names::OUTCOMES,
                "{message}",
                "Events whose callback failed, by what became of them.",
            ),
            expired: count(names::EXPIRED, "{message}", "Events that were gone before they were read."),
            recoveries: count(
                names::RECOVERIES,
                "{recovery}",
                "Partitions that are read again after a failure.",
            ),
        }
    }

    pub(crate) fn record(&self, scope: &ConsumerScope, observation: &Observation<'_>) {
        let labels = |more: Vec<KeyValue>| labels::with(labels::of_scope(scope), more);
        let operation = |name: &'static str| KeyValue::new(names::OPERATION, name);
        if let Some(reason) = reason(observation) {
            self.moves.add(1, &labels(vec![KeyValue::new(names::REASON, reason)]));
        }
        match *observation {
            Observation::Round { duration, .. } => self.round.record(duration.as_secs_f64(), &labels(vec![])),
            Observation::Claims { operation: name, outcome, count } => {
                self.claims
                    .add(count, &labels(vec![operation(name), KeyValue::new(names::OUTCOME, outcome)]));
            }
            Observation::StoreCall { operation: name, partition, duration, error, .. } => {
                let error = error.map(|error| error_label(error.kind().as_str()));
                let seconds = duration.as_secs_f64();
                self.store.record(seconds, &labels(error.iter().cloned().chain([operation(name)]).collect()));
                if name == UPDATE_CHECKPOINT {
                    let more =
                        checkpoint_labels().into_iter().chain(error).chain(partition.map(partition_label));
                    self.operation.record(seconds, &labels(more.collect()));
                }
            }
            Observation::Lookup { operation, partition, duration, error } => {
                let name = KeyValue::new(names::OPERATION_NAME, operation);
                let error = error.map(|error| error_label(error_type(error)));
                let more = [name].into_iter().chain(error).chain(partition.map(partition_label));
                self.operation.record(duration.as_secs_f64(), &labels(more.collect()));
            }
            Observation::Failure { consequence, events, .. } => {
                let outcome = KeyValue::new(names::OUTCOME, outcome(consequence));
                self.outcomes.add(events as u64, &labels(vec![outcome]));
            }
            Observation::Expired { partition, checkpoint, first } => {
                let missing = first.value().saturating_sub(checkpoint.value()).saturating_sub(1);
                let missing = u64::try_from(missing).unwrap_or(0);
                self.expired.add(missing, &labels(vec![partition_label(partition)]));
            }
            Observation::Recovered { error_type, .. } => {
                self.recoveries.add(1, &labels(vec![error_label(error_type.to_owned())]));
            }
            _ => {}
        }
    }
}

/// The operation of the store that writes a checkpoint.
pub(crate) const UPDATE_CHECKPOINT: &str = "update_checkpoint";

/// What the conventions call a checkpoint.
pub(crate) fn checkpoint_labels() -> [KeyValue; 2] {
    [KeyValue::new(names::OPERATION_NAME, "checkpoint"), KeyValue::new(names::OPERATION_TYPE, "settle")]
}

/// The longest condition that becomes a label.
const MAX_ERROR_TYPE: usize = 128;

/// The label of an error. A condition is whatever is at the other end of the connection says: one that is no name is none of
/// those that the conventions mean, and would be kept by each backend for as long as its metrics.
pub(crate) fn error_label(error_type: impl Into<Cow<'static, str>>) -> KeyValue {
    let error_type = error_type.into();
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_:.-/".contains(&byte);
    let is_name = (1..=MAX_ERROR_TYPE).contains(&error_type.len()) && error_type.bytes().all(is_of_name);
    KeyValue::new(names::ERROR_TYPE, if is_name { error_type } else { Cow::Borrowed(names::OTHER) })
}

fn partition_label(partition: &PartitionId) -> KeyValue {
    KeyValue::new(names::PARTITION, labels::shared(partition.as_str()))
}

/// Why a partition moved, if that is what happened.
fn reason(observation: &Observation<'_>) -> Option<&'static str> {
    Some(match observation {
        Observation::Acquired { origin: Origin::Stolen(_), .. } => "stolen",
        Observation::Acquired { .. } => "acquired",
        Observation::Lost { reason: LossReason::Expired, .. } => "expired",
        Observation::Lost { .. } => "taken",
        Observation::HandedOver { .. } => "handed_over",
        Observation::Released { .. } => "shutdown",
        _ => return None,
    })
}

/// What becomes of events, in one word; that the callback exceeded its deadline is in the process metric.
fn outcome(consequence: Consequence) -> &'static str {
    match consequence {
        Consequence::Restarted | Consequence::Stopped => "failed",
        consequence => consequence.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_condition_that_is_a_name_becomes_a_label() {
        for name in ["amqp:link:detach-forced", "com.microsoft:server-busy", "owner_id_in_use", "_OTHER"] {
            assert_eq!(error_label(name).value.as_str(), name);
        }
        assert_eq!(error_label("x".repeat(MAX_ERROR_TYPE)).value.as_str(), "x".repeat(MAX_ERROR_TYPE));
        for other in ["", "two words", "\"quoted\"", "two\nlines", "größe", &"x".repeat(1024)] {
            assert_eq!(error_label(other.to_owned()).value.as_str(), "_OTHER");
        }
    }
}
