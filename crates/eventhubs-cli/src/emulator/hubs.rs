//! Event hubs over HTTP.

use std::sync::Weak;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use eventhubs_emulator::ErrorKind;
use serde::Deserialize;
use serde_json::json;

use super::running::Running;
use super::site::{Answer, Body, with_emulator};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHub {
    partitions: usize,
    /// Beside `$Default`. A hub that is there keeps its own.
    #[serde(default)]
    consumer_groups: Vec<String>,
}

/// Creates a hub; one that is there is re-created, without its events.
pub(super) async fn create(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
    Body(new): Body<NewHub>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        // Tried instead of looked up, so that another request between the two cannot change the answer.
        let status = match emulator.recreate_event_hub(&hub, new.partitions) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                emulator.create_event_hub(&hub, new.partitions, new.consumer_groups)?;
                StatusCode::CREATED
            }
            done => done.map(|()| StatusCode::OK)?,
        };
        Ok((status, Json(json!({ "connection_string": emulator.connection_string(&hub) }))))
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Growth {
    partitions: usize,
}

/// Adds partitions to a hub that is there.
pub(super) async fn grow(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
    Body(growth): Body<Growth>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        emulator.grow_event_hub(&hub, growth.partitions)?;
        Ok((StatusCode::OK, Json(json!({ "partitions": growth.partitions }))))
    })
}

/// Deletes a hub.
pub(super) async fn delete(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        emulator.delete_event_hub(&hub)?;
        Ok((StatusCode::OK, Json(json!({}))))
    })
}
