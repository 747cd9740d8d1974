//! The HTTP side, on its own port as in Microsoft's emulator.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Weak;

use axum::middleware::from_fn;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::running::Running;
use super::site::Site;
use super::{control, events, guard, hubs, inspect, page, schedules};
use crate::Result;

/// Opens the port; 0 for a free one.
///
/// # Errors
/// When the port is taken.
pub(super) async fn listen(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| format!("the health port {port} cannot be opened: {error}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, running: Weak<Running>) -> io::Result<()> {
    let hub = Router::new()
        .route("/", put(hubs::create).patch(hubs::grow).delete(hubs::delete))
        .route("/events", get(events::read).post(events::publish))
        .route("/partitions", get(inspect::partitions))
        .route("/receivers", get(inspect::receivers))
        .route("/tail", get(events::tail));
    let namespace = Router::new()
        .route("/connections", get(inspect::connections))
        .route("/faults", post(control::inject))
        .route("/requests", get(inspect::requests))
        .route("/schedules", post(schedules::start))
        .nest("/event-hubs/{hub}", hub);
    let router = Router::new()
        .route("/health", get(health))
        .route("/", get(page::page))
        .route("/live", get(page::live))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/icon.svg", get(page::icon))
        .route("/namespaces", get(inspect::namespaces))
        .nest("/namespaces/{namespace}", namespace)
        .layer(from_fn(guard::guard))
        .with_state(Site::new(running));
    axum::serve(listener, router).await
}

/// The answer of Microsoft's emulator. Emulators that cannot serve never get here.
async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "message": "Service is healthy."}))
}
