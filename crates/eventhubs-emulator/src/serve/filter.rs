//! The selector filter that says where a receiver starts (docs/contract.md §5.2).

use eventhubs_types::StartingPosition;

use crate::clock;
use crate::condition::{ARGUMENT_ERROR, Condition};

/// The key of the filter in a source's filter set; as a descriptor it may also be a number (docs/contract.md
/// §5.1).
pub(crate) const SELECTOR: &str = "apache.org:selector-filter:string";

/// Reads `amqp.annotation.<name> <op> <value>`, the value quoted or not.
pub(crate) fn parse(expression: &str) -> Result<StartingPosition, Condition> {
    position(expression).ok_or_else(|| {
        let text = format!("The filter '{expression}' is not a valid amqp filter for EventHub entities");
        Condition::new(ARGUMENT_ERROR, text)
    })
}

fn position(expression: &str) -> Option<StartingPosition> {
    let rest = expression.trim().strip_prefix("amqp.annotation.")?;
    let (name, rest) = rest.split_at(rest.find('>')?);
    let (inclusive, value) = match rest.strip_prefix(">=") {
        Some(value) => (true, value),
        None => (false, &rest[1..]),
    };
    let value = unquote(value.trim())?;
    match (name.trim_end(), value.as_str()) {
        ("x-opt-offset", "-1") => Some(StartingPosition::Earliest),
        ("x-opt-offset", "@latest") => Some(StartingPosition::Latest),
        ("x-opt-offset", offset) => Some(StartingPosition::Offset { offset: offset.into(), inclusive }),
        ("x-opt-sequence-number", number) => {
            let number = number.parse::<i64>().ok()?.into();
            Some(StartingPosition::SequenceNumber { number, inclusive })
        }
        ("x-opt-enqueued-time", ms) => {
            let time = clock::from_ms(ms.parse().ok()?)?;
            Some(StartingPosition::EnqueuedTime { time, inclusive })
        }
        _ => None,
    }
}

fn unquote(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('\'') else {
        let plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '\'');
        return plain.then(|| value.to_owned());
    };
    let text = rest.strip_suffix('\'')?;
    // A doubled quote means one. It is set aside as NUL, which no filter contains, so that a single quote
    // that is left over is an error.
    let unescaped = text.replace("''", "\u{0}");
    (!text.is_empty() && !unescaped.contains('\'')).then(|| unescaped.replace('\u{0}', "'"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn offset(offset: &str, inclusive: bool) -> StartingPosition {
        StartingPosition::Offset { offset: offset.into(), inclusive }
    }

    fn number(number: i64, inclusive: bool) -> StartingPosition {
        StartingPosition::SequenceNumber { number: number.into(), inclusive }
    }

    #[test]
    fn the_filters_of_every_sdk_are_read() {
        let time = UNIX_EPOCH + Duration::from_millis(1_704_164_645_678);
        // docs/contract.md §13.3 (Python), then the spellings of .NET and Rust (docs/contract.md §5.2)
        for (expression, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", StartingPosition::Earliest),
            ("amqp.annotation.x-opt-offset >= '-1'", StartingPosition::Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", StartingPosition::Latest),
            ("amqp.annotation.x-opt-offset >= '@latest'", StartingPosition::Latest),
            ("amqp.annotation.x-opt-offset > '12345'", offset("12345", false)),
            ("amqp.annotation.x-opt-offset >= '12345'", offset("12345", true)),
            ("amqp.annotation.x-opt-offset > '1:2:3'", offset("1:2:3", false)),
            ("amqp.annotation.x-opt-sequence-number > '42'", number(42, false)),
            ("amqp.annotation.x-opt-sequence-number >= '0'", number(0, true)),
            ("amqp.annotation.x-opt-sequence-number > '-1'", number(-1, false)),
            (
                "amqp.annotation.x-opt-enqueued-time > '1704164645678'",
                StartingPosition::EnqueuedTime { time, inclusive: false },
            ),
            (
                "amqp.annotation.x-opt-enqueued-time >= '-500'",
                StartingPosition::EnqueuedTime {
                    time: UNIX_EPOCH - Duration::from_millis(500),
                    inclusive: true,
                },
            ),
            ("amqp.annotation.x-opt-offset > 12345", offset("12345", false)),
            ("amqp.annotation.x-opt-offset >'12345'", offset("12345", false)),
            ("amqp.annotation.x-opt-offset > 'it''s'", offset("it's", false)),
        ] {
            assert_eq!(parse(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn an_invalid_filter_is_refused_with_the_text_of_the_service() {
        for expression in [
            "",
            "x-opt-offset > '1'",
            "amqp.annotation.x-opt-offset < '1'",
            "amqp.annotation.x-opt-offset > ''",
            "amqp.annotation.x-opt-offset >",
            "amqp.annotation.x-opt-offset > 'it's'",
            "amqp.annotation.x-opt-offset > 1 2",
            "amqp.annotation.x-opt-sequence-number > 'abc'",
            "amqp.annotation.x-opt-enqueued-time > 'soon'",
            "amqp.annotation.x-opt-enqueuedtimeutc > '1'",
        ] {
            let refusal = parse(expression).unwrap_err();
            assert_eq!(refusal.symbol, "com.microsoft:argument-error");
            let text = format!("The filter '{expression}' is not a valid amqp filter for EventHub entities");
            assert_eq!(refusal.description, text);
        }
    }
}
