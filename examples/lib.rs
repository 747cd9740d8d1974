//! Small runnable programs, one per use, each against the embedded emulator: `cargo run --example receive`.

use eventhubs_emulator::Emulator;
use tokio::signal;

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

/// What a service waits for to stop: SIGTERM, which container platforms send, or Ctrl-C.
///
/// # Errors
/// When signals cannot be listened to.
#[cfg(unix)]
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = signal::ctrl_c() => {}
        }
    })
}

/// What a service waits for to stop: Ctrl-C.
///
/// # Errors
/// When signals cannot be listened to.
#[cfg(not(unix))]
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    Ok(async { signal::ctrl_c().await.unwrap_or_default() })
}
