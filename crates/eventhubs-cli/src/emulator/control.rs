//! Faults over HTTP: what tests in other languages ask of the emulator.

use std::sync::Weak;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use eventhubs_emulator::Fault;
use serde_json::{Map, Value, json};

use super::running::Running;
use super::site::{Answer, Body, ok, refusal, with_emulator};

/// Answers with how many links, sessions or connections were hit, if that can be said.
pub(super) async fn inject(
    State(running): State<Weak<Running>>,
    Path(namespace): Path<String>,
    Body(description): Body<Map<String, Value>>,
) -> Answer {
    match fault(description) {
        Ok(fault) => with_emulator(&running, &namespace, |emulator| {
            let hit = emulator.inject(&fault)?;
            Ok(ok(json!({ "hit": hit })))
        }),
        Err(why) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &why),
    }
}

/// Reads `{"fault": <name>, <fields>}`.
///
/// # Errors
/// Names the field that is wrong.
fn fault(mut description: Map<String, Value>) -> Result<Fault, String> {
    let name = match description.remove("fault") {
        Some(Value::String(name)) => name,
        Some(_) => return Err("fault: is no string".into()),
        None => return Err("missing field `fault`".into()),
    };
    // serde keeps the path to a field only if the tag is outside of the fields
    let tagged = json!({ name: description });
    serde_path_to_error::deserialize(tagged).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fault, String> {
        fault(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_fault_is_its_name_and_its_fields() {
        let slow = Fault::SlowConnections { bytes_per_second: 10 };
        assert_eq!(read(r#"{"fault": "slow_connections", "bytes_per_second": 10}"#), Ok(slow));
        let fail_over = Fault::FailOver { event_hub: "orders".into() };
        assert_eq!(read(r#"{"fault": "fail_over", "event_hub": "orders"}"#), Ok(fail_over));
        assert_eq!(read(r#"{"fault": "drop_connections"}"#), Ok(Fault::DropConnections {}));
    }

    #[test]
    fn a_mistake_is_reported_with_its_field() {
        for (text, why) in [
            ("{}", "missing field `fault`"),
            (r#"{"fault": 7}"#, "fault: is no string"),
            (r#"{"fault": "explode"}"#, "unknown variant `explode`"),
            (r#"{"fault": "advance_clock"}"#, "advance_clock: missing field `seconds`"),
            (
                r#"{"fault": "advance_clock", "seconds": "two"}"#,
                "advance_clock.seconds: invalid type: string \"two\"",
            ),
            (
                r#"{"fault": "corrupt_frames", "count": -1}"#,
                "corrupt_frames.count: invalid value: integer `-1`",
            ),
            (r#"{"fault": "expire_tokens", "soon": 1}"#, "expire_tokens.soon: unknown field `soon`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
