//! Two instances share the partitions through one store, as two processes do through blob storage.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use eventhubs::{ConsumerClient, MemoryCheckpointStore};
use tokio::sync::Notify;

const PARTITIONS: usize = 4;

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(PARTITIONS, 0).await?;
    let store = Arc::new(MemoryCheckpointStore::new());
    let (shares, changed) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(Notify::new()));

    let mut instances = tokio::task::JoinSet::new();
    for name in ["a", "b"] {
        let hub = emulator.connection_string("orders");
        let client = ConsumerClient::builder(hub, "$Default").checkpoint_store(Arc::clone(&store));
        let (opened, notify) = (Arc::clone(&shares), Arc::clone(&changed));
        let (closed, lost) = (Arc::clone(&shares), Arc::clone(&changed));
        let receive = client.build()?.receive(|_, _| async { Ok(()) });
        let receive = receive.on_partition_initialize(move |context| {
            opened.lock().expect("no panic").insert((name, context.partition_id().to_string()));
            notify.notify_one();
            async { Ok(()) }
        });
        let receive = receive.on_partition_close(move |context, _| {
            closed.lock().expect("no panic").remove(&(name, context.partition_id().to_string()));
            lost.notify_one();
            async {}
        });
        instances.spawn(receive.into_future());
    }
    loop {
        changed.notified().await;
        let shares = shares.lock().expect("no panic");
        let of = |name| shares.iter().filter(|(owner, _)| *owner == name).count();
        if (of("a"), of("b")) == (PARTITIONS / 2, PARTITIONS / 2) {
            println!("each instance reads 2 of 4 partitions");
            return Ok(());
        }
    }
}
