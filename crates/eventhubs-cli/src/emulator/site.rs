//! What all handlers of the HTTP side share: the emulators, the answers, and the bodies of requests.

use std::sync::{Arc, Weak};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventhubs_emulator::{Emulator, Error, ErrorKind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::running::Running;

/// How many schedules of faults may be played at the same time.
const MAX_SCHEDULES: usize = 16;
/// How many live tails may be watched at the same time.
const MAX_TAILS: usize = 32;

/// Does not keep the emulators alive: they end when the program does.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) running: Weak<Running>,
    pub(super) schedules: Arc<Semaphore>,
    pub(super) tails: Arc<Semaphore>,
}

impl Site {
    pub(super) fn new(running: Weak<Running>) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { running, schedules: places(MAX_SCHEDULES), tails: places(MAX_TAILS) }
    }
}

impl FromRef<Site> for Weak<Running> {
    fn from_ref(site: &Site) -> Self {
        Weak::clone(&site.running)
    }
}

pub(super) type Answer = (StatusCode, Json<Value>);

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

pub(super) fn ok(value: Value) -> Answer {
    (StatusCode::OK, Json(value))
}

pub(super) fn refusal(status: StatusCode, why: &str) -> Answer {
    (status, Json(json!({ "error": why })))
}

/// The JSON in the body of a request. A mistake is reported with its way through the JSON.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // Demanded because the form of another site's page cannot send it without asking first (CORS), which
        // `guard` does not answer.
        if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
            let why = "the content type is not application/json";
            return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response());
        }
        let bytes = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        parse(&bytes).map(Self).map_err(|why| refusal(StatusCode::UNPROCESSABLE_ENTITY, &why).into_response())
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| error.to_string())?;
    json.end().map_err(|error| error.to_string())?;
    Ok(value)
}
