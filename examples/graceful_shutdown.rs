//! A service that stops on SIGTERM and Ctrl-C without losing or repeating an event.
//!
//! Within the 30 seconds that container platforms give: other instances take over the partitions (`offer_timeout`, 12 s by default),
//! running callbacks finish (`shutdown_timeout`, 10 s), and the rest is detached and released (5 s).
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use eventhubs::{ConsumerClient, StartingPosition};

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(2, 2).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    // Before anything is read, so that no signal is missed.
    let stop = eventhubs_examples::stop_signal()?;
    client
        .receive(|context, event| async move {
            println!("handled {}", event.body_as_str()?);
            context.update_checkpoint(&event).await?;
            Ok(())
        })
        .on_partition_close(|context, reason| async move {
            println!("partition {} closed: {reason:?}", context.partition_id());
        })
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(stop)
        .await?;
    println!("stopped");
    Ok(())
}
