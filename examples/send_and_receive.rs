//! Sends events with a partition key and properties, and receives them.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;

use eventhubs::{ConsumerClient, StartingPosition};
use eventhubs_amqp::EventHubClient;
use eventhubs_types::EventData;
use tokio::sync::Semaphore;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(4, 0).await?;
    let hub = emulator.connection_string("orders");

    let sender = EventHubClient::builder(hub.parse()?).build()?;
    let producer = sender.producer();
    let events = ["tea", "coffee", "mate"].map(|drink| {
        let mut event = EventData::new(drink);
        // One key, one partition: these events keep their order.
        event.partition_key = Some("kitchen".to_owned());
        event.properties.insert("cups".to_owned(), 2_i64.into());
        event
    });
    producer.send(events).await?;
    producer.close().await;
    sender.close().await;

    let handled = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&handled);
    ConsumerClient::from_connection_string(hub, "$Default")?
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
