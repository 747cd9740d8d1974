//! A service that tells an orchestrator whether it lives and works, and Prometheus how far it is. Its pages are in `lib.rs`.
//!
//! It stops on SIGTERM and Ctrl-C. `/readyz` answers 503 from then on, and `/livez` 200 until all is closed.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use eventhubs::{CheckpointPolicy, ConsumerClient, StartingPosition};
use eventhubs_examples_service::pages;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(4, 100).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    // Before anything is read: a probe must have an answer also while the event hub has none.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let serving = axum::serve(listener, pages(client.status_reader())).into_future();

    let receive = client
        .receive(|_, _| async { Ok(()) })
        .starting_position(StartingPosition::Earliest)
        .checkpoint(CheckpointPolicy::each_batch())
        .with_graceful_shutdown(eventhubs_examples::stop_signal()?);
    tokio::select! {
        served = serving => served?,
        received = receive.into_future() => println!("stopped after {} events", received?.handled()),
    }
    Ok(())
}
