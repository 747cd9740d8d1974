//! The HTTP side, on its own port as in Microsoft's emulator.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Weak;

use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::running::Running;
use super::{control, hubs};
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
    let router = Router::new()
        .route("/health", get(health))
        .route("/namespaces/{namespace}/faults", post(control::inject))
        .route("/namespaces/{namespace}/event-hubs/{hub}", put(hubs::create).delete(hubs::delete))
        .with_state(running);
    axum::serve(listener, router).await
}

/// The answer of Microsoft's emulator. Emulators that cannot serve never get here.
async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "message": "Service is healthy."}))
}
