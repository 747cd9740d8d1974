//! Checkpoints that are written by themselves: at most one a partition and interval, and a last one before the stop.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;
use std::time::Duration;

use eventhubs::{CheckpointPolicy, ConsumerClient, MemoryCheckpointStore, StartingPosition, Until};

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(2, 1_000).await?;
    // Shared by both runs, as `eventhubs-checkpoint-store-blob` is shared by processes.
    let store = Arc::new(MemoryCheckpointStore::new());
    for run in ["first", "second"] {
        let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default")
            .checkpoint_store(Arc::clone(&store))
            .build()?;
        let report = client
            .receive(|_, _| async { Ok(()) })
            .starting_position(StartingPosition::Earliest)
            .checkpoint(CheckpointPolicy::every(Duration::from_secs(30)))
            .until(Until::now())
            .await?;
        println!("the {run} run handled {} events", report.handled());
    }
    Ok(())
}
