//! What a service of `eventhubs` shows over HTTP: `/livez` and `/readyz` for an orchestrator, `/status` for people, `/metrics` for
//! Prometheus.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::get;
use eventhubs::Status;
use eventhubs::status::StatusReader;

/// The pages of one client.
pub fn pages(reader: StatusReader) -> Router {
    let status = move || reader.status().ok_or(StatusCode::GONE);
    let (live, ready, whole) = (status.clone(), status.clone(), status.clone());
    Router::new()
        .route("/livez", get(async move || probe(live()?.is_alive())))
        .route("/readyz", get(async move || probe(ready()?.is_ready())))
        .route("/status", get(async move || whole().map(Json::<Status>)))
        .route("/metrics", get(async move || status().map(|status| metrics(&status))))
}

fn probe(is_well: bool) -> Result<&'static str, StatusCode> {
    if is_well { Ok("ok\n") } else { Err(StatusCode::SERVICE_UNAVAILABLE) }
}

fn metrics(status: &Status) -> String {
    let mut text = String::new();
    status.to_prometheus(&mut text);
    text
}
