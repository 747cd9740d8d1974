//! Reads a partition again from an earlier event, without a restart and without another instance noticing.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventhubs::{ConsumerClient, StartingPosition, Until};

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 4).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let has_replayed = Arc::new(AtomicBool::new(false));
    client
        .receive(move |context, event| {
            let has_replayed = Arc::clone(&has_replayed);
            async move {
                println!("#{}: {}", event.sequence_number(), event.body_as_str()?);
                let status = context.update_checkpoint(&event).await?;
                // What was learnt with the third order changes what should have been done with the second.
                if event.sequence_number().value() == 2 && !has_replayed.swap(true, Ordering::Relaxed) {
                    println!("the checkpoint is {status:?}, and reading continues at #1");
                    context.seek(StartingPosition::from_sequence_number(1))?;
                }
                Ok(())
            }
        })
        .on_partition_close(|_, reason| async move { println!("closed: {reason:?}") })
        .starting_position(StartingPosition::Earliest)
        .until(Until::now())
        .await?;
    Ok(())
}
