//! Receives events one by one, and writes a checkpoint after each.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;

use eventhubs::{ConsumerClient, StartingPosition};
use tokio::sync::Semaphore;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(2, 4).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let handled = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&handled);
    client
        .receive(move |context, event| {
            let count = Arc::clone(&count);
            async move {
                println!("partition {}: {}", context.partition_id(), event.body_as_str()?);
                // While the store is away the checkpoint is pending; that is no error of the event.
                context.update_checkpoint(&event).await?;
                count.add_permits(1);
                Ok(())
            }
        })
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(async move { handled.acquire_many(4).await.map(drop) })
        .await?;
    println!("handled 4 events");
    Ok(())
}
