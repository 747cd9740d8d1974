//! Hooks: when a partition is opened and closed, when it has had no event for a while, and each error.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::sync::Arc;
use std::time::Duration;

use eventhubs::{ConsumerClient, StartingPosition};
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 1).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let done = Arc::new(Notify::new());
    let idle = Arc::clone(&done);
    client
        .receive(|_, event| async move {
            println!("handled {}", event.body_as_str()?);
            Ok(())
        })
        .on_partition_initialize(|context| async move {
            println!("partition {} opened", context.partition_id());
            Ok(())
        })
        .max_wait_time(Duration::from_millis(300), move |context| {
            println!("partition {} is idle", context.partition_id());
            idle.notify_one();
            async { Ok(()) }
        })
        .on_partition_close(|context, reason| async move {
            println!("partition {} closed: {reason:?}", context.partition_id());
        })
        .on_error(|_, error| async move { println!("error: {error}") })
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(async move { done.notified().await })
        .await?;
    Ok(())
}
