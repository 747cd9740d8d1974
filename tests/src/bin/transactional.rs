//! One instance of a consumer whose output is rows of a database, as a process of its own that a test can kill.
//!
//! It inserts a row for each event. With `FENCED`, the checkpoint is written in the same transaction; without, after it.
//! SIGTERM stops it gracefully.
#![allow(clippy::print_stdout, reason = "the lines are what the test reads")]

use std::env;
use std::sync::Arc;
use std::time::Duration;

use eventhubs::{
    ConsumerClient, HandlerError, HandlerResult, Namespace, PartitionContext, ReceivedEvent, StartingPosition,
};
use eventhubs_tests::{Output, Storage};
use tokio::signal::unix::{SignalKind, signal};

/// Of a checkpoint that is not in the transaction.
const CHECKPOINT_EVERY: i64 = 20;

#[tokio::main]
async fn main() -> HandlerResult {
    let address = var("STORE")?;
    let output = Arc::new(Output::open(&address).await?);
    let is_fenced = var("FENCED")? == "yes";
    let mut terminate = signal(SignalKind::terminate())?;
    ConsumerClient::builder(var("EVENT_HUB")?, "$Default")
        .checkpoint_store(Storage::open(&address).await?)
        .checkpoint_namespace(Namespace::new(var("CHECKPOINT_NAMESPACE")?)?)
        .load_balancing_interval(Duration::from_millis(500))
        .partition_ownership_expiration_interval(Duration::from_secs(var("EXPIRY_SECONDS")?.parse()?))
        .build()?
        .receive(move |context, event| handle(Arc::clone(&output), context, event, is_fenced))
        .starting_position(StartingPosition::Earliest)
        .on_error(|_, error| async move { println!("error {error:?}") })
        .with_graceful_shutdown(async move { terminate.recv().await })
        .await?;
    Ok(())
}

fn var(name: &str) -> Result<String, HandlerError> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

async fn handle(
    output: Arc<Output>,
    context: PartitionContext,
    event: ReceivedEvent,
    is_fenced: bool,
) -> HandlerResult {
    if is_fenced {
        output.insert_with(&context.transactional_checkpoint(&event)?).await
    } else {
        output.insert(context.partition_id().as_str(), event.sequence_number().value()).await?;
        // Not after each event, as most programs do, so that each kill leaves rows that come again.
        if event.sequence_number().value() % CHECKPOINT_EVERY == 0 {
            context.update_checkpoint(&event).await?;
        }
        Ok(())
    }
}
