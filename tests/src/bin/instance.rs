//! One instance of a consumer, as a process of its own that a test can kill.
//!
//! It says on standard output what it does, a line each: `handled PARTITION NUMBER`, `checkpoint PARTITION NUMBER`,
//! `error WHAT`, `ended WHY`.
//! SIGTERM stops it gracefully.
#![allow(clippy::print_stdout, reason = "the lines are what the test reads")]

use std::env;
use std::time::Duration;

use eventhubs::{
    ConnectionOptions, ConsumerClient, HandlerError, HandlerResult, Namespace, PartitionContext,
    ReceivedEvent,
};
use eventhubs_tests::Storage;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> HandlerResult {
    let store = Storage::open(&var("STORE")?).await?;
    let mut client = ConsumerClient::builder(var("EVENT_HUB")?, "$Default")
        .checkpoint_store(store)
        .load_balancing_interval(
            env::var("INTERVAL_MS").map_or(Ok(500), |ms| ms.parse()).map(Duration::from_millis)?,
        )
        .partition_ownership_expiration_interval(Duration::from_secs(var("EXPIRY_SECONDS")?.parse()?));
    if let Ok(namespace) = env::var("CHECKPOINT_NAMESPACE") {
        client = client.checkpoint_namespace(Namespace::new(namespace)?);
    }
    if env::var_os("WEB_SOCKET").is_some() {
        client = client.connection(ConnectionOptions::default().websocket());
    }
    let every: i64 = var("CHECKPOINT_EVERY")?.parse()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let run = client
        .build()?
        .receive(move |context, event| handle(context, event, every))
        .starting_position(eventhubs::StartingPosition::Earliest)
        .on_error(|_, error| async move { println!("error {error:?}") })
        .with_graceful_shutdown(async move { terminate.recv().await })
        .await;
    if let Err(error) = &run {
        println!("ended {error}");
    }
    run?;
    Ok(())
}

fn var(name: &str) -> Result<String, HandlerError> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

async fn handle(context: PartitionContext, event: ReceivedEvent, every: i64) -> HandlerResult {
    let (partition, number) = (context.partition_id(), event.sequence_number().value());
    println!("handled {partition} {number}");
    if (number + 1) % every == 0 {
        context.update_checkpoint(&event).await?;
        println!("checkpoint {partition} {number}");
    }
    Ok(())
}
