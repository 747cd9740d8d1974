//! What `$management` says about an event hub and its partitions.
//!
//! Tests: below, and `tests/it/management.rs`.

use eventhubs_types::{EventHubName, Offset, PartitionId, SequenceNumber, Value};
use fe2o3_amqp_types::primitives::SimpleValue;
use secrecy::ExposeSecret;
use serde_amqp::Value as Amqp;

use crate::config::credential::Token;
use crate::connection::requests::Request;
use crate::event::attributes::time;
use crate::{Error, ErrorKind, EventHubProperties, PartitionProperties, Result};

/// Asks about the hub, or about one of its partitions.
pub(crate) fn read(event_hub: &EventHubName, partition: Option<&PartitionId>, token: &Token) -> Request {
    let kind = if partition.is_some() { "com.microsoft:partition" } else { "com.microsoft:eventhub" };
    let partition = partition.map(|id| ("partition", id.as_str()));
    let properties = [
        ("operation", "READ"),
        ("type", kind),
        ("name", event_hub.as_str()),
        ("security_token", token.secret.expose_secret()),
    ];
    let text = |(name, value): (&'static str, &str)| (name, SimpleValue::String(value.to_owned()));
    Request { properties: properties.into_iter().chain(partition).map(text).collect(), body: Amqp::Null }
}

/// Reads the answer about a hub. Who asked knows its name.
pub(crate) fn event_hub_properties(answer: &Value, event_hub: &EventHubName) -> Result<EventHubProperties> {
    let answer = Answer::new(answer)?;
    let (Value::Array(ids) | Value::List(ids)) = answer.get("partition_ids")? else {
        return Err(malformed("partition_ids"));
    };
    let id = |id: &Value| PartitionId::new(id.as_str()?).ok();
    Ok(EventHubProperties {
        name: answer.event_hub(event_hub),
        created_at: answer.get("created_at").ok().and_then(time),
        partition_ids: ids.iter().map(id).collect::<Option<_>>().ok_or_else(|| malformed("partition_ids"))?,
    })
}

/// Reads the answer about a partition. Who asked knows the names.
///
/// # Errors
/// When it is not an answer about this partition at all.
pub(crate) fn partition_properties(
    answer: &Value,
    event_hub: &EventHubName,
    partition: &PartitionId,
) -> Result<PartitionProperties> {
    let answer = Answer::new(answer)?;
    if answer.text("partition").is_ok_and(|id| id != partition.as_str()) {
        return Err(malformed("partition"));
    }
    let last = answer.sequence_number("last_enqueued_sequence_number");
    Ok(PartitionProperties {
        event_hub: answer.event_hub(event_hub),
        id: partition.clone(),
        beginning_sequence_number: answer.sequence_number("begin_sequence_number"),
        last_enqueued_sequence_number: last,
        last_enqueued_offset: answer.text("last_enqueued_offset").ok().map(Offset::new),
        last_enqueued_time: answer.get("last_enqueued_time_utc").ok().and_then(time),
        is_empty: match answer.get("is_partition_empty") {
            Ok(Value::Bool(is_empty)) => *is_empty,
            _ => last.is_some_and(|last| last.value() < 0),
        },
    })
}

/// The map of an answer. Keys that we do not know are ignored, numbers may be of any width (docs/contract.md
/// §4.2).
struct Answer<'a>(&'a [(Value, Value)]);

impl<'a> Answer<'a> {
    fn new(answer: &'a Value) -> Result<Self> {
        match answer {
            Value::Map(pairs) => Ok(Self(pairs)),
            _ => Err(Error::new(ErrorKind::Protocol, "$management returned a value that is not a map")),
        }
    }

    fn get(&self, key: &str) -> Result<&'a Value> {
        let pair = self.0.iter().find(|(name, _)| name.as_str() == Some(key));
        pair.map(|(_, value)| value).ok_or_else(|| malformed(key))
    }

    fn text(&self, key: &str) -> Result<&'a str> {
        self.get(key)?.as_str().ok_or_else(|| malformed(key))
    }

    /// A number of any width, or as text. What is missing or of another type is not known, and hides nothing
    /// else.
    fn sequence_number(&self, key: &str) -> Option<SequenceNumber> {
        let value = self.get(key).ok()?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        number.map(SequenceNumber::new)
    }

    /// The service may spell the name otherwise than the one who asked.
    fn event_hub(&self, asked: &EventHubName) -> EventHubName {
        self.text("name").ok().and_then(|name| EventHubName::new(name).ok()).unwrap_or_else(|| asked.clone())
    }
}

fn malformed(key: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("$management answered without a usable {key}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use eventhubs_types::StartingPosition;

    use super::*;

    fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
        Value::Map(pairs.map(|(key, value)| (key.into(), value)).to_vec())
    }

    fn orders() -> EventHubName {
        "orders".parse().unwrap()
    }

    fn three() -> PartitionId {
        "3".parse().unwrap()
    }

    /// docs/contract.md §4.2: the partition ids may be a list, and the georeplication factor may be missing.
    #[test]
    fn a_hub_is_read() {
        for ids in [Value::Array as fn(_) -> _, Value::List] {
            let answer = map([
                ("name", "orders".into()),
                ("created_at", Value::Timestamp(UNIX_EPOCH + Duration::from_secs(1_700_000_000))),
                ("partition_ids", ids(vec!["0".into(), "1".into()])),
                ("something_new", Value::Null),
            ]);
            let hub = event_hub_properties(&answer, &orders()).unwrap();
            assert_eq!((hub.name.as_str(), hub.partition_ids.len()), ("orders", 2));
            assert_eq!(hub.created_at, Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        }
    }

    /// docs/contract.md §4.2, §13.9: smaller integers, and the sentinels of a partition that never had an
    /// event.
    #[test]
    fn an_empty_partition_is_read() {
        let answer = map([
            ("name", "orders".into()),
            ("partition", "3".into()),
            ("begin_sequence_number", Value::I32(0)),
            ("last_enqueued_sequence_number", Value::I8(-1)),
            ("last_enqueued_offset", "-1".into()),
            ("last_enqueued_time_utc", Value::Timestamp(UNIX_EPOCH - Duration::from_secs(62_135_596_800))),
            ("is_partition_empty", Value::Bool(true)),
        ]);
        let partition = partition_properties(&answer, &orders(), &three()).unwrap();
        assert_eq!(partition.id.as_str(), "3");
        assert_eq!(partition.last_enqueued_sequence_number, Some((-1).into()));
        assert_eq!(partition.last_enqueued_offset, Some("-1".into()));
        assert_eq!(partition.last_enqueued_time, None);
        assert!(partition.is_empty);
    }

    fn partition<const N: usize>(pairs: [(&str, Value); N]) -> PartitionProperties {
        partition_properties(&map(pairs), &orders(), &three()).unwrap()
    }

    #[test]
    fn what_is_odd_in_an_answer_hides_nothing_else() {
        let odd = partition([
            ("begin_sequence_number", Value::Null),
            ("last_enqueued_sequence_number", "7".into()),
            ("last_enqueued_offset", Value::I32(5)),
            ("last_enqueued_time_utc", "yesterday".into()),
        ]);
        assert_eq!(odd.beginning_sequence_number, None);
        assert_eq!(odd.last_enqueued_sequence_number, Some(7.into()));
        assert_eq!((odd.last_enqueued_offset, odd.last_enqueued_time, odd.is_empty), (None, None, false));
    }

    #[test]
    fn the_newest_event_is_known_only_where_the_numbers_agree() {
        let after = |first: i64, last: i64, is_empty: bool| {
            partition([
                ("begin_sequence_number", Value::I64(first)),
                ("last_enqueued_sequence_number", Value::I64(last)),
                ("is_partition_empty", Value::Bool(is_empty)),
            ])
            .after_newest_event()
        };
        assert_eq!(after(0, -1, true), Some(StartingPosition::Earliest));
        assert_eq!(after(0, 9, false), Some(StartingPosition::after_sequence_number(9)));
        assert_eq!(after(10, 9, true), Some(StartingPosition::after_sequence_number(9)), "all have expired");
        assert_eq!(after(0, -1, false), None, "a partition that is not empty has a newest event");
        assert_eq!(after(12, 9, false), None, "the oldest event comes after the newest");
        assert_eq!(after(7, -1, true), None, "there were events before the oldest one");
        assert_eq!(after(0, i64::MAX, false), Some(StartingPosition::after_sequence_number(i64::MAX)));
        let unsaid =
            [("begin_sequence_number", Value::I64(7)), ("last_enqueued_sequence_number", Value::I8(-1))];
        assert_eq!(partition(unsaid).after_newest_event(), None);
        assert_eq!(partition([]).after_newest_event(), None);
    }

    #[test]
    fn an_answer_without_names_is_read_under_those_that_were_asked_for() {
        for answer in [map([]), map([("name", Value::Null), ("partition", Value::I32(3))])] {
            let partition = partition_properties(&answer, &orders(), &three()).unwrap();
            assert_eq!((partition.event_hub, partition.id), (orders(), three()));
        }
        let hub = map([("name", Value::Null), ("partition_ids", Value::List(vec!["0".into()]))]);
        assert_eq!(event_hub_properties(&hub, &orders()).unwrap().name, orders());
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error_that_names_what() {
        let error = event_hub_properties(&map([("name", "orders".into())]), &orders()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("usable partition_ids"), "{error}");
        assert!(event_hub_properties(&Value::Null, &orders()).is_err());
        assert!(partition_properties(&map([("partition", "4".into())]), &orders(), &three()).is_err());
    }
}
