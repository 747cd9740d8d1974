//! Pauses a partition while what it feeds is overloaded, and resumes it. The partition stays owned meanwhile.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;
use std::time::Duration;

use eventhubs::{ConsumerClient, StartingPosition};
use tokio::sync::Semaphore;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 4).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let handled = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&handled);
    client
        .receive(move |context, event| {
            println!("{}", event.body_as_str().unwrap_or_default());
            if event.sequence_number().value() == 1 {
                println!("paused");
                context.pause();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(200)).await;
                    println!("resumed");
                    context.resume();
                });
            }
            count.add_permits(1);
            async { Ok(()) }
        })
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(async move { handled.acquire_many(4).await.map(drop) })
        .await?;
    Ok(())
}
