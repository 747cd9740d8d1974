//! Receives events in batches, and writes one checkpoint per batch.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;

use eventhubs::{ConsumerClient, StartingPosition};
use tokio::sync::Semaphore;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 1_000).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let handled = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&handled);
    client
        .receive_batch(move |context, events| {
            let count = Arc::clone(&count);
            async move {
                let Some(last) = events.last() else { return Ok(()) };
                println!("{} events up to #{}", events.len(), last.sequence_number());
                context.update_checkpoint(last).await?;
                count.add_permits(events.len());
                Ok(())
            }
        })
        .max_batch_size(400)
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(async move { handled.acquire_many(1_000).await.map(drop) })
        .await?;
    println!("handled 1000 events");
    Ok(())
}
