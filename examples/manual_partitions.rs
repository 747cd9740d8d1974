//! Reads one partition without load balancing, from the position that the program chooses.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;

use eventhubs::{ConsumerClient, StartingPosition};
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(4, 40).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let partition = "2".parse()?;
    let last = client.partition_properties(&partition).await?.last_enqueued_sequence_number;
    println!("the last event of partition 2 has number {last:?}");

    let done = Arc::new(Notify::new());
    let reached = Arc::clone(&done);
    client
        .receive(move |_, event| {
            println!("#{}: {}", event.sequence_number(), event.body_as_str().unwrap_or_default());
            if Some(event.sequence_number()) == last {
                reached.notify_one();
            }
            async { Ok(()) }
        })
        .partition_id(partition)
        .starting_position(StartingPosition::from_sequence_number(7))
        .with_graceful_shutdown(async move { done.notified().await })
        .await?;
    println!("read to the end");
    Ok(())
}
