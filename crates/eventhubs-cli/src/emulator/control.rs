//! Faults over HTTP: what tests in other languages ask of the emulator.

use std::sync::Weak;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eventhubs_emulator::{Emulator, Error, ErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::running::Running;

/// The body of a request; the methods of `Emulator` of the same names say what each does.
#[derive(Debug, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fault {
    AdvanceClock { seconds: u64 },
    CloseConnections(Reason),
    DetachLinks(HubReason),
    DropConnections {},
    EndSessions(HubReason),
    ExpireTokens {},
    FreezeConnections {},
    PauseDeliveries { event_hub: String },
    RefuseAttaches(CountedReason),
    RefuseSends(CountedReason),
    ResumeDeliveries { event_hub: String },
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    condition: String,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct HubReason {
    event_hub: String,
    #[serde(flatten)]
    reason: Reason,
}

#[derive(Debug, Deserialize)]
pub(super) struct CountedReason {
    count: usize,
    #[serde(flatten)]
    at: HubReason,
}

pub(super) type Answer = (StatusCode, Json<Value>);

/// Answers with how many links, sessions or connections were hit, if that can be said.
pub(super) async fn inject(
    State(running): State<Weak<Running>>,
    Path(namespace): Path<String>,
    Json(fault): Json<Fault>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        let hit = apply(emulator, &fault)?;
        Ok((StatusCode::OK, Json(json!({ "hit": hit }))))
    })
}

/// Asks something of the emulator of a namespace.
pub(super) fn with_emulator(
    running: &Weak<Running>,
    namespace: &str,
    ask: impl FnOnce(&Emulator) -> Result<Answer, Error>,
) -> Answer {
    let running = running.upgrade();
    let Some(emulator) = running.as_ref().and_then(|running| running.emulator(namespace)) else {
        return refusal(StatusCode::NOT_FOUND, &format!("there is no namespace {namespace:?}"));
    };
    ask(emulator).unwrap_or_else(|error| refusal(status(error.kind()), &error.to_string()))
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Storage => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refusal(status: StatusCode, why: &str) -> Answer {
    (status, Json(json!({ "error": why })))
}

fn apply(emulator: &Emulator, fault: &Fault) -> Result<Option<usize>, Error> {
    let hit = match fault {
        Fault::AdvanceClock { seconds } => {
            emulator.advance_clock(Duration::from_secs(*seconds));
            return Ok(None);
        }
        Fault::PauseDeliveries { event_hub } => return emulator.pause_deliveries(event_hub).map(|()| None),
        Fault::ResumeDeliveries { event_hub } => {
            return emulator.resume_deliveries(event_hub).map(|()| None);
        }
        Fault::RefuseAttaches(CountedReason { count, at }) => {
            let HubReason { event_hub, reason } = at;
            emulator.refuse_attaches(event_hub, *count, &reason.condition, &reason.description)?;
            return Ok(None);
        }
        Fault::RefuseSends(CountedReason { count, at }) => {
            let HubReason { event_hub, reason } = at;
            emulator.refuse_sends(event_hub, *count, &reason.condition, &reason.description)?;
            return Ok(None);
        }
        Fault::CloseConnections(reason) => emulator.close_connections(&reason.condition, &reason.description),
        Fault::DetachLinks(HubReason { event_hub, reason }) => {
            emulator.detach_links(event_hub, &reason.condition, &reason.description)
        }
        Fault::EndSessions(HubReason { event_hub, reason }) => {
            emulator.end_sessions(event_hub, &reason.condition, &reason.description)
        }
        Fault::DropConnections {} => emulator.drop_connections(),
        Fault::ExpireTokens {} => emulator.expire_tokens(),
        Fault::FreezeConnections {} => emulator.freeze_connections(),
    };
    Ok(Some(hit))
}
