//! Handles several events of a partition at once, and those of one customer in their order.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::time::Duration;

use eventhubs::{CheckpointPolicy, ConsumerClient, EventData, StartingPosition, Until};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 0).await?;
    let orders = (0..64).map(|number| {
        let customer = format!("customer {}", number % 16);
        EventData::new(format!("order {number}")).partition_key(customer)
    });
    emulator.publish("orders", orders)?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let start = Instant::now();
    let report = client
        .receive(|_, _| async {
            // What takes long: a call of another service, for example.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        })
        .starting_position(StartingPosition::Earliest)
        .concurrency(16)
        .keyed_by(|event| event.partition_key().map(str::to_owned))
        // Never beyond an order that is not handled, with all those before it.
        .checkpoint(CheckpointPolicy::every(Duration::from_secs(10)).or_events(1_000))
        .until(Until::now())
        .await?;

    let events = report.handled();
    println!(
        "handled {events} orders in {:?}; one after the other they take {:?}",
        start.elapsed(),
        Duration::from_millis(50) * 64
    );
    println!(
        "the checkpoint is at #{}",
        report.partitions.values().filter_map(|partition| partition.checkpoint).max().ok_or("none")?
    );
    Ok(())
}
