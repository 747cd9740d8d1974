//! Credit that fe2o3-amqp has received and not noticed.
//!
//! Tests: below; `eventhubs-amqp` shows that a sender gets on.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

/// How long a sender waits until it is woken for the first time; twice as long each time after it.
const FIRST_PATIENCE: Duration = Duration::from_millis(50);

/// The longest pause between two wakes: the peer may also be slow, or grant nothing.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Calls `wake` again and again while a sender of fe2o3-amqp waits for credit: after 50 ms, then after pauses
/// that double, up to 10 s. Run it next to the send, and drop it when that is done.
///
/// The library looks for credit, finds none, and begins to wait; credit that comes between the two wakes
/// nobody, and the send waits forever. Any later flow of the peer wakes it, so `wake` makes a
/// [`Tap`](crate::Tap) repeat the last one.
///
/// # Cancel safety
/// Safe to drop.
pub async fn wake_repeatedly(mut wake: impl FnMut()) -> Infallible {
    let mut patience = FIRST_PATIENCE;
    loop {
        sleep(patience).await;
        wake();
        patience = LAST_PATIENCE.min(2 * patience);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sender_is_woken_soon_and_then_less_and_less_often() {
        let (start, mut wakes) = (Instant::now(), Vec::new());
        let waking = wake_repeatedly(|| wakes.push(start.elapsed().as_millis()));
        assert!(timeout(Duration::from_secs(40), waking).await.is_err());
        assert_eq!(wakes, [50, 150, 350, 750, 1_550, 3_150, 6_350, 12_750, 22_750, 32_750]);
    }
}
