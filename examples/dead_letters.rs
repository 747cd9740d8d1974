//! Retries an event that fails, and puts it among the dead letters when that does not help.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::time::Duration;

use eventhubs::{
    CheckpointPolicy, ConsumerClient, FailurePolicy, FileDeadLetters, GiveUp, Poison, RetryPolicy,
    StartingPosition, Until,
};

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(1, 2).await?;
    emulator.publish("orders", ["no number", "order 7"])?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("dead-letters.jsonl");
    let sink = FileDeadLetters::open(&path).await?;
    let backoff = RetryPolicy::exponential(Duration::from_millis(10));
    let report = client
        .receive(|_, event| async move {
            let text = event.body_as_str()?;
            // No retry turns this into a number. Any other error is retried five times.
            let number: u32 = text.trim_start_matches("order ").parse().map_err(Poison::new)?;
            println!("handled order {number}");
            Ok(())
        })
        .starting_position(StartingPosition::Earliest)
        .on_failure(FailurePolicy::retry(backoff).attempts(5).then(GiveUp::dead_letter(sink)))
        .checkpoint(CheckpointPolicy::every(Duration::from_secs(10)))
        .until(Until::now())
        .await?;

    println!("handled {}, dead letters {}", report.handled(), report.dead_lettered());
    for letter in FileDeadLetters::read(&path)? {
        let letter = letter?;
        println!(
            "#{} is a dead letter: {}, {}",
            letter.sequence_number(),
            letter.reason(),
            letter.description()
        );
    }
    Ok(())
}
