//! A handler as a type with state, shared by all partitions.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use eventhubs::{
    ConsumerClient, EventHandler, HandlerResult, PartitionContext, ReceivedEvent, StartingPosition,
};
use tokio::sync::Notify;

/// Counts the words of all events.
#[derive(Default)]
struct WordCount {
    words: Mutex<BTreeMap<String, usize>>,
    counted: Notify,
}

impl EventHandler for WordCount {
    async fn on_event(&self, context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
        for word in event.body_as_str()?.split_whitespace() {
            let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
            *words.entry(word.to_owned()).or_default() += 1;
        }
        context.update_checkpoint(&event).await?;
        self.counted.notify_one();
        Ok(())
    }
}

impl WordCount {
    async fn reaches(&self, word: &str, count: usize) {
        while self.words.lock().unwrap_or_else(PoisonError::into_inner).get(word) != Some(&count) {
            self.counted.notified().await;
        }
    }
}

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(2, 10).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;
    let handler = Arc::new(WordCount::default());
    let counting = Arc::clone(&handler);
    client
        .receive_with(Arc::clone(&handler))
        .starting_position(StartingPosition::Earliest)
        .with_graceful_shutdown(async move { counting.reaches("order", 10).await })
        .await?;
    println!("the word `order` came 10 times");
    Ok(())
}
