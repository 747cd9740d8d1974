//! A store of one's own, complete: `store.rs` keeps the records in a folder, and passes the suite for stores.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

mod store;

use std::sync::Arc;

use eventhubs::{ConsumerClient, StartingPosition};
use tokio::sync::Semaphore;

use store::FileStore;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 2).await?;
    let folder = tempfile::tempdir()?;
    for part in ["first", "second"] {
        // As in a new process: what the last one did is in the folder.
        let store = FileStore(folder.path().into());
        let handled = Arc::new(Semaphore::new(0));
        let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default");
        let count = Arc::clone(&handled);
        let receive = client.checkpoint_store(Arc::new(store)).build()?.receive(move |context, event| {
            let count = Arc::clone(&count);
            async move {
                println!("the {part} run handled {}", event.body_as_str()?);
                context.update_checkpoint(&event).await?;
                count.add_permits(1);
                Ok(())
            }
        });
        let stop = async move { handled.acquire_many(2).await.map(drop) };
        receive.starting_position(StartingPosition::Earliest).with_graceful_shutdown(stop).await?;
        emulator.publish("orders", ["late order 0", "late order 1"].map(String::from))?;
    }
    Ok(())
}
