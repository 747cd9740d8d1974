// What the examples of the options share, in a hidden line of each: an emulated event hub, a handler, and a
// run that ends.

use std::error::Error;
use std::future::IntoFuture;
use std::time::{Duration, SystemTime};

use eventhubs::receive::Receive;
use eventhubs::*;
use eventhubs_emulator::Emulator;
use tokio::sync::Semaphore;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

static HANDLED: Semaphore = Semaphore::const_new(0);

/// An emulator with the event hub `orders` and an event in each of its two partitions, and its connection
/// string.
async fn orders() -> Result<(Emulator, String)> {
    let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
    for partition in ["0", "1"] {
        emulator.publish_to("orders", partition, ["tea"])?;
    }
    let connection_string = emulator.connection_string("orders");
    Ok((emulator, connection_string))
}

fn client(connection_string: &str) -> Result<ConsumerClient> {
    Ok(ConsumerClient::builder(connection_string, "$Default").build()?)
}

async fn handle(context: PartitionContext, event: ReceivedEvent) -> HandlerResult {
    context.update_checkpoint(&event).await?;
    HANDLED.add_permits(1);
    Ok(())
}

/// Leaves the checkpoints to a policy.
async fn import(_: PartitionContext, _: ReceivedEvent) -> HandlerResult {
    HANDLED.add_permits(1);
    Ok(())
}

async fn handle_batch(_: PartitionContext, events: Vec<ReceivedEvent>) -> HandlerResult {
    HANDLED.add_permits(events.len());
    Ok(())
}

/// Runs until an event was handled.
async fn run<M>(receive: Receive<M>) -> Result {
    let handled = async { HANDLED.acquire().await.map(drop) };
    tokio::time::timeout(Duration::from_secs(60), receive.with_graceful_shutdown(handled)).await??;
    Ok(())
}

/// As [`run`], from the first event.
async fn read<M>(receive: Receive<M>) -> Result {
    run(receive.starting_position(StartingPosition::Earliest)).await
}

/// A credential that the emulator believes.
#[derive(Debug)]
struct Sidecar;

#[eventhubs::store::async_trait]
impl TokenCredential for Sidecar {
    async fn token(&self, _: &str) -> std::result::Result<AccessToken, TokenError> {
        Ok(AccessToken::new("eyJhbGciOiJub25lIn0.e30.c2ln", SystemTime::now() + Duration::from_secs(3600)))
    }
}
