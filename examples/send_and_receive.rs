//! Sends events with a partition key and properties, and receives them.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;

use eventhubs::{ConsumerClient, EventData, ProducerClient, StartingPosition};
use tokio::sync::Semaphore;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(4, 0).await?;
    let hub = emulator.connection_string("orders");

    let producer = ProducerClient::builder(&hub).build()?;
    let events = ["tea", "coffee", "mate"].map(|drink| {
        // One key, one partition: these events keep their order.
        EventData::new(drink).partition_key("kitchen").property("cups", 2_i64)
    });
    producer.send(events).await?;
    producer.close().await;

    let handled = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&handled);
    ConsumerClient::builder(hub, "$Default")
        .build()?
        .receive(move |_, event| {
            let cups = event.properties().get("cups").and_then(eventhubs::Value::as_i64);
            println!("{} cups of {}", cups.unwrap_or_default(), event.body_as_str().unwrap_or_default());
            count.add_permits(1);
            async { Ok(()) }
        })
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(async move { handled.acquire_many(3).await.map(drop) })
        .await?;
    Ok(())
}
