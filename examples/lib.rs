//! Small runnable programs, one per use, each against the embedded emulator: `cargo run --example receive`.

use eventhubs_emulator::Emulator;

/// What the examples return from `main`.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An emulator with the event hub `orders`, into whose partitions this many events are published in turn.
///
/// # Errors
/// When the emulator cannot start.
pub async fn orders(partitions: usize, events: usize) -> Result<Emulator> {
    let emulator = Emulator::builder().event_hub("orders", partitions).start().await?;
    emulator.publish("orders", (0..events).map(|number| format!("order {number}")))?;
    Ok(emulator)
}
