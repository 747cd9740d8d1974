//! The HTTP side, on its own port as in Microsoft's emulator.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use eventhubs_emulator::AllowedHosts;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::running::Running;
use super::site::Site;
use super::{control, events, guard, hubs, inspect, page, schedules};
use crate::Result;

/// Opens the port, 0 for a free one, and gives where it can be connected to from this machine.
///
/// # Errors
/// When the port is taken.
pub(super) async fn listen(address: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((address, port))
        .await
        .map_err(|error| format!("the health port {port} cannot be opened: {error}"))?;
    let mut bound = listener.local_addr()?;
    if bound.ip().is_unspecified() {
        // It listens everywhere, which is no place to connect to.
        bound.set_ip(if bound.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    Ok((listener, bound))
}

/// Serves until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    running: Weak<Running>,
    hosts: AllowedHosts,
) -> io::Result<()> {
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
        .layer(from_fn_with_state(Arc::new(hosts), guard::guard))
        .with_state(Site::new(running));
    axum::serve(listener, router).await
}

/// The answer of Microsoft's emulator. Emulators that cannot serve never get here.
async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "message": "Service is healthy."}))
}
