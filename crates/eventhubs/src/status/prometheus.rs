//! A status as the text that Prometheus reads. What `eventhubs-opentelemetry` exports too has the name and the labels that an
//! exporter of OpenTelemetry makes of it, so that one dashboard serves both.

use std::fmt::{Display, Write as _};

use crate::status::{PartitionState, PartitionStatus, Status, StoreState};

/// The longest value of a label, in bytes.
const MAX_LABEL: usize = 256;

impl Status {
    /// Appends the metrics of this client, in the text format of Prometheus. What is not known is left out.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let mut text = String::new();
    /// client.status().to_prometheus(&mut text);
    /// assert!(text.contains("eventhubs_processor_alive{"));
    /// # Ok(()) }
    /// ```
    pub fn to_prometheus(&self, out: &mut String) {
        let mut text = Text { out, common: self.common_labels() };
        self.write_instance(&mut text);
        self.write_partitions(&mut text);
    }

    fn common_labels(&self) -> String {
        let labels = [
            ("messaging_destination_name", self.scope.event_hub.as_str()),
            ("messaging_consumer_group_name", self.scope.consumer_group.as_str()),
            ("server_address", self.scope.namespace.as_str()),
            ("messaging_client_id", self.owner_id.as_str()),
        ];
        labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).join(",")
    }

    fn write_instance(&self, text: &mut Text<'_>) {
        text.head("eventhubs_processor_alive", "gauge", "Whether the instance makes progress: 1 or 0.");
        text.value("eventhubs_processor_alive", "", u8::from(self.is_alive()));
        text.head("eventhubs_processor_ready", "gauge", "Whether the instance does its work: 1 or 0.");
        text.value("eventhubs_processor_ready", "", u8::from(self.is_ready()));
        if let Some(rounds) = &self.rounds {
            text.head(
                "eventhubs_processor_rounds_total",
                "counter",
                "Load-balancing rounds that have ended.",
            );
            text.value("eventhubs_processor_rounds_total", "", rounds.count);
            let name = "eventhubs_processor_round_age_seconds";
            text.head(name, "gauge", "Time since the last load-balancing round has ended.");
            text.value(name, "", rounds.since_last.as_secs_f64());
        }
        let failing = match &self.store {
            StoreState::Unknown => return,
            StoreState::Answering => 0.0,
            StoreState::Failing { since, .. } => since.as_secs_f64(),
        };
        let name = "eventhubs_processor_store_failing_seconds";
        text.head(name, "gauge", "Time for which all calls of the checkpoint store have failed.");
        text.value(name, "", failing);
    }

    fn write_partitions(&self, text: &mut Text<'_>) {
        let states = "eventhubs_processor_partitions";
        text.head(states, "gauge", "Partitions that this instance reads, by what they are at.");
        for (state, count) in self.states() {
            text.value(states, &format!("state=\"{state}\""), count);
        }
        for (name, kind, help, value) in PER_PARTITION {
            let values = self.partitions.iter().filter_map(|partition| Some((partition, value(partition)?)));
            let mut values = values.peekable();
            if values.peek().is_some() {
                text.head(name, kind, help);
            }
            for (partition, value) in values {
                let id = escaped(partition.partition.as_str());
                text.value(name, &format!("messaging_destination_partition_id=\"{id}\""), value);
            }
        }
    }

    /// How many partitions the instance reads, and how many of these are in a state that an operator has to know of.
    pub fn states(&self) -> [(&'static str, u64); 4] {
        let count = |is: fn(&PartitionState) -> bool| {
            self.partitions.iter().filter(|partition| is(&partition.state)).count() as u64
        };
        [
            ("owned", count(|state| *state != PartitionState::Released)),
            ("stalled", count(|state| matches!(state, PartitionState::Stalled { .. }))),
            ("paused", count(|state| *state == PartitionState::Paused)),
            ("backing_off", count(|state| matches!(state, PartitionState::BackingOff { .. }))),
        ]
    }
}

/// A metric of each partition: its name, its kind, what it says, and its value.
type PerPartition = (&'static str, &'static str, &'static str, fn(&PartitionStatus) -> Option<f64>);

const PER_PARTITION: [PerPartition; 8] = [
    (
        "messaging_client_consumed_messages_total",
        "counter",
        "Events that were handed to the callback.",
        |partition| Some(number(partition.delivered)),
    ),
    ("eventhubs_processor_done_messages_total", "counter", "Events that are done.", |partition| {
        Some(number(partition.done))
    }),
    (
        "eventhubs_processor_failed_calls_total",
        "counter",
        "Calls of the callback that failed.",
        |partition| Some(number(partition.failed)),
    ),
    (
        "eventhubs_processor_lag",
        "gauge",
        "Events after the last one that is done; absent while it is not known.",
        |partition| Some(number(partition.lag?.events)),
    ),
    (
        "eventhubs_processor_delay_seconds",
        "gauge",
        "Age of the last event that is done, 0 at the end of the partition.",
        |partition| Some(partition.lag?.time?.as_secs_f64()),
    ),
    (
        "eventhubs_processor_checkpoint_age_seconds",
        "gauge",
        "Time since the checkpoint was written or read.",
        |partition| Some(partition.checkpoint_age?.as_secs_f64()),
    ),
    (
        "eventhubs_processor_checkpoint_pending",
        "gauge",
        "Events that are done and after the checkpoint: a crash repeats them.",
        |partition| partition.after_checkpoint().map(number),
    ),
    (
        "eventhubs_processor_in_flight",
        "gauge",
        "Events that were received for the callback and are not done.",
        |partition| partition.is_owned().then(|| number(partition.in_flight)),
    ),
];

/// What Prometheus makes of any number.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and Prometheus has nothing else")]
fn number(value: u64) -> f64 {
    value as f64
}

/// The text so far, and the labels that all lines have.
struct Text<'a> {
    out: &'a mut String,
    common: String,
}

impl Text<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, label: &str, value: impl Display) {
        let comma = if label.is_empty() { "" } else { "," };
        let _ = writeln!(self.out, "{name}{{{}{comma}{label}}} {value}", self.common);
    }
}

/// The value of a label, within its limit.
fn escaped(value: &str) -> String {
    let room = value.char_indices().take_while(|(at, character)| at + character.len_utf8() <= MAX_LABEL);
    let escape = |(_, character)| match character {
        '\\' => r"\\".to_owned(),
        '"' => "\\\"".to_owned(),
        '\n' => r"\n".to_owned(),
        other => other.to_string(),
    };
    room.map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::{Lag, Rounds, RunState};

    fn status() -> Status {
        let reading = PartitionStatus {
            state: PartitionState::Idle,
            delivered: 9,
            done: 8,
            failed: 1,
            in_flight: 1,
            position: Some(7.into()),
            checkpoint: Some(5.into()),
            checkpoint_age: Some(Duration::from_millis(1500)),
            lag: Some(Lag { events: 3, time: Some(Duration::from_secs(2)), age: Duration::ZERO }),
            ..PartitionStatus::released("0".parse().unwrap())
        };
        let scope = eventhubs_types::ConsumerScope::new(
            "contoso.servicebus.windows.net".parse().unwrap(),
            "orders".parse().unwrap(),
            "$Default".parse().unwrap(),
        );
        let seconds = Duration::from_secs;
        Status {
            scope,
            owner_id: "pod-1".parse().unwrap(),
            uptime: seconds(60),
            run: RunState::Running,
            rounds: Some(Rounds {
                count: 6,
                since_last: seconds(4),
                duration: None,
                limit: seconds(75),
                hints: 0,
            }),
            store: StoreState::Answering,
            partitions: vec![reading, PartitionStatus::released("1".parse().unwrap())],
        }
    }

    #[test]
    fn the_text_has_each_metric_once_and_leaves_out_what_is_not_known() {
        let mut text = String::new();
        status().to_prometheus(&mut text);
        let common = "messaging_destination_name=\"orders\",messaging_consumer_group_name=\"$Default\",\
                      server_address=\"contoso.servicebus.windows.net\",messaging_client_id=\"pod-1\"";
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |partition: &str| format!("{{{common},messaging_destination_partition_id=\"{partition}\"}}");
        let state = |state: &str| format!("{{{common},state=\"{state}\"}}");
        let (zero, one) = (of("0"), of("1"));
        let expected = [
            format!("eventhubs_processor_alive{{{common}}} 1"),
            format!("eventhubs_processor_ready{{{common}}} 1"),
            format!("eventhubs_processor_rounds_total{{{common}}} 6"),
            format!("eventhubs_processor_round_age_seconds{{{common}}} 4"),
            format!("eventhubs_processor_store_failing_seconds{{{common}}} 0"),
            format!("eventhubs_processor_partitions{} 1", state("owned")),
            format!("eventhubs_processor_partitions{} 0", state("stalled")),
            format!("eventhubs_processor_partitions{} 0", state("paused")),
            format!("eventhubs_processor_partitions{} 0", state("backing_off")),
            format!("messaging_client_consumed_messages_total{zero} 9"),
            format!("messaging_client_consumed_messages_total{one} 0"),
            format!("eventhubs_processor_done_messages_total{zero} 8"),
            format!("eventhubs_processor_done_messages_total{one} 0"),
            format!("eventhubs_processor_failed_calls_total{zero} 1"),
            format!("eventhubs_processor_failed_calls_total{one} 0"),
            format!("eventhubs_processor_lag{zero} 3"),
            format!("eventhubs_processor_delay_seconds{zero} 2"),
            format!("eventhubs_processor_checkpoint_age_seconds{zero} 1.5"),
            format!("eventhubs_processor_checkpoint_pending{zero} 2"),
            format!("eventhubs_processor_in_flight{zero} 1"),
        ];
        assert_eq!(values, expected);
        let heads = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(heads, text.lines().filter(|line| line.starts_with("# HELP ")).count());
        assert_eq!(heads, 14);
    }

    #[test]
    fn the_values_of_labels_are_escaped_and_cut() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
        assert_eq!(escaped(&"x".repeat(1024)).len(), MAX_LABEL);
        assert_eq!(escaped(&"ü".repeat(1024)), "ü".repeat(MAX_LABEL / 2));
    }
}
