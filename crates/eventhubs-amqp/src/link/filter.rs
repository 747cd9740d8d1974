//! The filter of a consumer link: a starting position in the words of the service.
//!
//! Tests: below.

use std::time::{SystemTime, UNIX_EPOCH};

use eventhubs_types::{Offset, StartingPosition};

use crate::{Error, ErrorKind, Result};

/// The longest offset we send; those of the service have up to some 40 characters.
const MAX_OFFSET_LEN: usize = 256;

/// The selector that makes the service start at this position (docs/contract.md §5.2, §13.3).
///
/// Values are always quoted: composite offsets of geo-replicated hubs are no numbers. An offset comes from a
/// store that others can write, so one that could end the quotes is refused.
pub(crate) fn selector(position: &StartingPosition) -> Result<String> {
    let (name, inclusive, value) = match position {
        StartingPosition::Earliest => ("offset", false, "-1".to_owned()),
        StartingPosition::Latest => ("offset", false, "@latest".to_owned()),
        StartingPosition::Offset { offset, inclusive } => ("offset", *inclusive, checked(offset)?.to_owned()),
        StartingPosition::SequenceNumber { number, inclusive } => {
            ("sequence-number", *inclusive, number.to_string())
        }
        StartingPosition::EnqueuedTime { time, inclusive } => {
            ("enqueued-time", *inclusive, millis(*time).to_string())
        }
        _ => return Err(Error::invalid("starting position: not known to this version")),
    };
    let operator = if inclusive { ">=" } else { ">" };
    Ok(format!("amqp.annotation.x-opt-{name} {operator} '{value}'"))
}

fn checked(offset: &Offset) -> Result<&str> {
    let text = offset.as_str();
    let reason = match text {
        "" => "is empty",
        _ if text.len() > MAX_OFFSET_LEN => "is too long",
        _ if text.contains(|c: char| c == '\'' || c.is_control()) => {
            "contains a quote or a control character"
        }
        _ => return Ok(text),
    };
    Err(Error::new(ErrorKind::InvalidPosition, format!("starting position: offset {reason}")))
}

/// Milliseconds since 1970, negative before.
fn millis(time: SystemTime) -> i128 {
    let whole = |duration: std::time::Duration| i128::try_from(duration.as_millis()).unwrap_or(i128::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// docs/contract.md §13.3.
    #[test]
    fn positions_become_the_selectors_of_the_sdks() {
        let time = UNIX_EPOCH + Duration::from_micros(1_704_164_645_678_901);
        let before = UNIX_EPOCH - Duration::from_millis(500);
        for (position, expected) in [
            (StartingPosition::Earliest, "amqp.annotation.x-opt-offset > '-1'"),
            (StartingPosition::Latest, "amqp.annotation.x-opt-offset > '@latest'"),
            (StartingPosition::from_offset("-1"), "amqp.annotation.x-opt-offset >= '-1'"),
            (StartingPosition::after_offset("12345"), "amqp.annotation.x-opt-offset > '12345'"),
            (StartingPosition::from_offset("12345"), "amqp.annotation.x-opt-offset >= '12345'"),
            (StartingPosition::after_offset("1:2:3"), "amqp.annotation.x-opt-offset > '1:2:3'"),
            (StartingPosition::after_sequence_number(42), "amqp.annotation.x-opt-sequence-number > '42'"),
            (StartingPosition::from_sequence_number(0), "amqp.annotation.x-opt-sequence-number >= '0'"),
            (StartingPosition::after_sequence_number(-1), "amqp.annotation.x-opt-sequence-number > '-1'"),
            (
                StartingPosition::after_enqueued_time(time),
                "amqp.annotation.x-opt-enqueued-time > '1704164645678'",
            ),
            (
                StartingPosition::from_enqueued_time(time),
                "amqp.annotation.x-opt-enqueued-time >= '1704164645678'",
            ),
            (StartingPosition::after_enqueued_time(before), "amqp.annotation.x-opt-enqueued-time > '-500'"),
        ] {
            assert_eq!(selector(&position).unwrap(), expected);
        }
    }

    #[test]
    fn an_offset_that_could_change_the_selector_is_refused() {
        let long = "1".repeat(257);
        for offset in ["it's", "1' OR '1'='1", "", "1\n", long.as_str()] {
            let error = selector(&StartingPosition::after_offset(offset)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPosition);
            assert!(error.to_string().contains("starting position: offset "), "{error}");
        }
    }
}
