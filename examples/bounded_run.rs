//! Handles what an event hub holds now, and ends: a job, such as a nightly export, rather than a service.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use eventhubs::{CheckpointPolicy, ConsumerClient, StartingPosition, Until};

#[tokio::main]
async fn main() -> eventhubs_examples::Result {
    let emulator = eventhubs_examples::orders(4, 10).await?;
    let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;
    let policy = CheckpointPolicy::on_close_only();
    for run in ["first", "second"] {
        let report = client
            .receive(move |_, event| async move {
                println!("the {run} run exports {}", event.body_as_str()?);
                Ok(())
            })
            .starting_position(StartingPosition::Earliest)
            .checkpoint(policy)
            .until(Until::now())
            .await?;
        println!("the {run} run is complete: {}, events: {}", report.is_complete(), report.handled());
        emulator.publish_to("orders", "0", ["late order"])?;
    }
    Ok(())
}
